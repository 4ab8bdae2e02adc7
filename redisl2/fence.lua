#!lua
-- Put a writer's fence on a key: F, then a byte for format and mark, then one record
-- per writer: token and the time its fence expires. Each has its own expiry, by this
-- server's clock, so a crashed writer's fence ends however often others renew the key.
-- That of a writer who is alone is the key's, and written as zeros: most are.
--
-- The second byte is 0 or 1 in this format. In every format it is even as long as one
-- writer alone has touched the key, and odd from then on: nobody may publish then. A
-- fence that this release cannot read stands until it expires.
--
-- Of more than 32 writers at once the others share one record, under a token of zeros,
-- that ends with the last of them.
-- The arguments: token, ms to live
local function one(key, mine, life)
  local v = redis.pcall('GETEX', key) -- see fill.lua
  if type(v) == 'table' and string.sub(v.err, 1, 9) ~= 'WRONGTYPE' then return v end
  local ttl = -1
  if type(v) == 'string' and string.byte(v) == 70 then ttl = redis.call('PTTL', key) end
  if ttl < 0 then -- no fence, or one without an end, which none of us left
    redis.call('SET', key, 'F0' .. mine .. '0000000000000', 'PX', life)
    return 0
  end
  life = tonumber(life)
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local last, mark, readable = now + life, string.byte(v, 2), (#v - 2) % 29 == 0
  if mark ~= 48 and mark ~= 49 then readable = false end
  local single, common = {}, 0
  for i = 3, #v, 29 do
    if not readable then break end
    local token, ends = string.sub(v, i, i + 15), tonumber(string.sub(v, i + 16, i + 28))
    if not ends then readable = false break end
    if ends == 0 then ends = now + ttl end
    if token ~= mine and ends > now then
      if token == string.rep('\0', 16) then
        common = ends
      else
        single[#single + 1] = token .. string.format('%013d', ends)
      end
      if ends > last then last = ends end
    end
  end
  if not readable then
    if mark and mark % 2 == 0 then redis.call('SETRANGE', key, 1, string.char(mark + 1)) end
    if ttl < life then redis.call('PEXPIRE', key, life) end
    return 1
  end
  if #single > 0 or common > 0 then mark = 49 end
  if #single >= 32 then
    if now + life > common then common = now + life end
  else
    single[#single + 1] = mine .. string.format('%013d', now + life)
  end
  v = 'F' .. string.char(mark) .. table.concat(single)
  if common > 0 then v = v .. string.rep('\0', 16) .. string.format('%013d', common) end
  redis.call('SET', key, v, 'PX', last - now)
  return #single
end
