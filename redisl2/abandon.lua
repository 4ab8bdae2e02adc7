-- Give a lease back if it still stands, putting back what was there before: the given
-- entry, or else what the lease carries.
-- The arguments: the lease, entry or '', its ms to live. Without an entry, 0 ms drop what
-- the lease carries.
local function one(key, lease, restore, life)
  local v = redis.pcall('GETEX', key) -- see fill.lua; memory may be full here
  if not holds(v, lease) then
    if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
    return 0
  end
  if restore == '' and life ~= '0' and v ~= lease then
    life, restore = leases().carried(v)
  end
  if restore and restore ~= '' then
    redis.call('SET', key, restore, 'PX', life)
  else
    redis.call('UNLINK', key)
  end
  return 1
end
