-- Show what a key has, over a connection that tracks nothing.
-- The argument: how many bytes of it at most, 0 for all
-- Answers {now in ms, PTTL, bytes, the value}; without a value there are two, and -1
-- bytes of another type than a string.
local most = tonumber(ARGV[1])
local v = redis.pcall('GET', KEYS[1])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local left = redis.call('PTTL', KEYS[1])
if not v then return {now, left} end
if type(v) == 'table' then
  if not v.err:find('^WRONGTYPE') then return v end
  return {now, left, -1}
end
local size = #v
if most > 0 and size > most then v = string.sub(v, 1, most) end
return {now, left, size, v}
