#!lua
-- The line above has the server refuse where it could not write, above all on a
-- replica, whose values may be old: a master that was demoted under us.
--
-- Look a key up and lease it if it is absent: one round trip on a hit and on a miss.
-- The arguments: the lease, its ms to live, and what more is asked for. That is missing
-- or '' if it is nothing. Otherwise it is a 'C' if what another's lease carries is of
-- use, or a '-', then the token of the entry to be leased too, or nothing.
-- Answers the value, "L" (leased by another), {"L", ms left, entry} (the same, and the
-- lease carries the entry), "F" (fenced), nil (granted), or {ms left, entry} (granted
-- over a value that is about to expire, or the entry that was asked for).
--
-- A fence without an end is given one, and a lease without an end, or with one far
-- away, is taken over: no node leaves such a thing. A dump does, or a clock that was
-- set back. (PTTL would tell too, but has the server track the key.)
--
-- A key that is granted is not read, and so not tracked: that would cost the
-- server as much as the lease. Whoever is granted it drops it from L1.
local function one(key, lease, life, more)
  local v = redis.pcall('SET', key, lease, 'NX', 'GET', 'PX', life)
  if not v or v == lease then return false end -- it was absent, or this is a retry
  if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
  if type(v) == 'table' then -- another type than a string: not an entry of ours
    redis.call('SET', key, lease, 'PX', life)
    return false
  end
  local kind = string.byte(v)
  if kind == 86 or kind == 78 then -- V, N
    local format = string.byte(v, 2)
    local whole = format == 1 and #v >= 36 or (format == 2 or format == 3) and #v >= 52
    local asked = whole and more and #more == 17 and string.sub(v, 13, 28) == string.sub(more, 2)
    -- V with the flag that it is kept when stale, and for how long
    local keeps = whole and kind == 86 and format > 1 and math.floor(string.byte(v, 3) / 4) % 2 == 1
    if asked or keeps then
      local left = redis.call('PTTL', key)
      if asked and left < 0 then left = 60000 end -- nobody of us leaves such a one
      if asked or keeps and left >= 0 and left <= struct.unpack('>I8', v, 37) then
        redis.call('SET', key, leases().over(lease, left, v), 'PX', life)
        return {left, v}
      end
    end
    return v, true -- from now on we are told of changes
  end
  if kind == 76 then
    if holds(v, lease) then -- a retry
      local left, entry = leases().carried(v)
      return left and {left, entry} or false
    end
    if redis.call('PEXPIRE', key, 10 * life, 'LT') == 0 then
      if more and string.byte(more) == 67 then
        local left, entry = leases().carried(v)
        if left then return {'L', left, entry}, true end
      end
      return 'L', true
    end
  end
  if kind == 70 then
    redis.call('PEXPIRE', key, 60000, 'NX')
    return 'F' -- nothing will be kept, so there is nothing to be told of
  end
  redis.call('SET', key, lease, 'PX', life)
  return false
end
