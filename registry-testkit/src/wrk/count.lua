-- Counts statuses in each thread, and prints everything as one line of JSON at the end.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(_)
  statuses = {}
end

function response(status, _, _)
  statuses[status] = (statuses[status] or 0) + 1
end

function done(summary, latency, _)
  local sums = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      sums[status] = (sums[status] or 0) + count
    end
  end
  local fields = {}
  for status, count in pairs(sums) do
    table.insert(fields, string.format('"%d":%d', status, count))
  end
  local errors = summary.errors
  print(string.format(
    'report {"requests":%d,"by_status":{%s},"connect":%d,"read":%d,"write":%d,"timeout":%d,"p50_us":%d,"p99_us":%d,"max_us":%d}',
    summary.requests, table.concat(fields, ","), errors.connect, errors.read, errors.write, errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
