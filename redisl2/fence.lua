#!lua
-- Put a writer's fence on a key: see fences.lua for the bytes. The fence of a
-- writer who is alone is the key's, and written as zeros: most are.
-- The arguments: token, ms to live
local function one(key, mine, life)
  local v, left = redis.pcall('GETEX', key), -1 -- see fill.lua
  if failed(v) then return v end
  if isFence(v) then left = redis.call('PTTL', key) end
  if left < 0 then -- no fence, or one that nobody of us has left there: those end
    redis.call('SET', key, 'F0' .. mine .. '0000000000000', 'PX', life)
    return 0
  end
  life = tonumber(life)
  local all, now = records(v, left)
  if not all then
    redis.call('SET', key, marked(v), 'PX', math.max(left, life))
    return 0
  end
  local shared, singles, rest, last = string.sub(v, 2, 2), {}, 0, now + life
  for _, r in ipairs(all) do
    if r[1] ~= mine then
      shared = '1'
      if r[2] > last then last = r[2] end
      if r[1] == common or #singles == 32 then
        rest = math.max(rest, r[2])
      else
        singles[#singles + 1] = record(r[1], r[2])
      end
    end
  end
  if #singles == 32 then
    rest = math.max(rest, now + life)
  else
    singles[#singles + 1] = record(mine, now + life)
  end
  if rest > 0 then singles[#singles + 1] = record(common, rest) end
  redis.call('SET', key, 'F' .. shared .. table.concat(singles), 'PX', last - now)
  return #singles
end
