--- Schedules as systemd timers, with hardened services. See systemd.time(7), systemd.exec(5).
local schedule = require "moonkeep.schedule"

local M = {}

local DAYS = { [0] = "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }

local function list(set, names)
  local parts = {}
  for i = 0, 59 do
    if set[i] then
      parts[#parts + 1] = names and names[i] or tostring(i)
    end
  end
  return table.concat(parts, ",")
end

local function count(set)
  local n = 0
  for _ in pairs(set) do
    n = n + 1
  end
  return n
end

-- The weekday and date parts of a calendar event: a list, for cron ORs them.
local function days_of(rule)
  local days, cron = rule.days, rule.cron
  if cron then
    local month = count(cron.month) == 12 and "*" or list(cron.month)
    local by_day = ("*-%s-%s"):format(month, count(cron.day) == 31 and "*" or list(cron.day))
    local weekdays = count(cron.weekday) < 7 and list(cron.weekday, DAYS) .. " " or ""
    if cron.any_day or cron.any_weekday then
      return { weekdays .. by_day }
    end
    return { by_day, ("%s*-%s-*"):format(weekdays, month) }
  elseif not days then
    return { "*-*-*" }
  elseif days.kind == "weekdays" then
    return { list(days.set, DAYS) .. " *-*-*" }
  elseif days.kind == "day" then
    return { ("*-*-%02d"):format(days.day) }
  elseif days.kind == "last_day" then
    return { "*-*~01" }
  elseif days.nth > 0 then
    return { ("%s *-*-%02d..%02d"):format(DAYS[days.weekday], 7 * days.nth - 6,
      math.min(7 * days.nth, 31)) }
  end
  return { ("%s *-*~07/1"):format(DAYS[days.weekday]) }
end

-- "02:30:00" for each time, or one expression when they are a full grid.
local function times_of(rule)
  if rule.cron then
    return { ("%s:%s:00"):format(count(rule.cron.hour) == 24 and "*" or list(rule.cron.hour),
      count(rule.cron.minute) == 60 and "*" or list(rule.cron.minute)) }
  end
  local step = #rule.minutes > 1 and rule.minutes[1] == 0 and rule.minutes[2]
  if rule.keys.every and step and step < 60 and 60 % step == 0 then
    return { ("*:00/%d:00"):format(step) }
  elseif rule.keys.every and step and step % 60 == 0 then
    return { ("00/%d:00:00"):format(step // 60) }
  end
  local times = {}
  for i, minute in ipairs(rule.minutes) do
    times[i] = ("%02d:%02d:00"):format(minute // 60, minute % 60)
  end
  return times
end

--- The OnCalendar= expressions of a rule.
function M.calendar(rule)
  local found = {}
  for _, day in ipairs(days_of(rule)) do
    for _, time in ipairs(times_of(rule)) do
      found[#found + 1] = ("%s %s%s"):format(day, time, rule.tz ~= "local" and " " .. rule.tz or "")
    end
  end
  return found
end

-- For a unit file: % begins a specifier, and words are quoted as in C.
local function quote(text)
  return '"' .. text:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("%%", "%%%%") .. '"'
end

-- In a command $ begins a variable as well.
local function command_quote(text)
  return (quote(text):gsub("%$", "$$"))
end

local SERVICE = [[
# Made by moonkeep export systemd.
[Unit]
Description=moonkeep %s
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart=%s run --log-format json %s %s
%sStateDirectory=moonkeep
StateDirectoryMode=0700
UMask=0077
Nice=10
IOSchedulingClass=idle
# Exit code 4: the job was still running.
SuccessExitStatus=4

NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
%sProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
LockPersonality=yes
SystemCallArchitectures=native
]]

local TIMER = [[
# Made by moonkeep export systemd; moonkeep next shows when this runs.
[Unit]
Description=moonkeep %s: %s

[Timer]
%sPersistent=true

[Install]
WantedBy=timers.target
]]

-- Folders that the service must be able to write: those of file: stores.
local function writable(job)
  local lines = {}
  for _, store in ipairs(job.keys.upload or {}) do
    if store.root then
      -- "-": it may not exist yet
      lines[#lines + 1] = ("ReadWritePaths=%s\n"):format(quote("-" .. store.root))
    end
  end
  return table.concat(lines)
end

--- The units of jobs: a list of { name, text }. `how`: program, user.
function M.units(jobs, how)
  local units = {}
  for _, job in ipairs(jobs) do
    local name = "moonkeep-" .. job.name
    local calendar = {}
    for i, expression in ipairs(M.calendar(job.rule)) do
      calendar[i] = ("OnCalendar=%s\n"):format(expression)
    end
    local delay = schedule.delay(job.rule, job.name, how.machine)
    local wait = delay > 0 and ("ExecStartPre=/bin/sleep %d\n"):format(delay) or ""
    units[#units + 1] = { name = name .. ".service", text = SERVICE:format(job.name,
      command_quote(how.program), command_quote(job.real_path), command_quote(job.name),
      wait .. (how.user and ("User=%s\n"):format(how.user) or ""), writable(job)) }
    units[#units + 1] = { name = name .. ".timer", text = TIMER:format(job.name,
      schedule.describe(job.rule), table.concat(calendar)) }
  end
  return units
end

return M
