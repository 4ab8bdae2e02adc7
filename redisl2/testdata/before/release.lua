-- Lift a writer's fence.
-- The arguments: token, entry to publish or '', its ms to live
-- Answers 'P' published, 'D' removed, 'F' others still write, 'X' this fence was gone.
local function one(key, token, entry, life)
  local v = redis.pcall('GETEX', key) -- see fill.lua; memory may be full here
  if type(v) ~= 'string' or string.byte(v) ~= 70 then
    -- The fence ran out, or was lost: what is there may have been read before
    -- the write, and a fill on its way too, so lease and value both go.
    redis.call('UNLINK', key)
    return 'X'
  end
  local mine, others = v == 'F0' .. token .. '0000000000000', {} -- alone, see fence.lua
  if not mine then
    local t = redis.call('TIME')
    local now = t[1] * 1000 + math.floor(t[2] / 1000)
    local last = now
    for i = 3, #v, 29 do
      local other, ends = string.sub(v, i, i + 15), tonumber(string.sub(v, i + 16, i + 28))
      if ends == 0 then ends = now + redis.call('PTTL', key) end
      if other == token then
        mine = ends > now
      elseif ends > now then
        others[#others + 1] = other .. string.format('%013d', ends)
        if ends > last then last = ends end
      end
    end
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
