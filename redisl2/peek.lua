-- Look a key up, without a lease and without being told of its changes.
-- Answers nil (absent, or no entry of ours), {ms left or -1, value}, "L" (leased),
-- {"L", ms left, entry} (leased, and the lease carries the entry), or "F" (fenced).
--
-- GETEX counts as a write: a replica refuses it, and the server does not track the key
-- for us. PTTL would have it tracked, so it is asked only where it is needed.
local function one(key)
  local v = redis.pcall('GETEX', key)
  if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
  if type(v) ~= 'string' then return false end
  local kind, format = string.byte(v), string.byte(v, 2)
  if kind == 78 then return {-1, v} end
  if kind == 86 then
    local keeps = (format == 2 or format == 3) and #v >= 52 and math.floor(string.byte(v, 3) / 4) % 2 == 1
    return {keeps and redis.call('PTTL', key) or -1, v}
  end
  if kind == 76 then
    local left, entry = leases().carried(v)
    return left and {'L', left, entry} or 'L'
  end
  return kind == 70 and 'F'
end
