-- Remove a value or a lease; mark a fence, so that its writers do not publish.
local function one(key)
  local v = redis.pcall('GETEX', key) -- a GET would be tracked
  if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
  if type(v) ~= 'string' or string.byte(v) ~= 70 then
    redis.call('UNLINK', key)
    return 1
  end
  local f = fences()
  redis.call('SET', key, f.marked(v), 'PX', f.leftOf(key))
  return 0
end
