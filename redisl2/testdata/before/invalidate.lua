-- Remove a value or a lease; mark a fence, so that its writers do not publish.
local function one(key)
  local v = redis.pcall('GETEX', key) -- a GET would be tracked
  if type(v) == 'string' and string.byte(v) == 70 then
    redis.call('SETRANGE', key, 1, '1') -- keeps the time to live
    return 0
  end
  redis.call('UNLINK', key)
  return 1
end
