-- Decides all limits of one request at once, over the keys that `limits` uses for each strategy.
--
-- KEYS: of each claim its key; with the sliding window also that of the window before.
-- ARGV: strategy, stop at the first breach (1/0), a denied request consumes (1/0); then of each claim its role,
--       the limit's amount and its seconds, the cost, and one thing more, by its role:
--   hit, test   counted, or only looked at
--   meta        looked at first; counted when a claim is breached (more: which claim, from 1, or 0 for any)
--   refund      counted by an earlier decision for this request (more: the stamp of that); given back on a breach
-- Returns the stamp of this decision, then of each claim: 1 passed, 0 breached, -1 not looked at; the milliseconds
-- until its window resets; what remains.

local strategy, stops, consumes = ARGV[1], ARGV[2] == '1', ARGV[3] == '1'
local clock = redis.call('TIME')
local stamp = clock[1] .. '.' .. string.format('%06d', clock[2])
local now = tonumber(stamp)

local fixed, moving, sliding = {}, {}, {}

local function count(key)
    return tonumber(redis.call('GET', key)) or 0
end

local function ttl(key)
    return math.max(redis.call('PTTL', key), 0)
end

function fixed.used(c)
    return count(c.key)
end

function fixed.take(c)
    redis.call('INCRBY', c.key, c.cost)
    if redis.call('PTTL', c.key) < 0 then
        redis.call('EXPIRE', c.key, c.expiry)
    end
end

function fixed.give_back(c)
    if count(c.key) >= c.cost then
        redis.call('DECRBY', c.key, c.cost)
    end
end

function fixed.reset(c)
    return ttl(c.key)
end

-- The list has the newest first, so those within the window are the first ones of it.
function moving.used(c)
    local from, upto = 0, redis.call('LLEN', c.key)
    local edge = now - c.expiry
    if upto == 0 or tonumber(redis.call('LINDEX', c.key, -1)) >= edge then
        return upto
    end
    while from < upto do
        local middle = math.floor((from + upto) / 2)
        if tonumber(redis.call('LINDEX', c.key, middle)) >= edge then
            from = middle + 1
        else
            upto = middle
        end
    end
    return from
end

function moving.take(c)
    local left = c.cost
    while left > 0 do
        local some = {}
        for i = 1, math.min(left, 1000) do
            some[i] = stamp
        end
        redis.call('LPUSH', c.key, unpack(some))
        left = left - #some
    end
    redis.call('LTRIM', c.key, 0, c.amount - 1)
    redis.call('EXPIRE', c.key, c.expiry)
end

function moving.give_back(c)
    redis.call('LREM', c.key, c.cost, c.more)
end

function moving.reset(c, used)
    local oldest = used > 0 and tonumber(redis.call('LINDEX', c.key, used - 1)) or now
    return math.max(math.floor((oldest + c.expiry - now) * 1000), 0)
end

-- The key of the current window lives for twice its length: with less than one left, it has become the one before.
function sliding.used(c)
    local length, left = c.expiry * 1000, ttl(c.key)
    if left > 0 and left < length then
        redis.call('RENAME', c.key, c.before)
        redis.call('SET', c.key, 0, 'PX', left + length)
    end
    return math.floor(count(c.before) * ttl(c.before) / length) + count(c.key)
end

function sliding.take(c)
    if redis.call('EXISTS', c.key) == 1 then
        redis.call('INCRBY', c.key, c.cost)
    else
        redis.call('SET', c.key, c.cost, 'PX', c.expiry * 2000)
    end
end

sliding.give_back = fixed.give_back

function sliding.reset(c)
    local length, before, current = c.expiry * 1000, count(c.before), count(c.key)
    local soonest = (before > 0 or current > 0) and length or 0
    if before > 0 then
        soonest = math.min(soonest, ttl(c.before) % (length / before))
    end
    if current > 0 then
        soonest = math.min(soonest, ttl(c.key) - length)
    end
    return math.floor(soonest)
end

local window = ({['fixed-window'] = fixed, ['moving-window'] = moving, ['sliding-window-counter'] = sliding})[strategy]
local keys_each = window == sliding and 2 or 1
local claims, state, planned = {}, {}, {}

for i = 1, (#ARGV - 3) / 5 do
    local at = 3 + (i - 1) * 5
    claims[i] = {
        role = ARGV[at + 1],
        amount = tonumber(ARGV[at + 2]),
        expiry = tonumber(ARGV[at + 3]),
        cost = tonumber(ARGV[at + 4]),
        more = ARGV[at + 5],
        key = KEYS[(i - 1) * keys_each + 1],
        before = KEYS[i * keys_each],
    }
    state[i] = -1
end

local function look(i)
    local c = claims[i]
    local before = planned[c.key] or 0 -- two limits of one request may share a key
    state[i] = window.used(c) + before + c.cost <= c.amount and 1 or 0
    if c.role == 'hit' and not consumes then
        planned[c.key] = before + c.cost
    end
    return state[i] == 1
end

local function take(c)
    if c.cost > 0 then
        window.take(c)
    end
end

local function look_at_meta_limits()
    for i, c in ipairs(claims) do
        if c.role == 'meta' and not look(i) then
            return false
        end
    end
    return true
end

local function look_at_limits()
    local breached = false
    for i, c in ipairs(claims) do
        if c.role == 'hit' or c.role == 'test' then
            local passed = look(i)
            breached = breached or not passed
            if consumes and c.role == 'hit' and (passed or window == fixed) then
                take(c)
            end
            if not passed and stops then
                return true
            end
        end
    end
    return breached
end

local unharmed = look_at_meta_limits()
local breached = unharmed and look_at_limits()

for i, c in ipairs(claims) do
    if c.role == 'hit' and unharmed and not breached and not consumes then
        take(c)
    elseif c.role == 'meta' and breached and (c.more == '0' or state[tonumber(c.more)] == 0) then
        c.cost = 1
        take(c)
    elseif c.role == 'refund' and (breached or not unharmed) and not consumes then
        window.give_back(c)
    end
end

local reply = {stamp}
for i, c in ipairs(claims) do
    local used = state[i] ~= -1 and window.used(c) or 0
    reply[#reply + 1] = state[i]
    reply[#reply + 1] = state[i] ~= -1 and window.reset(c, used) or 0
    reply[#reply + 1] = math.max(c.amount - used, 0)
end
return reply
