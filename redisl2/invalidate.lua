-- Remove a value or a lease; mark a fence, so that its writers do not publish.
local function one(key)
  local v = redis.pcall('GETEX', key) -- a GET would be tracked
  if failed(v) then return v end
  if not isFence(v) then
    redis.call('UNLINK', key)
    return 1
  end
  redis.call('SET', key, marked(v), 'PX', leftOf(key))
  return 0
end
