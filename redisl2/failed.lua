-- Stands before every script: whether a command failed for another reason than
-- that the key is no string, which would be none of ours.
local function failed(v) return type(v) == 'table' and string.sub(v.err, 1, 9) ~= 'WRONGTYPE' end

