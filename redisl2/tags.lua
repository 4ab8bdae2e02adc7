-- Give tags new numbers, and tell what the caller does not know of the table of tags.
-- The arguments: 16 hex digits of the epoch that the caller knows, 16 digits of the
-- highest number that it knows, 16 hex digits of the epoch for a table that is made
-- anew, then '1' if a table of the known epoch is to begin anew, or '0'; how many tags
-- the table has at most; the tags, each behind a byte of its length
-- Answers {epoch, highest number, floor, {member, number, member, number, ...}}.
--
-- The key is a sorted set. Its first member is 'e' and the epoch, and the score of that
-- is the floor; all others are 't' and a tag, with the tag's number. Numbers are
-- microseconds of this server's clock, or one more than the last. So a replica that
-- lagged and became the master gives no number again. Anything else is nobody's.
--
-- The first command counts as a write: see fill.lua. It always fails on a sorted set.
local function one(key, asks, most, tags)
  local v = redis.pcall('GETEX', key)
  if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
  if v and type(v) ~= 'table' then redis.call('UNLINK', key) end
  local known, seen, fresh = string.sub(asks, 1, 16), tonumber(string.sub(asks, 17, 32)), string.sub(asks, 33, 48)
  local t = redis.call('TIME')
  local now = t[1] * 1000000 + t[2]
  local epoch, floor, seq
  local first = redis.pcall('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first.err and not first.err:find('^WRONGTYPE') then return first end
  if first[1] and #first[1] == 17 and string.sub(first[1], 1, 1) == 'e' then
    epoch, floor = string.sub(first[1], 2), tonumber(first[2])
    seq = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  end
  local function store(score, member) redis.call('ZADD', key, string.format('%.0f', score), member) end
  -- Not a table, or one that has lost what it had acknowledged, or is said to have.
  if not epoch or epoch == known and (seq < seen or string.sub(asks, 49, 49) == '1') then
    redis.call('UNLINK', key)
    seq = math.max(now, (seq or 0) + 1)
    if epoch == known then seq = math.max(seq, seen + 1) end
    epoch, floor = fresh, seq
    store(floor, 'e' .. epoch)
    redis.call('PEXPIRE', key, 2592000000)
  end
  if #tags > 0 then
    seq = math.max(now, seq + 1)
    if epoch == known then seq = math.max(seq, seen + 1) end
    local at = 1
    while at <= #tags do
      local last = at + string.byte(tags, at)
      store(seq, 't' .. string.sub(tags, at + 1, last))
      at = last + 1
    end
    local over = redis.call('ZRANGE', key, -most - 1, -most - 1, 'WITHSCORES')
    if over[1] and string.sub(over[1], 1, 1) == 't' then
      floor = tonumber(over[2])
      redis.call('ZREMRANGEBYSCORE', key, '-inf', over[2])
      store(floor, 'e' .. epoch)
    end
    redis.call('PEXPIRE', key, 2592000000)
  elseif redis.call('PTTL', key) < 1296000000 then
    redis.call('PEXPIRE', key, 2592000000)
  end
  local after = floor -- the epoch's own number is no tag's
  if epoch == known then after = math.max(floor, seen) end
  local changed = redis.call('ZRANGE', key, '(' .. string.format('%.0f', after), '+inf', 'BYSCORE', 'WITHSCORES')
  return {epoch, seq, floor, changed}, true
end
