-- Remove an entry if it is still the given one.
-- KEYS[1] key; ARGV[1] entry
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
return 1
