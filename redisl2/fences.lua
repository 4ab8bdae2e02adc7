-- Stands before the scripts that look into a fence.
--
-- F, then a byte that is format and mark in one: '0' and '1' are the only format
-- so far, '1' with the mark that the key was touched by more than one writer, so
-- that nobody may publish. Of every format, also one that is not known here, the
-- lowest bit is that mark. Then come records of 29 bytes: a writer's token and, in
-- 13 digits, when its fence ends by this server's clock, so that a crashed writer's
-- fence ends however often others renew the key. Zeros are the key's own end.
-- The record with a token of zeros is common to all writers beyond the 32nd.
--
-- A record whose token begins with eight bytes 255 is no writer's: the other eight
-- are the newest version that a feed has told of since the one writer put up the
-- fence (drop.lua). Only a value of that version or a newer one may be published. A
-- release that does not know this record takes it for one more writer: then nobody
-- publishes, and the fence stands until its key ends.
--
-- What it takes to look into one is made on demand: most fences stand alone.

local function fences()
  local common = string.rep('\0', 16)
  local told = string.rep('\255', 8)

  -- Whether version a is older than b, both of 8 bytes: a number of Lua has 53 bits.
  local function older(a, b)
    local a1, a2 = struct.unpack('>I4I4', a)
    local b1, b2 = struct.unpack('>I4I4', b)
    return a1 < b1 or a1 == b1 and a2 < b2
  end

  -- The version and the token of a value or an absence; nil if its format is not known.
  local function head(entry)
    local format = string.byte(entry, 2)
    if format == 3 then format = 2 end -- its head is the same
    if format ~= 1 and format ~= 2 or #entry < 20 + 16 * format then return nil end
    return string.sub(entry, 5, 12), string.sub(entry, 13, 28)
  end

  -- Whether an entry is a value of a version or a newer one.
  local function since(entry, version)
    local has = string.byte(entry) == 86 and head(entry)
    return has and not older(has, version)
  end

  -- The writers' records that have not ended, each {token, end}, the time, and the
  -- version that a feed has told of, if any. nil for a fence that is not understood: it
  -- stands until the key ends. left is the key's PTTL.
  local function records(v, left)
    local format = string.byte(v, 2)
    if format ~= 48 and format ~= 49 or #v == 2 or #v > 1048576 or (#v - 2) % 29 ~= 0 then return nil end
    local t = redis.call('TIME')
    local now = t[1] * 1000 + math.floor(t[2] / 1000)
    local all, note = {}, nil
    for i = 3, #v, 29 do
      local ends = string.sub(v, i + 16, i + 28)
      if string.find(ends, '%D') then return nil end
      ends = tonumber(ends)
      -- No record outlives its key. The second is for what rounding did to both.
      if ends == 0 or ends > now + left + 1000 then ends = now + left end
      local token = string.sub(v, i, i + 15)
      if string.sub(token, 1, 8) == told then
        local version = string.sub(token, 9)
        if not note or older(note, version) then note = version end
      elseif ends > now then
        all[#all + 1] = {token, ends}
      end
    end
    return all, now, note
  end

  local function record(token, ends) return token .. string.format('%013d', ends) end

  -- The record of a version that a feed has told of.
  local function noted(version) return record(told .. version, 0) end

  -- The version that a feed has told of, if v is the fence of a writer who is alone and
  -- nothing but that.
  local function noteBeside(alone, v)
    local version = string.sub(v, 40, 47)
    if #version == 8 and v == alone .. noted(version) then return version end
  end

  -- What a key has left to live, in ms: a minute if it has no end.
  local function leftOf(key)
    local ms = redis.call('PTTL', key)
    if ms == -1 then return 60000 end
    return math.max(ms, 1)
  end

  -- The fence with its mark set.
  local function marked(v)
    local b = string.byte(v, 2) or 48
    return 'F' .. string.char(b - b % 2 + 1) .. string.sub(v, 3)
  end

  return {common = common, records = records, record = record, noted = noted, noteBeside = noteBeside,
    leftOf = leftOf, marked = marked, older = older, head = head, since = since}
end
