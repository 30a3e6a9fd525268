--- Schedules as crontab lines. Days that cron cannot say ("first monday": cron ORs day of month and
--- weekday) are tested in the command.
local schedule = require "moonkeep.schedule"

local M = {}

-- For sh, and for cron, in whose lines % is a newline.
local function quote(text)
  return "'" .. text:gsub("'", "'\\''"):gsub("%%", "\\%%") .. "'"
end

local function list(set)
  local numbers = {}
  for number in pairs(set) do
    numbers[#numbers + 1] = number
  end
  table.sort(numbers)
  return table.concat(numbers, ",")
end

-- The day and weekday fields, and a test for what they cannot say, in which DATE stands for date.
local function day_fields(days)
  if not days then
    return "*", "*"
  elseif days.kind == "weekdays" then
    return "*", list(days.set)
  elseif days.kind == "day" then
    return tostring(days.day), "*"
  elseif days.kind == "last_day" then
    return "28-31", "*", '[ "$(DATE -d tomorrow +\\%d)" = 01 ]'
  elseif days.nth > 0 then
    return ("%d-%d"):format(7 * days.nth - 6, math.min(7 * days.nth, 31)), "*",
      ('[ "$(DATE +\\%%w)" = %d ]'):format(days.weekday)
  end
  return "22-31", "*", ('[ "$(DATE +\\%%w)" = %d ] && [ "$(DATE -d \'+7 days\' +\\%%m)" != ' ..
    '"$(DATE +\\%%m)" ]'):format(days.weekday)
end

-- The times of day as pairs of minute and hour fields, as few as possible.
local function time_fields(minutes)
  local hours, order = {}, {} -- the hours of each set of minutes
  local by_hour = {}
  for _, minute in ipairs(minutes) do
    local hour = minute // 60
    by_hour[hour] = by_hour[hour] and by_hour[hour] .. "," .. minute % 60 or tostring(minute % 60)
  end
  for hour = 0, 23 do
    local field = by_hour[hour]
    if field then
      if not hours[field] then
        order[#order + 1] = field
      end
      hours[field] = hours[field] and hours[field] .. "," .. hour or tostring(hour)
    end
  end
  local pairs_of = {}
  for i, field in ipairs(order) do
    local count = select(2, hours[field]:gsub("%d+", ""))
    pairs_of[i] = { field, count == 24 and "*" or hours[field] }
  end
  return pairs_of
end

local NAMES = { "minute", "hour", "day", "month", "weekday" }

local function fields_of(rule)
  if rule.cron then
    local fields = {}
    for i, field in ipairs(rule.cron.fields) do -- "5/15": not every cron knows it
      fields[i] = field:find "%d/" and list(rule.cron[NAMES[i]]) or field
    end
    return { table.concat(fields, " ") }
  end
  local day, weekday, test = day_fields(rule.days)
  local found = {}
  for i, time in ipairs(time_fields(rule.minutes)) do
    found[i] = ("%s %s %s * %s"):format(time[1], time[2], day, weekday)
  end
  return found, test
end

--- Lines for /etc/cron.d (with `how.user`) or crontab -e. `how`: program, user, machine.
function M.text(jobs, how)
  local out = { "# Made by moonkeep export cron; moonkeep next shows when these run.",
    how.user and "# For /etc/cron.d." or "# For crontab -e. (With --user NAME: for /etc/cron.d.)",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }
  local zone
  for _, job in ipairs(jobs) do
    out[#out + 1] = ""
    out[#out + 1] = ("# %s: %s"):format(job.name, schedule.describe(job.rule))
    if job.rule.tz ~= "local" and job.rule.tz ~= zone then
      zone = job.rule.tz
      out[#out + 1] = "# Debian's cron ignores CRON_TZ and uses the machine's zone: use systemd there"
      out[#out + 1] = "CRON_TZ=" .. zone
    elseif job.rule.tz == "local" and zone then
      zone = nil
      out[#out + 1] = "CRON_TZ="
    end
    local lines, test = fields_of(job.rule)
    local date = job.rule.tz == "local" and "date" or ("TZ='%s' date"):format(job.rule.tz)
    test = test and test:gsub("DATE", date)
    local delay = schedule.delay(job.rule, job.name, how.machine)
    local command = ("%s%s%s run --quiet --log-format human %s %s"):format(
      test and test .. " && " or "", delay > 0 and ("sleep %d && "):format(delay) or "",
      quote(how.program), quote(job.real_path), quote(job.name))
    for _, line in ipairs(lines) do
      out[#out + 1] = ("%s %s%s"):format(line, how.user and how.user .. " " or "", command)
    end
  end
  return table.concat(out, "\n")
end

return M
