-- Stands before the scripts that look into a lease.
--
-- L, a byte that is the format, then 16 bytes: the token. Format '1' ends there. A
-- lease of format '2' was granted over an entry and carries it: 13 digits, when the
-- entry's life ends in ms by this server's clock, then the entry. In every format the
-- token has that place, and whose token it is holds the lease.

-- Whether v is this lease, whatever it carries.
local function holds(v, lease)
  return v == lease or type(v) == 'string' and string.byte(v) == 76 and string.sub(v, 3, 18) == string.sub(lease, 3)
end

-- What it takes to look at what a lease carries is made on demand, as in fences.lua.
local function leases()
  local function now()
    local t = redis.call('TIME')
    return t[1] * 1000 + math.floor(t[2] / 1000)
  end

  -- The ms that a carried entry has left to live, and the entry; nil if there is none
  -- or it has ended.
  local function carried(v)
    local kind = string.byte(v, 32)
    if string.byte(v, 2) ~= 50 or kind ~= 86 and kind ~= 78 then return nil end
    local ends = string.sub(v, 19, 31)
    if string.find(ends, '%D') then return nil end
    local left = tonumber(ends) - now()
    if left > 0 then return left, string.sub(v, 32) end
  end

  -- The lease, carrying an entry that has so many ms left to live.
  local function over(lease, left, entry)
    return 'L2' .. string.sub(lease, 3) .. string.format('%013d', now() + left) .. entry
  end

  return {carried = carried, over = over}
end
