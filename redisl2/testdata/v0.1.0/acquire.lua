#!lua
-- The line above has the server refuse where it could not write, above all on a
-- replica, whose values may be old: a master that was demoted under us.
--
-- Look a key up and lease it if it is absent: one round trip on a hit and on a miss.
-- The arguments: the lease, its ms to live
-- Answers the value, "L" (leased by another), "F" (fenced), nil (granted), or
-- {ms left, value} (granted over a value that is about to expire).
--
-- A fence without an end is given one, and a lease without an end, or with one far
-- away, is taken over: no node leaves such a thing. A dump does, or a clock that was
-- set back. (PTTL would tell too, but has the server track the key.)
--
-- A key that is granted is not read, and so not tracked: that would cost the
-- server as much as the lease. Whoever is granted it drops it from L1.
local function one(key, lease, life)
  local v = redis.pcall('SET', key, lease, 'NX', 'GET', 'PX', life)
  if not v or v == lease then return false end -- it was absent, or this is a retry
  if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
  if type(v) == 'table' then -- another type than a string: not an entry of ours
    redis.call('SET', key, lease, 'PX', life)
    return false
  end
  local kind = string.byte(v)
  -- V of format 2 with the flag that it is kept when stale, and for how long
  if kind == 86 and string.byte(v, 2) == 2 and math.floor(string.byte(v, 3) / 4) % 2 == 1 then
    local left = redis.call('PTTL', key)
    if left >= 0 and left <= struct.unpack('>I8', v, 37) then
      redis.call('SET', key, lease, 'PX', life)
      return {left, v}
    end
  end
  if kind == 86 or kind == 78 then return v, true end -- V, N; from now on we are told of changes
  if kind == 76 and redis.call('PEXPIRE', key, 10 * life, 'LT') == 0 then return 'L', true end
  if kind == 70 then
    redis.call('PEXPIRE', key, 60000, 'NX')
    return 'F' -- nothing will be kept, so there is nothing to be told of
  end
  redis.call('SET', key, lease, 'PX', life)
  return false
end
