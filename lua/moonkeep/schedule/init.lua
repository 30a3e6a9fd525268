--- Schedules: what `schedule = { ... }` of a job means, and when it comes due.
---
--- A schedule is compiled into a rule that says on which days of the local calendar it runs, and at
--- which minutes of such a day. A local time that the clocks jump over is run right after the jump;
--- one that comes twice is run the first time. Runs at most an hour apart (`every` up to "1h", cron
--- with `*` as the hour) go on through both: they follow the real time.
local cron = require "moonkeep.schedule.cron"
local errors = require "moonkeep.errors"
local list_of = require "moonkeep.list_of"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = {}

local DAY, HOUR_MS, DAY_MS = 86400, 3600000, 86400000

local NAMES = { sunday = 0, monday = 1, tuesday = 2, wednesday = 3, thursday = 4, friday = 5,
  saturday = 6 }
local ORDINALS = { first = 1, second = 2, third = 3, fourth = 4, last = -1 }

local function weekday_of(text)
  return NAMES[text] or cron.WEEKDAYS[text]
end

-- "first monday", "weekdays", "mon,thu", "day 15", "last day" -> { kind, ... } or nil, why
local function parse_days(text)
  text = text:lower():match "^%s*(.-)%s*$"
  if text == "weekdays" then
    return { kind = "weekdays", set = { [1] = true, [2] = true, [3] = true, [4] = true,
      [5] = true } }
  elseif text == "last day" then
    return { kind = "last_day" }
  end
  local number = tonumber(text:match "^day (%d+)$")
  if number and number >= 1 and number <= 31 then
    return { kind = "day", day = number }
  end
  local ordinal, name = text:match "^(%a+) (%a+)$"
  if ORDINALS[ordinal or ""] and weekday_of(name) then
    return { kind = "nth", nth = ORDINALS[ordinal], weekday = weekday_of(name) }
  end
  local set = {}
  for item in (text .. ","):gmatch "%s*([^,]*)," do
    local weekday = weekday_of(item)
    if not weekday then
      return nil, "must be days such as \"monday\", \"mon,thu\", \"weekdays\", \"first monday\", " ..
        "\"last friday\", \"day 15\" or \"last day\""
    end
    set[weekday] = true
  end
  return { kind = "weekdays", set = set }
end

local function is_on_day(days, year, month, day, weekday)
  if not days then
    return true
  elseif days.kind == "weekdays" then
    return days.set[weekday] or false
  elseif days.kind == "day" then
    return day == days.day
  elseif days.kind == "last_day" then
    return day == zone.month_days(year, month)
  elseif days.nth > 0 then
    return weekday == days.weekday and (day - 1) // 7 + 1 == days.nth
  end
  return weekday == days.weekday and day + 7 > zone.month_days(year, month)
end

local function parse_clock(text)
  local h, m = text:match "^(%d%d?):(%d%d)$"
  h, m = tonumber(h), tonumber(m)
  return h and h < 24 and m < 60 and h * 60 + m or nil
end

local function compile_at(keys, found)
  local minutes, seen = {}, {}
  for _, text in ipairs(list_of(keys.at)) do
    local minute = parse_clock(text)
    if not minute then
      found[#found + 1] = { key = "schedule.at", text = ("schedule.at must be times of day such " ..
        "as \"02:30\", not %q"):format(text) }
    elseif not seen[minute] then
      seen[minute] = true
      minutes[#minutes + 1] = minute
    end
  end
  table.sort(minutes)
  return minutes
end

local function compile_every(text, found)
  local ms = units.duration(text)
  if not ms or ms % 60000 ~= 0 or DAY_MS % ms ~= 0 then
    found[#found + 1] = { key = "schedule.every", text = ("schedule.every must divide a day into " ..
      "equal parts of whole minutes, such as \"15m\" or \"6h\", not %q"):format(text),
      hint = "for other intervals use cron" }
    return {}
  end
  local minutes = {}
  for minute = 0, 1439, ms // 60000 do
    minutes[#minutes + 1] = minute
  end
  return minutes
end

local function cron_minutes(rule)
  local minutes = {}
  for hour = 0, 23 do
    for minute = 0, 59 do
      if rule.hour[hour] and rule.minute[minute] then
        minutes[#minutes + 1] = hour * 60 + minute
      end
    end
  end
  return minutes
end

local function count_ways(keys)
  local n = 0
  for _, way in ipairs { "cron", "at", "every" } do
    n = n + (keys[way] ~= nil and 1 or 0)
  end
  return n
end

--- Compiles the keys of a schedule, whose types are right. Returns the rule, and a list of
--- { key, text } of what is wrong. Reads no file: the zone is looked up when it is needed.
function M.compile(keys)
  local found, rule = {}, { keys = keys, tz = keys.tz or "local",
    jitter_ms = keys.jitter and units.duration(keys.jitter) or 0 }
  if count_ways(keys) ~= 1 then
    found[1] = { key = "schedule", text = "schedule must have exactly one of cron, at, every" }
    return rule, found
  end
  if keys.on and not keys.at then
    found[1] = { key = "schedule.on", text = "schedule.on goes with schedule.at" }
    return rule, found
  end
  if keys.at then
    rule.minutes = compile_at(keys, found)
    local why
    rule.days, why = nil, nil
    if keys.on then
      rule.days, why = parse_days(keys.on)
    end
    if why then
      found[#found + 1] = { key = "schedule.on", text = ("schedule.on %s, not %q"):format(why,
        keys.on) }
    end
  elseif keys.every then
    rule.minutes = compile_every(keys.every, found)
    rule.runs_on = #found == 0 and units.duration(keys.every) <= HOUR_MS
  else
    local why
    rule.cron, why = cron.parse(keys.cron)
    if why then
      found[#found + 1] = { key = "schedule.cron", text = ("schedule.cron %s, in %q"):format(why,
        keys.cron) }
    else
      rule.minutes = cron_minutes(rule.cron)
      rule.runs_on = rule.cron.any_hour
    end
  end
  return rule, found
