-- Remove a value or a lease; mark a fence, so that its writers do not publish.
-- KEYS[1] key
local v = redis.pcall('GET', KEYS[1])
if type(v) == 'string' and string.byte(v) == 70 then
  redis.call('SETRANGE', KEYS[1], 1, '1') -- keeps the time to live
  return 0
end
redis.call('UNLINK', KEYS[1])
return 1
