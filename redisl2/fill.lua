#!lua
-- Store an entry while this very lease still stands.
-- The arguments: the lease, entry, its ms to live
--
-- GETEX is a GET that counts as a write, so the server does not begin to track
-- the key for us only to end that with the SET. It would also have the server let
-- the SET pass although memory is full, but for the first line: see ping.lua.
local function one(key, lease, entry, life)
  local v = redis.pcall('GETEX', key)
  if not holds(v, lease) then
    if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
    return 0
  end
  redis.call('SET', key, entry, 'PX', life)
  return 1, true -- a change ends the tracking of the key; reading it begins that anew
end
