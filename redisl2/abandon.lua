-- Give a lease back if it still stands, putting a stale value back where there was one.
-- KEYS[1] key; ARGV[1] lease token, ARGV[2] entry or '', ARGV[3] its ms to live
if redis.pcall('GET', KEYS[1]) ~= 'L' .. ARGV[1] then return 0 end
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('UNLINK', KEYS[1])
end
return 1
