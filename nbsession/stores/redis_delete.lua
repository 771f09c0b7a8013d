-- Delete sessions for good, with the texts that are nobody else's; whether they may go was asked before.
--
-- KEYS: the sorted set of sessions, the hash of texts, the sorted set of whose each text is, the greatest token of
--       leases that are gone; then of each session: its hash, its list of rows, the set of its digests, the set of its
--       forks, and the set of the forks of the session whose past it shares, or once more its own
-- ARGV: the sessions' ids
local sessions, texts, users, token = unpack(KEYS)

-- All that may fail is read before anything is written: what a script has written is not taken back.
local last = tonumber(redis.call('GET', token) or '0')
redis.call('ZCARD', sessions)
redis.call('HLEN', texts)
redis.call('ZCARD', users)
local digests = {}
for number = 1, #ARGV do
  local place = 5 * number
  last = math.max(last, tonumber(redis.call('HGET', KEYS[place], 'token') or '0'))
  digests[number] = redis.call('SMEMBERS', KEYS[place + 2])
  redis.call('SCARD', KEYS[place + 4])
end

for number, id in ipairs(ARGV) do
  local place = 5 * number
  for _, digest in ipairs(digests[number]) do
    redis.call('ZREM', users, digest .. '\0' .. id)
    if #redis.call('ZRANGEBYLEX', users, '[' .. digest .. '\0', '(' .. digest .. '\1', 'LIMIT', 0, 1) == 0 then
      redis.call('HDEL', texts, digest)
    end
  end
  redis.call('ZREM', sessions, id)
  redis.call('SREM', KEYS[place + 4], id)
  redis.call('DEL', KEYS[place], KEYS[place + 1], KEYS[place + 2], KEYS[place + 3])
end
redis.call('SET', token, last) -- last: a server without memory takes it after what made room
