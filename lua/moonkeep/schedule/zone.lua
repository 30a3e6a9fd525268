--- Time zones: local time and UTC, by the system's zoneinfo files (TZif, RFC 8536) and the POSIX
--- rule at their end, which says what holds after the last transition that is listed.
---
--- Local times are seconds since 1970 as if the local clock were UTC. A local time has no instant
--- when the clocks jump over it, and two when they are set back.
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"

local M = {}

local FOLDER = "/usr/share/zoneinfo"
local DAY = 86400

-- ---- the calendar -------------------------------------------------------------------------------

--- Days since 1970-01-01 of a date (proleptic Gregorian; March is the first month of its year, so
--- that the leap day is the last).
function M.days(year, month, day)
  local y = month <= 2 and year - 1 or year
  local of_year = (153 * (month > 2 and month - 3 or month + 9) + 2) // 5 + day - 1
  return 365 * y + y // 4 - y // 100 + y // 400 + of_year - 719468
end

--- Seconds since 1970 of a time in UTC; numbers or their texts.
function M.unix(year, month, day, hour, minute, second)
  return M.days(tonumber(year), tonumber(month), tonumber(day)) * DAY + tonumber(hour) * 3600 +
    tonumber(minute) * 60 + tonumber(second)
end

--- year, month, day, weekday (0 is Sunday) of a day number.
function M.date(days)
  local z = days + 719468
  local era = z // 146097
  local of_era = z - era * 146097
  local year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
  local of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
  local mp = (5 * of_year + 2) // 153
  local month = mp < 10 and mp + 3 or mp - 9
  return year_of_era + era * 400 + (month <= 2 and 1 or 0), month,
    of_year - (153 * mp + 2) // 5 + 1, (days + 4) % 7
end

--- How many days the month has.
function M.month_days(year, month)
  return M.days(month == 12 and year + 1 or year, month % 12 + 1, 1) - M.days(year, month, 1)
end

-- ---- POSIX rules: "CET-1CEST,M3.5.0,M10.5.0/3" ---------------------------------------------------

local function parse_clock(text)
  local sign, h, m, s = text:match "^([+-]?)(%d+):?(%d*):?(%d*)$"
  local seconds = tonumber(h) * 3600 + (tonumber(m) or 0) * 60 + (tonumber(s) or 0)
  return sign == "-" and -seconds or seconds
end

local function parse_day(text)
  local day, clock = text:match "^([^/]+)/?(.*)$"
  local rule = { clock = clock == "" and 7200 or parse_clock(clock) }
  local month, week, weekday = day:match "^M(%d+)%.(%d+)%.(%d+)$"
  if month then
    rule.month, rule.week, rule.weekday = tonumber(month), tonumber(week), tonumber(weekday)
  elseif day:sub(1, 1) == "J" then
    rule.julian = tonumber(day:sub(2))
  else
    rule.of_year = tonumber(day)
  end
  return rule
end

local function take_name(text)
  local name, rest = text:match "^<([^>]+)>(.*)$"
  if not name then
    name, rest = text:match "^(%a+)(.*)$"
  end
  return name, rest
end

local function parse_rule(text)
  local name, rest = take_name(text)
  if not name then
    return nil
  end
  local clock
  clock, rest = rest:match "^([+-]?[%d:]+)(.*)$"
  local rule = { std = { offset = -parse_clock(clock), name = name } }
  if rest == "" then
    return rule
  end
  name, rest = take_name(rest)
  clock, rest = rest:match "^([+-]?[%d:]*)(.*)$"
  rule.dst = { offset = clock == "" and rule.std.offset + 3600 or -parse_clock(clock), name = name }
  local from, to = rest:match "^,([^,]+),([^,]+)$"
  rule.from, rule.to = parse_day(from), parse_day(to)
  return rule
end

-- The local time of a rule's day in a year.
local function day_of(rule, year)
  local first = M.days(year, 1, 1)
  if rule.of_year then
    return (first + rule.of_year) * DAY + rule.clock
  elseif rule.julian then
    local leap = M.month_days(year, 2) == 29 and rule.julian >= 60
    return (first + rule.julian - 1 + (leap and 1 or 0)) * DAY + rule.clock
  end
  local days = M.days(year, rule.month, 1)
  local day = days + (rule.weekday - (days + 4) % 7) % 7 + 7 * (rule.week - 1)
  if day >= days + M.month_days(year, rule.month) then
    day = day - 7
  end
  return day * DAY + rule.clock
