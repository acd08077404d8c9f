-- Look a slug up, and if it leads somewhere, count the visit: one atomic step.
-- KEYS: 1 link, 2 lease, 3 slot of unknown slugs, then of clicks: 4 open, 5 queue, 6 epoch.
-- ARGV: 1 slug, 2 "1" to count the visit, 3 a random id of the process, 4 fields that a batch may have,
--       5 prefix of batches, 6 seconds of a lease; and if the database has been asked:
--       7 lease, 8 epoch at that time, 9 seconds to keep the answer, 10 id of the link ("" if there is none),
--       11 target, 12 expiry in ms or "", 13 limit of visits or "", 14 visits that the database has counted,
--       15... ids of batches that are among these.
-- Returns {"found", id, target}, {"gone"}, {"unknown"}, or {"miss", lease, epoch}: ask the database.
local time = redis.call('TIME')

local function epoch()
  return redis.call('GET', KEYS[6]) or '0'
end

local function miss()
  local lease = redis.call('GET', KEYS[2])
  if not lease then
    lease = ARGV[3] .. '-' .. time[1] .. '-' .. time[2]
    redis.call('SET', KEYS[2], lease, 'EX', ARGV[6])
  end
  return {'miss', lease, epoch()}
end

-- Clicks that the database had not counted when it was asked.
local function waiting(link)
  local counted = {}
  for i = 15, #ARGV do
    counted[ARGV[i]] = true
  end
  local sum = 0
  for _, batch in ipairs(redis.call('LRANGE', KEYS[5], 0, -1)) do
    if not counted[batch] then
      sum = sum + tonumber(redis.call('HGET', ARGV[5] .. batch, link) or '0')
    end
  end
  return sum
end

local function record(link)
  local batch = redis.call('GET', KEYS[4])
  if not batch or redis.call('HLEN', ARGV[5] .. batch) >= tonumber(ARGV[4]) then
    batch = ARGV[3] .. '-' .. time[1] .. '-' .. time[2]
    redis.call('SET', KEYS[4], batch)
    redis.call('RPUSH', KEYS[5], batch)
  end
  redis.call('HINCRBY', ARGV[5] .. batch, link, 1)
  redis.call('HINCRBY', ARGV[5] .. batch, link .. ':' .. math.floor(tonumber(time[1]) / 86400), 1)
end

local link = redis.call('HMGET', KEYS[1], 'id', 'target', 'expires', 'limit', 'visits')
if not link[1] then
  if redis.call('GET', KEYS[3]) == ARGV[1] then
    return {'unknown'}
  end
  if not ARGV[7] then
    return miss()
  end
  -- Without the lease the link was edited since, without the epoch a batch has changed sides since.
  if redis.call('GET', KEYS[2]) ~= ARGV[7] or (ARGV[10] ~= '' and ARGV[13] ~= '' and epoch() ~= ARGV[8]) then
    return miss()
  end
  redis.call('DEL', KEYS[2])
  if ARGV[10] == '' then
    redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[9])
    return {'unknown'}
  end
  link = {ARGV[10], ARGV[11], ARGV[12], ARGV[13], '0'}
  if link[4] ~= '' then
    link[5] = tonumber(ARGV[14]) + waiting(link[1])
  end
  redis.call('HSET', KEYS[1], 'id', link[1], 'target', link[2], 'expires', link[3], 'limit', link[4], 'visits', link[5])
  redis.call('EXPIRE', KEYS[1], ARGV[9])
end

if link[3] ~= '' and tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000 >= tonumber(link[3]) then
  return {'gone'}
end
if link[4] ~= '' and tonumber(link[5]) >= tonumber(link[4]) then
  return {'gone'}
end
if ARGV[2] == '1' then
  if link[4] ~= '' then
    redis.call('HINCRBY', KEYS[1], 'visits', 1)
  end
  record(link[1])
end
return {'found', link[1], link[2]}
