-- Lift a writer's fence.
-- KEYS[1] key; ARGV[1] token, ARGV[2] entry to publish or '', ARGV[3] its ms to live
-- Answers 'P' published, 'D' removed, 'F' others still write, 'X' this fence was gone.
local v = redis.pcall('GETEX', KEYS[1]) -- see fill.lua; memory may be full here
if type(v) ~= 'string' or string.byte(v) ~= 70 then
  -- The fence ran out, or was lost: what is there may have been read before
  -- the write, and a fill on its way too, so lease and value both go.
  redis.call('UNLINK', KEYS[1])
  return 'X'
end
local mine, others = v == 'F0' .. ARGV[1] .. '0000000000000', {} -- alone, see fence.lua
if not mine then
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local last = now
  for i = 3, #v, 29 do
    local token, ends = string.sub(v, i, i + 15), tonumber(string.sub(v, i + 16, i + 28))
    if ends == 0 then ends = now + redis.call('PTTL', KEYS[1]) end
    if token == ARGV[1] then
      mine = ends > now
    elseif ends > now then
      others[#others + 1] = token .. string.format('%013d', ends)
      if ends > last then last = ends end
    end
  end
  if #others > 0 then
    -- The others began before this write ended, or after its fence ran out:
    -- either way what they publish may be older.
    redis.call('SET', KEYS[1], 'F1' .. table.concat(others), 'PX', last - now)
    if mine then return 'F' end
    return 'X'
  end
end
if mine and ARGV[2] ~= '' and string.sub(v, 2, 2) == '0' then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  redis.call('EXISTS', KEYS[1]) -- resume tracking, see fill.lua
  return 'P'
end
redis.call('UNLINK', KEYS[1])
if mine then return 'D' end
return 'X'