end

local function by_rule(rule, utc)
  if not rule.dst then
    return rule.std
  end
  local year = M.date((utc + rule.std.offset) // DAY)
  local from = day_of(rule.from, year) - rule.std.offset
  local to = day_of(rule.to, year) - rule.dst.offset
  local is_dst
  if from < to then
    is_dst = utc >= from and utc < to
  else -- the southern half of the world
    is_dst = utc >= from or utc < to
  end
  return is_dst and rule.dst or rule.std
end

-- ---- zones --------------------------------------------------------------------------------------

local Zone = {}
Zone.__index = Zone

local function header(text, at)
  local magic, version, n_ut, n_std, n_leap, n_time, n_type, n_char, after =
    (">c4c1xxxxxxxxxxxxxxxI4I4I4I4I4I4"):unpack(text, at)
  if magic ~= "TZif" then
    error "it is no zoneinfo file"
  end
  return { version = version, n_ut = n_ut, n_std = n_std, n_leap = n_leap, n_time = n_time,
    n_type = n_type, n_char = n_char, after = after }
end

local function parse(name, text)
  local h = header(text, 1)
  local at = h.after + h.n_time * 5 + h.n_type * 6 + h.n_char + h.n_leap * 8 + h.n_std + h.n_ut
  h = header(text, at)
  local zone = setmetatable({ name = name, times = {}, kinds = {}, days = {}, n_days = 0 }, Zone)
  local types, names = {}, h.after + h.n_time * 9 + h.n_type * 6
  for i = 0, h.n_type - 1 do
    local offset, _, index = (">i4I1I1"):unpack(text, h.after + h.n_time * 9 + i * 6)
    types[i] = { offset = offset, name = ("z"):unpack(text, names + index) }
  end
  for i = 0, h.n_time - 1 do
    zone.times[i + 1] = (">i8"):unpack(text, h.after + i * 8)
    zone.kinds[i + 1] = types[text:byte(h.after + h.n_time * 8 + i)]
  end
  zone.first = types[0]
  local footer = names + h.n_char + h.n_leap * 12 + h.n_std + h.n_ut
  zone.rule = parse_rule(text:sub(footer + 1):match "^([^\n]*)" or "")
  return zone
end

-- A zone that is only a rule; UTC when it is none, as in the C library.
local function posix(text)
  local ok, rule = pcall(parse_rule, text)
  return setmetatable({ name = text, times = {}, kinds = {}, days = {}, n_days = 0, rule = ok and rule or
    { std = { offset = 0, name = "UTC" } } }, Zone)
end

local zones = {}

--- The zone of an IANA name; "local" is the machine's own. Raises INVALID.
function M.get(name)
  name = name or "local"
  if zones[name] then
    return zones[name]
  end
  local path = FOLDER .. "/" .. name
  if name == "local" then
    local tz = (os.getenv "TZ" or ""):gsub("^:", ""):gsub("^" .. FOLDER .. "/", "")
    if tz ~= "" and tz ~= "local" then
      local ok, zone = pcall(M.get, tz)
      zones[name] = ok and zone or posix(tz) -- TZ may be a rule instead of a name
      return zones[name]
    end
    path = "/etc/localtime"
  elseif not name:match "^[%w_+-]+$" and not name:match "^[%w_+-]+/[%w_+/-]+$" then
    errors.raise("INVALID", ("%q is not the name of a time zone"):format(name),
      { hint = "write it as in: timedatectl list-timezones" })
  end
  local ok, text = pcall(fs.read, path)
  if not ok and name == "local" then
    zones[name] = M.get "UTC"
    return zones[name]
  elseif not ok then
    errors.raise("INVALID", ("there is no time zone %q"):format(name),
      { hint = "see: timedatectl list-timezones (in a container: apt-get install tzdata)" })
  end
  local parsed, zone = pcall(parse, name, text)
  if not parsed then
    errors.raise("INVALID", ("%s is no time zone"):format(path), { hint =
      "see: timedatectl list-timezones" })
  end
  zones[name] = zone
  return zones[name]
end

-- The last transition at or before `utc`, or 0.
local function find(times, utc)
  local low, high = 0, #times
  while low < high do
    local middle = (low + high + 1) // 2
    if times[middle] <= utc then
      low = middle
    else
      high = middle - 1
    end
  end
  return low
end

local function kind_at(self, utc)
  local i = find(self.times, utc)
  if i == #self.times and self.rule then
    return by_rule(self.rule, utc)
  end
  return i > 0 and self.kinds[i] or self.first
end

local MAX_DAYS = 10000

-- What holds all day, for very many times are asked for; false: it changes. (No zone changes and changes
-- back within a day.)
local function kind_of_day(self, day)
  local kind = self.days[day]
  if kind == nil then
    kind = kind_at(self, day * DAY)
    kind = kind == kind_at(self, (day + 1) * DAY - 1) and kind
    if self.n_days >= MAX_DAYS then
      self.days, self.n_days = {}, 0
    end
    self.days[day], self.n_days = kind, self.n_days + 1
  end
  return kind
end

--- Seconds east of UTC, and the abbreviation ("CEST"), at an instant.
function Zone:offset(utc)
  local kind = kind_of_day(self, utc // DAY) or kind_at(self, utc)
  return kind.offset, kind.name
end

--- The instants of a local time: none, one, or two in order.
function Zone:instants(wall)
  local found = {}
  local before, after = self:offset(wall - DAY), self:offset(wall + DAY)
  for _, offset in ipairs(before == after and { before } or { before, after }) do
    local utc = wall - offset
    if self:offset(utc) == offset then
      found[#found + 1] = utc
    end
  end
  table.sort(found)
  return found
end

--- The instant at which the clocks jump over a local time that does not exist.
function Zone:gap_end(wall)
  local before = self:offset(wall - DAY)
  local low, high = wall - 2 * DAY, wall + 2 * DAY
  while high - low > 1 do
    local middle = (low + high) // 2
    if self:offset(middle) == before then
      low = middle
    else
      high = middle
    end
  end
  return high
end

--- "2026-03-29 03:00 CEST"
function Zone:format(utc)
  local offset, name = self:offset(utc)
  local wall = utc + offset
  local year, month, day = M.date(wall // DAY)
  return ("%04d-%02d-%02d %02d:%02d %s"):format(year, month, day, wall % DAY // 3600,
    wall % 3600 // 60, name)
end

local last_day, last_text -- of many times in a row the day is the same

--- "2026-03-29T01:00:00Z"
function M.format_utc(utc)
  if utc // DAY ~= last_day then
    last_day, last_text = utc // DAY, ("%04d-%02d-%02d"):format(M.date(utc // DAY))
  end
  return ("%sT%02d:%02d:%02dZ"):format(last_text, utc % DAY // 3600, utc % 3600 // 60, utc % 60)
end

--- Seconds since 1970 of "2026-11-22T02:00:00Z", "2026-11-22 02:00" (local) or "2026-11-22"; nil
--- when it is none of them.
function M.parse_time(text)
  local year, month, day, h, m, s, zone = text:match(
    "^(%d%d%d%d)-(%d%d)-(%d%d)[T ](%d%d):(%d%d):(%d%d)(Z?)$")
  if not year then
    year, month, day, h, m, zone = text:match "^(%d%d%d%d)-(%d%d)-(%d%d)[T ](%d%d):(%d%d)(Z?)$"
  end
  if not year then
    year, month, day = text:match "^(%d%d%d%d)-(%d%d)-(%d%d)$"
  end
  if not year then
    return nil
  end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  h, m, s = tonumber(h or 0), tonumber(m or 0), tonumber(s or 0)
  if month < 1 or month > 12 or day < 1 or day > M.month_days(year, month) or h > 23 or m > 59 or
    s > 59 then
    return nil
  end
  local wall = M.days(year, month, day) * DAY + h * 3600 + m * 60 + s
  if zone == "Z" then
    return wall
  end
  local here = M.get "local"
  return here:instants(wall)[1] or here:gap_end(wall)
end

return M
