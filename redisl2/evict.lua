-- Remove an entry if it is still the given one.
-- The argument: the entry
local function one(key, entry)
  local v = redis.pcall('GETEX', key) -- see fill.lua
  if v ~= entry then
    if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
    return 0
  end
  redis.call('UNLINK', key)
  return 1
end
