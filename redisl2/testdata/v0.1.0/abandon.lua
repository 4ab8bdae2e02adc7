-- Give a lease back if it still stands, putting a stale value back where there was one.
-- The arguments: the lease, entry or '', its ms to live
local function one(key, lease, restore, life)
  local v = redis.pcall('GETEX', key) -- see fill.lua; memory may be full here
  if v ~= lease then
    if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
    return 0
  end
  if restore ~= '' then
    redis.call('SET', key, restore, 'PX', life)
  else
    redis.call('UNLINK', key)
  end
  return 1
end
