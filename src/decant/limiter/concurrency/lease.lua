-- Leases: a sorted set for each key, of tokens by the millisecond at which they end.
-- ARGV: what to do, and for `take` the limit, the lease's milliseconds and the token; for `keep` the milliseconds and
-- a token for each key. A lease that has ended is not kept: another may have its place.
-- A key lives as long as its longest lease: another version of the application may take shorter ones.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function prolong(key, lease_ms)
    redis.call('PEXPIRE', key, math.max(lease_ms, redis.call('PTTL', key)))
end

if ARGV[1] == 'take' then
    local limit, lease_ms, token = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    if redis.call('ZCARD', KEYS[1]) >= limit then
        return 0
    end
    redis.call('ZADD', KEYS[1], now + lease_ms, token)
    prolong(KEYS[1], lease_ms)
    return 1
end

local lease_ms, kept = tonumber(ARGV[2]), 0
for i, key in ipairs(KEYS) do
    local ends = redis.call('ZSCORE', key, ARGV[i + 2])
    if ends and tonumber(ends) > now then
        redis.call('ZADD', key, now + lease_ms, ARGV[i + 2])
        prolong(key, lease_ms)
        kept = kept + 1
    end
end
return kept
