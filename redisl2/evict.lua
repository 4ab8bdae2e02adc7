-- Remove an entry if it is still the given one.
-- The argument: the entry
local function one(key, entry)
  if redis.pcall('GET', key) ~= entry then return 0 end
  redis.call('UNLINK', key)
  return 1
end
