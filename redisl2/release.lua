-- Lift a writer's fence.
-- The arguments: token, entry to publish or '', its ms to live
-- Answers 'P' published, 'D' removed, 'F' others still write, 'X' this fence was gone.
local function one(key, token, entry, life)
  local v = redis.pcall('GETEX', key) -- see fill.lua; memory may be full here
  if type(v) == 'table' and string.sub(v.err, 1, 9) ~= 'WRONGTYPE' then return v end
  if type(v) ~= 'string' or string.byte(v) ~= 70 then
    -- The fence ran out, or was lost: what is there may have been read before
    -- the write, and a fill on its way too, so lease and value both go.
    redis.call('UNLINK', key)
    return 'X'
  end
  local mine, others = v == 'F0' .. token .. '0000000000000', {} -- alone, see fence.lua
  if not mine then
    local ttl = redis.call('PTTL', key)
    local t = redis.call('TIME')
    local now = t[1] * 1000 + math.floor(t[2] / 1000)
    local last, mark, readable = now, string.byte(v, 2), (#v - 2) % 29 == 0
    if mark ~= 48 and mark ~= 49 then readable = false end
    for i = 3, #v, 29 do
      if not readable then break end
      local other, ends = string.sub(v, i, i + 15), tonumber(string.sub(v, i + 16, i + 28))
      if not ends then readable = false break end
      if ends == 0 then ends = now + ttl end
      if other == token then
        mine = ends > now
      elseif ends > now then
        if other == string.rep('\0', 16) then mine = true end -- among those that share a record
        others[#others + 1] = other .. string.format('%013d', ends)
        if ends > last then last = ends end
      end
    end
    if not readable and ttl >= 0 then return 'F' end -- it stands until it expires
    if #others > 0 then
      -- The others began before this write ended, or after its fence ran out:
      -- either way what they publish may be older.
      redis.call('SET', key, 'F1' .. table.concat(others), 'PX', last - now)
      if mine then return 'F' end
      return 'X'
    end
  end
  if mine and entry ~= '' and string.sub(v, 2, 2) == '0' then
    redis.call('SET', key, entry, 'PX', life)
    return 'P', true -- see fill.lua
  end
  redis.call('UNLINK', key)
  if mine then return 'D' end
  return 'X'
end
