-- Lift a writer's fence: see fences.lua for the bytes.
-- The arguments: token, entry to publish or '', its ms to live
-- Answers 'P' published, 'D' removed, 'F' others still write, 'X' this fence was gone.
local function one(key, token, entry, life)
  local v = redis.pcall('GETEX', key) -- see fill.lua; memory may be full here
  if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
  if type(v) ~= 'string' or string.byte(v) ~= 70 then
    -- The fence ran out, or was lost: what is there may have been read before
    -- the write, and a fill on its way too, so lease and value both go.
    redis.call('UNLINK', key)
    return 'X'
  end
  local alone = 'F0' .. token .. '0000000000000'
  local mine = v == alone
  local may, f, note = mine, nil, nil
  if not mine then
    f = fences()
    note = f.noteBeside(alone, v) -- a PTTL would have the server track what is published
  end
  if note then
    mine, may = true, f.since(entry, note)
  elseif not mine then
    local left = f.leftOf(key)
    local all, now
    all, now, note = f.records(v, left)
    if not all then -- this fence may be in it
      redis.call('GETEX', key, 'PX', left)
      return 'F'
    end
    local others, last, crowd = {}, 0, false
    for _, r in ipairs(all) do
      if r[1] == token then
        mine = true
      else
        crowd = crowd or r[1] == f.common
        others[#others + 1] = f.record(r[1], r[2])
        if r[2] > last then last = r[2] end
      end
    end
    if #others > 0 then
      -- The others began before this write ended, or after its fence ran out:
      -- either way what they publish may be older.
      redis.call('SET', key, 'F1' .. table.concat(others), 'PX', last - now)
      if mine or crowd then return 'F' end -- this fence may be the crowd's
      return 'X'
    end
    may = mine and string.sub(v, 2, 2) == '0' and (not note or f.since(entry, note))
  end
  if may and entry ~= '' then
    redis.call('SET', key, entry, 'PX', life)
    return 'P', true -- see fill.lua
  end
  redis.call('UNLINK', key)
  if mine then return 'D' end
  return 'X'
end
