#!lua
-- Put a writer's fence on a key. F, then '1' if the key was touched by more
-- than one writer (nobody may publish then), then one record per writer: token
-- and the time its fence expires. Each has its own expiry, by this server's
-- clock, so a crashed writer's fence ends however often others renew the key.
-- That of a writer who is alone is the key's, and written as zeros: most are.
-- The arguments: token, ms to live
local function one(key, mine, life)
  local v = redis.pcall('GETEX', key) -- see fill.lua
  if type(v) ~= 'string' or string.byte(v) ~= 70 then
    redis.call('SET', key, 'F0' .. mine .. '0000000000000', 'PX', life)
    return 0
  end
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local last = now + tonumber(life)
  local shared, others = string.sub(v, 2, 2), {}
  for i = 3, #v, 29 do
    local token, ends = string.sub(v, i, i + 15), tonumber(string.sub(v, i + 16, i + 28))
    if ends == 0 then ends = now + redis.call('PTTL', key) end
    if token ~= mine and ends > now then
      shared = '1'
      others[#others + 1] = token .. string.format('%013d', ends)
      if ends > last then last = ends end
    end
  end
  redis.call('SET', key,
    'F' .. shared .. table.concat(others) .. mine .. string.format('%013d', now + tonumber(life)),
    'PX', last - now)
  return #others
end
