-- Claim a notice until a time; 1 for the first to claim it, and for the same claim sent again.

local ROOT, notice, until_s, now_s, token = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local MAX_SWEPT = 100

local gone = redis.call('ZRANGEBYSCORE', ROOT .. 'claimed', '-inf', now_s, 'LIMIT', 0, MAX_SWEPT)
local score = redis.call('ZSCORE', ROOT .. 'claimed', notice)
if score and tonumber(score) > tonumber(now_s) then
  return redis.call('HGET', ROOT .. 'claims', notice) == token and 1 or 0
end
for _, old in ipairs(gone) do
  redis.call('ZREM', ROOT .. 'claimed', old)
  redis.call('HDEL', ROOT .. 'claims', old)
end
redis.call('ZADD', ROOT .. 'claimed', until_s, notice)
redis.call('HSET', ROOT .. 'claims', notice, token)
return 1
