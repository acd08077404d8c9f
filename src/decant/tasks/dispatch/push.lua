-- Puts jobs into their queues, arq's way; once or again, it makes no difference.
--
-- KEYS     per job: its queue's sorted set
-- ARGV[1]  the channel that wakes workers
-- ARGV[2…] per job: its id, its score, its definition, for how many milliseconds that is kept, the queue's name
--
-- A score only ever becomes lower: of a job that is pushed again when it is due, which then has its priority.
local wake = ARGV[1]
local woken = {}

for number, queue in ipairs(KEYS) do
  local at = 2 + (number - 1) * 5
  redis.call('SET', 'arq:job:' .. ARGV[at], ARGV[at + 2], 'PX', ARGV[at + 3])
  redis.call('ZADD', queue, 'LT', ARGV[at + 1], ARGV[at])
  woken[ARGV[at + 4]] = true
end

for queue in pairs(woken) do
  redis.call('PUBLISH', wake, queue)
end
return #KEYS
