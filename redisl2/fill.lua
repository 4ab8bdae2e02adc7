-- Store an entry while this very lease still stands.
-- KEYS[1] key; ARGV[1] lease token, ARGV[2] entry, ARGV[3] ms to live
if redis.pcall('GET', KEYS[1]) ~= 'L' .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
-- The SET ended this connection's tracking of the key (NOLOOP spares it the
-- message, not the end); reading the key resumes it.
redis.call('EXISTS', KEYS[1])
return 1
