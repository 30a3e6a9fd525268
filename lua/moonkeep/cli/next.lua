--- moonkeep next: when jobs run, in the job's zone and UTC, and how their schedule was understood.
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local schedule = require "moonkeep.schedule"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = {}

local MAX_COUNT = 1000

local function count_of(text)
  local count = math.tointeger(tonumber(text or "5"))
  if not count or count < 1 or count > MAX_COUNT then
    errors.raise("USAGE", ("--count must be a whole number of 1 to %d, not %q"):format(MAX_COUNT,
      text))
  end
  return count
end

local function after_of(text)
  if not text then
    return host.wall() // 1000
  end
  local time = zone.parse_time(text)
  if not time then
    errors.raise("USAGE", ("--after must be a time such as 2026-03-29T00:00:00Z, not %q"):format(text))
  end
  return time
end

local function describe(job, count, after)
  schedule.check_zone(job.rule, job.where)
  local tz = zone.get(job.rule.tz)
  local delay = schedule.delay(job.rule, job.name, host.name())
  local item = { job = job.name, recipe = job.path, understood = schedule.describe(job.rule),
    delay_seconds = delay > 0 and delay or nil, times = {} }
  for i, utc in ipairs(schedule.upcoming(job.rule, after, count)) do
    utc = utc + delay
    item.times[i] = { utc = zone.format_utc(utc), ["local"] = tz:format(utc),
      seconds = utc - after }
  end
  return item
end

local function show(item)
  log.show("%s  %s", output.paint("bold", item.job), item.understood)
  if item.delay_seconds then
    log.show("  on this machine always %s late, which is in these times",
      units.format_duration(item.delay_seconds * 1000))
  end
  for _, time in ipairs(item.times) do
    log.show("  %-26s %s   in %s", time["local"], time.utc,
      units.format_duration(time.seconds * 1000))
  end
  if #item.times == 0 then
    log.show "  never"
  end
end

function M.run(options)
  local count, after = count_of(options.count), after_of(options.after)
  local items = {}
  for _, job in ipairs(targets.load(options, options.recipe)) do
    if job.rule then
      items[#items + 1] = describe(job, count, after)
    end
  end
  if options.json then
    output.json("next", { jobs = items })
    return runner.OK
  end
  for _, item in ipairs(items) do
    show(item)
  end
  if #items == 0 then
    log.show "no job has a schedule"
  end
  return runner.OK
end

return M
