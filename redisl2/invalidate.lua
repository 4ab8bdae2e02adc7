-- Remove a value or a lease; mark a fence, so that its writers do not publish.
local function one(key)
  local v = redis.pcall('GETEX', key) -- a GET would be tracked
  if type(v) == 'table' and string.sub(v.err, 1, 9) ~= 'WRONGTYPE' then return v end
  if type(v) == 'string' and string.byte(v) == 70 and redis.call('PTTL', key) >= 0 then
    local mark = string.byte(v, 2) -- of every format, see fence.lua
    if mark and mark % 2 == 0 then
      redis.call('SETRANGE', key, 1, string.char(mark + 1)) -- keeps the time to live
    end
    return 0
  end
  redis.call('UNLINK', key)
  return 1
end
