#!lua
-- Put a writer's fence on a key: see fences.lua for the bytes. The fence of a
-- writer who is alone is the key's, and written as zeros: most are.
-- The arguments: token, ms to live
local function one(key, mine, life)
  local alone = 'F0' .. mine .. '0000000000000'
  local v = redis.pcall('SET', key, alone, 'NX', 'GET', 'PX', life)
  if not v then return 0 end
  if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
  local left = -1
  if type(v) == 'string' and string.byte(v) == 70 then left = redis.call('PTTL', key) end
  if left < 0 then -- no fence, or one that nobody of us has left there: those end
    redis.call('SET', key, alone, 'PX', life)
    return 0
  end
  local f = fences()
  life = tonumber(life)
  local all, now, note = f.records(v, left)
  if not all then
    redis.call('SET', key, f.marked(v), 'PX', math.max(left, life))
    return 0
  end
  local shared, singles, rest, last = string.sub(v, 2, 2), {}, 0, now + life
  local again = false
  for _, r in ipairs(all) do
    if r[1] == mine then
      again = true
    else
      shared = '1'
      if r[2] > last then last = r[2] end
      if r[1] == f.common or #singles == 32 then
        rest = math.max(rest, r[2])
      else
        singles[#singles + 1] = f.record(r[1], r[2])
      end
    end
  end
  if #singles == 32 then
    rest = math.max(rest, now + life)
  else
    singles[#singles + 1] = f.record(mine, now + life)
  end
  if rest > 0 then singles[#singles + 1] = f.record(f.common, rest) end
  -- What a feed told of before this writer came is no business of his.
  if note and again and shared == '0' then singles[#singles + 1] = f.noted(note) end
  redis.call('SET', key, 'F' .. shared .. table.concat(singles), 'PX', last - now)
  return #singles
end
