-- Give a lease back if it still stands, putting a stale value back where there was one.
-- KEYS[1] key; ARGV[1] the lease, ARGV[2] entry or '', ARGV[3] its ms to live
local v = redis.pcall('GETEX', KEYS[1]) -- see fill.lua; memory may be full here
if v ~= ARGV[1] then
  if type(v) == 'table' and string.sub(v.err, 1, 9) ~= 'WRONGTYPE' then return v end
  redis.call('EXISTS', KEYS[1]) -- GETEX may have found it expired
  return 0
end
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('UNLINK', KEYS[1])
end
return 1
