-- Announce a node under a key, and tell who else is there.
-- The arguments: the node's name; for how many ms it is there; its data
-- Answers {name, data, name, data, ...}.
--
-- The key holds R and the format, then for each node: 13 digits each of when it was
-- announced and of when that ends, in ms by this server's clock, 3 digits of the length
-- of its name, 6 of that of its data, the name and the data. Anything else is nobody's.
-- A node is not there before the first of the times: the clock was set back since, or
-- it is another server's.
local function one(key, node, life, data)
  local v = redis.pcall('GETEX', key) -- memory may be full here, see fill.lua
  if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local records, here, last = {}, {}, 0
  local function add(since, till, name, data)
    records[#records + 1] = string.format('%013d%013d%03d%06d', since, till, #name, #data) .. name .. data
    here[#here + 1] = name
    here[#here + 1] = data
    if till > last then last = till end
  end
  if type(v) == 'string' and string.sub(v, 1, 2) == 'R1' then
    local at = 3
    while at <= #v do
      local head = string.sub(v, at, at + 34)
      if #head < 35 or string.find(head, '%D') then break end
      local since, till = tonumber(string.sub(head, 1, 13)), tonumber(string.sub(head, 14, 26))
      local name = at + 35
      local data = name + tonumber(string.sub(head, 27, 29))
      at = data + tonumber(string.sub(head, 30, 35))
      if at > #v + 1 then break end
      local who = string.sub(v, name, data - 1)
      if since <= now and now < till and who ~= node then add(since, till, who, string.sub(v, data, at - 1)) end
    end
  end
  add(now, now + tonumber(life), node, data)
  v = 'R1' .. table.concat(records)
  if #v > 1048576 then return redis.error_reply('ERR the roster is full') end
  redis.call('SET', key, v, 'PX', last - now)
  return here
end
