#!lua
-- Store an entry while this very lease still stands.
-- KEYS[1] key; ARGV[1] the lease, ARGV[2] entry, ARGV[3] ms to live
--
-- GETEX is a GET that counts as a write, so the server does not begin to track
-- the key for us only to end that with the SET. It would also have the server let
-- the SET pass although memory is full, but for the first line: see ping.lua.
if redis.pcall('GETEX', KEYS[1]) ~= ARGV[1] then
  -- If GETEX found the key expired, it has ended our tracking.
  redis.call('EXISTS', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
-- A change ends this connection's tracking of the key (NOLOOP spares it the
-- message, not the end); reading the key resumes it.
redis.call('EXISTS', KEYS[1])
return 1
