-- Renews the claims of the jobs that a worker runs.
--
-- KEYS     per job: its queue's sorted set
-- ARGV[1]  the worker's id; ARGV[2] milliseconds; ARGV[3] '1' where scores move along with the claims
-- ARGV[4…] per job: id
--
-- Answers the ids that another worker holds by now. A claim that is gone stays so: Redis was flushed, or the job has
-- just ended and may wait to be run again.
local worker, lease_ms = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lost = {}

for number, key in ipairs(KEYS) do
  local id = ARGV[3 + number]
  local holder = 'arq:in-progress:' .. id
  local held_by = redis.call('GET', holder)
  if held_by and held_by ~= worker and ARGV[3] == '1' then
    lost[#lost + 1] = id
  elseif held_by then
    redis.call('PEXPIRE', holder, lease_ms)
    if ARGV[3] == '1' then
      redis.call('ZADD', key, 'XX', now + lease_ms, id)
    end
  end
end
return lost
