#!lua
-- Store an entry while this very lease still stands.
-- The arguments: the lease, entry, its ms to live
--
-- GETEX is a GET that counts as a write, so the server does not begin to track
-- the key for us only to end that with the SET. It would also have the server let
-- the SET pass although memory is full, but for the first line: see ping.lua.
local function one(key, lease, entry, life)
  -- If GETEX found the key expired, it has ended our tracking.
  if redis.pcall('GETEX', key) ~= lease then return 0, true end
  redis.call('SET', key, entry, 'PX', life)
  -- A change ends this connection's tracking of the key (NOLOOP spares it the
  -- message, not the end); reading the key resumes it.
  return 1, true
end
