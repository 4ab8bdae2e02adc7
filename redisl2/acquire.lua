#!lua
-- The line above has the server refuse where it could not write, above all on a
-- replica, whose values may be old: a master that was demoted under us.
--
-- Look a key up and lease it if it is absent: one round trip on a hit and on a miss.
-- KEYS[1] key; ARGV[1] lease token, ARGV[2] lease ms, ARGV[3] stale ms
-- Answers the value, "L" (leased by another), "F" (fenced), nil (granted), or
-- {ms left, value} (granted over a value that is about to expire).
local v = redis.pcall('GET', KEYS[1])
if type(v) == 'table' then -- another type than a string: not an entry of ours
  redis.call('UNLINK', KEYS[1])
  v = false
end
if v then
  local kind = string.byte(v)
  if kind == 86 or kind == 78 then -- V, N
    local stale = tonumber(ARGV[3])
    if kind == 86 and stale > 0 then
      local left = redis.call('PTTL', KEYS[1])
      if left >= 0 and left <= stale then
        redis.call('SET', KEYS[1], 'L' .. ARGV[1], 'PX', ARGV[2])
        redis.call('EXISTS', KEYS[1])
        return {left, v}
      end
    end
    return v
  end
  if kind == 76 then -- L
    if string.sub(v, 2, 17) == ARGV[1] then return false end -- a retry of ours
    return 'L'
  end
  if kind == 70 then return 'F' end
end
redis.call('SET', KEYS[1], 'L' .. ARGV[1], 'PX', ARGV[2])
redis.call('EXISTS', KEYS[1]) -- resume tracking, see fill.lua: L1 may yet hold the key
return false
