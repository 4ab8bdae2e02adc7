#!lua
-- The line above has the server refuse where it could not write, above all on a
-- replica, whose values may be old: a master that was demoted under us.
--
-- Look a key up and lease it if it is absent: one round trip on a hit and on a miss.
-- KEYS[1] key; ARGV[1] the lease, ARGV[2] its ms to live, ARGV[3] stale ms
-- Answers the value, "L" (leased by another), "F" (fenced), nil (granted), or
-- {ms left, value} (granted over a value that is about to expire).
--
-- A key that is granted is not read, and so not tracked: that would cost the
-- server as much as the lease. Whoever is granted it drops it from L1.
local v = redis.pcall('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'PX', ARGV[2])
if not v or v == ARGV[1] then return false end -- it was absent, or this is a retry
local function grant() redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
if type(v) == 'table' then -- another type than a string: not an entry of ours
  grant()
  return false
end
redis.call('EXISTS', KEYS[1]) -- from now on we are told of changes
local kind = string.byte(v)
if kind == 86 and ARGV[3] ~= '0' then -- V
  local left = redis.call('PTTL', KEYS[1])
  if left >= 0 and left <= tonumber(ARGV[3]) then
    grant()
    return {left, v}
  end
end
if kind == 86 or kind == 78 then return v end -- V, N
if kind == 76 then return 'L' end
if kind == 70 then return 'F' end
grant()
return false
