-- Moves entries of the schedule, and puts the jobs of their ticks into their queues: an entry and its jobs, or neither.
--
-- KEYS[1]  the hash of entries
-- KEYS[2…] per job: its queue's sorted set
-- ARGV[1]  the channel that wakes workers
-- ARGV[2…] per entry: its name, what was read of it, what is to be there, the number of its jobs, and for each of
--          these: its id, its score, its definition, for how many milliseconds that is kept, the queue's name
--
-- Answers the names of those that were moved. One that is not as it was read has been moved by another worker.
local at, key = 2, 2
local moved, woken = {}, {}

while ARGV[at] do
  local name, read, new, jobs = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  at = at + 4
  local ours = redis.call('HGET', KEYS[1], name) == read
  if ours then
    redis.call('HSET', KEYS[1], name, new)
    moved[#moved + 1] = name
  end
  for _ = 1, jobs do
    if ours then
      redis.call('SET', 'arq:job:' .. ARGV[at], ARGV[at + 2], 'PX', ARGV[at + 3])
      redis.call('ZADD', KEYS[key], 'LT', ARGV[at + 1], ARGV[at])
      woken[ARGV[at + 4]] = true
    end
    at, key = at + 5, key + 1
  end
end

for queue in pairs(woken) do
  redis.call('PUBLISH', ARGV[1], queue)
end
return moved
