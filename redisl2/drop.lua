-- Remove what a change of the record, which a feed told of, has made old. A fence
-- stands, but what is older than the change may not be published any more.
-- The arguments: the version after the change in 8 bytes, or '' if it is not known or
-- the record was deleted; '1' if it was deleted, or ''; the token of the write through
-- a cache that made the change, or ''
-- Answers 1 if it removed the entry, 2 if it left what is as new, or the fence of the
-- change's own write, and 0 otherwise.
--
-- Nothing is read here but by GETEX (see fill.lua), so that the server does not begin to
-- track the key for us. Who has it in L1 is told when it is removed, we too.
local function one(key, version, deleted, writer)
  local v = redis.pcall('GETEX', key)
  if not v then return 0 end
  if type(v) == 'table' and not v.err:find('^WRONGTYPE') then return v end
  local kind = type(v) == 'string' and string.byte(v)
  if kind == 70 then
    if writer ~= '' and v == 'F0' .. writer .. '0000000000000' then return 2 end -- alone: its own change
    if (string.byte(v, 2) or 48) % 2 == 1 then return 0 end -- nobody publishes as it is
    local f = fences()
    local all, _, note = f.records(v, 1) -- whose ends are not needed
    local after = f.marked(v)
    -- One writer, and perhaps what was told of before.
    if all and #all == 1 and #v == (note and 60 or 31) and string.sub(v, 3, 18) == all[1][1] then
      if all[1][1] == writer then return 2 end
      if version ~= '' then
        if note and not f.older(note, version) then return 0 end
        after = string.sub(v, 1, 31) .. f.noted(version)
      end
    end
    redis.call('SET', key, after, 'KEEPTTL')
    redis.call('PEXPIRE', key, 60000, 'NX') -- see acquire.lua
    return 0
  end
  if kind == 78 and deleted ~= '' then return 2 end
  if kind == 86 or kind == 78 then
    local f = fences()
    local has, token = f.head(v)
    if has and token == writer then return 2 end
    if kind == 86 and version ~= '' and f.since(v, version) then return 2 end
  end
  redis.call('UNLINK', key)
  return 1
end
