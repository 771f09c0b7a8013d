-- Keep the rows and texts of one append, or nothing of it.
--
-- KEYS: the session's hash, its list of rows, the sorted set of sessions, the hash of texts, the set of the digests
--       that the session was given, the sorted set of whose each text is; of a fork also the hash of the session
--       whose past it shares, and the set of that one's forks
-- ARGV: the session's id, the revision that the writer knows, its token or '', what describes the session now
--       or '', the channel to announce it on or '', the id of the session whose past it shares or '', how many rows
--       of that, the number of rows, the rows, and digest after text
--
-- Answers {'kept', revision}, {'late', latest token, its owner}, {'stale', revision}, {'cut', revision, rows} or
-- {'without past', revision of the session whose past it shares}.
local session, lines, sessions, texts, uses, users, past, forks = unpack(KEYS)
local id, known, token, description, channel, shared, most, count = unpack(ARGV, 1, 8)
known, most, count = tonumber(known), tonumber(most), tonumber(count)
local first = 9

-- All that may fail is read before anything is written: what a script has written is not taken back.
local kept = tonumber(redis.call('HGET', session, 'revision') or '0')
local there = redis.call('LLEN', lines)
local latest = redis.call('ZREVRANGE', sessions, 0, 0, 'WITHSCORES')[2]
redis.call('HLEN', texts)
redis.call('SCARD', uses)
redis.call('ZCARD', users)
local before = 0
if shared ~= '' then
  before = tonumber(redis.call('HGET', past, 'revision') or '0')
  redis.call('SCARD', forks)
end

if token ~= '' then
  local held = redis.call('HMGET', session, 'token', 'owner')
  if token ~= (held[1] or '0') then
    return {'late', held[1] or '0', held[2] or ''}
  end
end
if there ~= kept then
  return {'cut', kept, there}
end
if kept ~= known then
  -- The holder of the lease sends again what is kept: the answer to it was lost on the way.
  local again = token ~= '' and count > 0 and kept == known + count
  if again then
    for number, line in ipairs(redis.call('LRANGE', lines, known, -1)) do
      again = again and line == ARGV[first - 1 + number]
    end
  end
  return {again and 'kept' or 'stale', kept}
end

if before < most then
  return {'without past', before}
end

for place = first + count, #ARGV, 2 do
  redis.call('HSETNX', texts, ARGV[place], ARGV[place + 1])
  redis.call('SADD', uses, ARGV[place])
  redis.call('ZADD', users, 0, ARGV[place] .. '\0' .. id)
end
if count == 0 then
  return {'kept', known}
end
for place = first, first - 1 + count, 1000 do -- as many as Lua's stack takes
  redis.call('RPUSH', lines, unpack(ARGV, place, math.min(place + 999, first - 1 + count)))
end
-- No two of a store's appends have the same time, so that times alone order the list of sessions.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
if latest and now <= tonumber(latest) then
  now = latest + 0.000001
end
now = string.format('%.17g', now)
redis.call('ZADD', sessions, now, id)
redis.call('HSET', session, 'revision', known + count)
redis.call('HSETNX', session, 'created', now)
if shared ~= '' then
  redis.call('HSET', session, 'shares', shared)
  redis.call('SADD', forks, id)
end
if description ~= '' then
  redis.call('HSET', session, 'description', description)
end
if channel ~= '' then
  redis.call('PUBLISH', channel, id)
end
return {'kept', known + count}
