-- Add the clicks that a web process has kept while Redis was away, unless they have been added.
-- KEYS: 1 marker of this push, then of clicks: 2 open, 3 queue.
-- ARGV: 1 a random id of the process, 2 fields that a batch may have, 3 prefix of batches, 4 seconds to keep the
--       marker, then for each link and day: its id, the day since 1970, clicks.
-- Returns 1 if they were added now.
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[4]) then
  return 0
end
local time = redis.call('TIME')
local batch = redis.call('GET', KEYS[2])
if not batch or redis.call('HLEN', ARGV[3] .. batch) >= tonumber(ARGV[2]) then
  batch = ARGV[1] .. '-' .. time[1] .. '-' .. time[2]
  redis.call('SET', KEYS[2], batch)
  redis.call('RPUSH', KEYS[3], batch)
end
for i = 5, #ARGV, 3 do
  redis.call('HINCRBY', ARGV[3] .. batch, ARGV[i], ARGV[i + 2])
  redis.call('HINCRBY', ARGV[3] .. batch, ARGV[i] .. ':' .. ARGV[i + 1], ARGV[i + 2])
end
return 1