end

local function runs_on_day(rule, days)
  local year, month, day, weekday = zone.date(days)
  if rule.cron then
    return cron.on_day(rule.cron, month, day, weekday)
  end
  return is_on_day(rule.days, year, month, day, weekday)
end

-- The instants of one local day, in order, without repetitions.
local function instants_of_day(rule, tz, days)
  local found, seen = {}, {}
  for _, minute in ipairs(rule.minutes) do
    local wall = days * DAY + minute * 60
    local instants = tz:instants(wall)
    local n = rule.runs_on and #instants or math.min(#instants, 1)
    if #instants == 0 and not rule.runs_on then
      instants, n = { tz:gap_end(wall) }, 1
    end
    for i = 1, n do
      if not seen[instants[i]] then
        seen[instants[i]] = true
        found[#found + 1] = instants[i]
      end
    end
  end
  table.sort(found)
  return found
end

-- Four years with a leap day have every date; a rule that matches none of them never will.
local MAX_DAYS = 366 * 9

--- The next `count` instants (seconds since 1970) after `after`, without jitter. Fewer when the
--- rule never holds ("30 2 31 2 *").
function M.upcoming(rule, after, count)
  local tz = zone.get(rule.tz)
  local first = (after + tz:offset(after)) // DAY - 1
  local found = {}
  for days = first, first + MAX_DAYS do
    if runs_on_day(rule, days) then
      for _, utc in ipairs(instants_of_day(rule, tz, days)) do
        if utc > after and (not found[1] or utc > found[#found]) then
          found[#found + 1] = utc
          if #found == count then
            return found
          end
        end
      end
    end
  end
  return found
end

--- The delay in seconds that a job has on a machine: the same at each run.
function M.delay(rule, job, machine)
  local seconds = rule.jitter_ms // 1000
  if seconds == 0 then
    return 0
  end
  local hash = 0x811c9dc5 -- FNV-1a, 32 bits
  for byte in (job .. "\0" .. machine):gmatch "." do
    hash = ((hash ~ byte:byte()) * 0x01000193) & 0xffffffff
  end
  return hash % (seconds + 1)
end

local function list_days(set)
  local names = {}
  for i = 1, 7 do
    if set[i % 7] then
      names[#names + 1] = ({ "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
        "Saturday" })[i % 7 + 1]
    end
  end
  return table.concat(names, ", ")
end

--- How the schedule was understood, as a sentence.
function M.describe(rule)
  local keys = rule.keys
  local text
  if keys.every then
    text = ("every %s, counted from midnight"):format(keys.every)
  elseif keys.cron then
    text = ("cron %s"):format(table.concat(rule.cron.fields, " "))
    if not rule.cron.any_day and not rule.cron.any_weekday then
      text = text .. " (on such a day of the month, or on such a weekday)"
    end
  else
    local at = type(keys.at) == "table" and table.concat(keys.at, ", ") or keys.at
    local days = rule.days
    local on = "every day"
    if days and days.kind == "weekdays" then
      on = "every " .. list_days(days.set)
    elseif days then
      on = "on the " .. keys.on:lower():gsub("^day (%d+)$", "%1.") .. " of every month"
    end
    text = ("%s at %s"):format(on, at)
  end
  return ("%s, %s time%s"):format(text, rule.tz == "local" and "the machine's" or rule.tz,
    keys.jitter and ", delayed by up to " .. keys.jitter or "")
end

--- Raises INVALID when the zone does not exist.
function M.check_zone(rule, where)
  local ok, err = pcall(zone.get, rule.tz)
  if not ok then
    err = errors.of(err)
    err.where = err.where or where
    error(err, 0)
  end
end

return M
