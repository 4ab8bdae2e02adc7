
-- The end of every script: runs it for each key, with that key's arguments.
-- What fails for one key is the answer for that key alone. (A key of another type
-- than a string, WRONGTYPE, is none of ours: the scripts take it for absent.)
--
-- Keys that we want to be told of are read at the end, all by one command: each
-- command that reads has Redis 7.0 track all keys of the script.
if #KEYS == 1 then
  local answer, watch = one(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
  if watch then redis.call('EXISTS', KEYS[1]) end
  return {answer}
end
local answers, watched, width = {}, {}, #ARGV / #KEYS
for i, key in ipairs(KEYS) do
  local at = (i - 1) * width
  local ok, answer, watch = pcall(one, key, ARGV[at + 1], ARGV[at + 2], width > 2 and ARGV[at + 3] or nil)
  if not ok and type(answer) ~= 'table' then answer = redis.error_reply(answer) end
  answers[i] = answer
  if ok and watch then watched[#watched + 1] = key end
end
if #watched > 0 then redis.call('EXISTS', unpack(watched)) end
return answers
