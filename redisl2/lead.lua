-- Make the caller the leader of a key, or keep it the leader, unless somebody else is.
-- The arguments: the caller's token; for how many ms it leads, 0 to give it up; the
-- state to store, behind a '=', or '' to leave it
-- Answers {1 if the caller leads, 1 if somebody does, the state before or ''}.
--
-- The key holds P and the format, 13 digits each of when the leadership was taken or
-- renewed last and of when it ends, in ms by this server's clock, the leader's token
-- (16 bytes), then a '=' and the state. Anything else is nobody's. Nobody leads before
-- the first of the times: the clock was set back since, or it is another server's.
local function one(key, me, life, state)
  local v = redis.pcall('GETEX', key) -- memory may be full here, see fill.lua
  if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local since, till, leader, kept = 0, 0, '', ''
  if type(v) == 'string' and string.sub(v, 1, 2) == 'P1' and #v >= 44
    and not string.find(string.sub(v, 3, 28), '%D') and (#v == 44 or string.sub(v, 45, 45) == '=') then
    since, till, leader, kept = tonumber(string.sub(v, 3, 15)), tonumber(string.sub(v, 16, 28)), string.sub(v, 29, 44), string.sub(v, 45)
  end
  local led = since <= now and now < till
  if led and leader ~= me then return {0, 1, kept} end
  life = tonumber(life)
  if life == 0 and not led then return {0, 0, kept} end -- nothing to give up
  local head = string.rep('0', 26) .. string.rep('\0', 16)
  if life > 0 then head = string.format('%013d%013d', now, now + life) .. me end
  redis.call('SET', key, 'P1' .. head .. (state ~= '' and state or kept), 'PX', 604800000)
  local leads = life > 0 and 1 or 0
  return {leads, leads, kept}
end
