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
-- What it takes to look into one is made on demand: most fences stand alone.

local function fences()
  local common = string.rep('\0', 16)

  -- The records that have not ended, each {token, end}, and the time. nil for a fence
  -- that is not understood: it stands until the key ends. left is the key's PTTL.
  local function records(v, left)
    local format = string.byte(v, 2)
    if format ~= 48 and format ~= 49 or #v == 2 or #v > 1048576 or (#v - 2) % 29 ~= 0 then return nil end
    local t = redis.call('TIME')
    local now = t[1] * 1000 + math.floor(t[2] / 1000)
    local all = {}
    for i = 3, #v, 29 do
      local ends = string.sub(v, i + 16, i + 28)
      if string.find(ends, '%D') then return nil end
      ends = tonumber(ends)
      -- No record outlives its key. The second is for what rounding did to both.
      if ends == 0 or ends > now + left + 1000 then ends = now + left end
      if ends > now then all[#all + 1] = {string.sub(v, i, i + 15), ends} end
    end
    return all, now
  end

  local function record(token, ends) return token .. string.format('%013d', ends) end

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

  return {common = common, records = records, record = record, leftOf = leftOf, marked = marked}
end
