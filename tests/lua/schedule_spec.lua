local cron = require "moonkeep.schedule.cron"
local crontab = require "moonkeep.schedule.crontab"
local schedule = require "moonkeep.schedule"
local systemd = require "moonkeep.schedule.systemd"
local zone = require "moonkeep.schedule.zone"

local function at(text)
  return assert(zone.parse_time(text))
end

local function compile(keys)
  local rule, found = schedule.compile(keys)
  assert.same({}, found)
  return rule
end

local function upcoming(keys, after, count)
  local times = schedule.upcoming(compile(keys), at(after), count)
  for i, utc in ipairs(times) do
    times[i] = zone.format_utc(utc)
  end
  return times
end

describe("the calendar", function()
  it("counts days as the system does", function()
    for days = -200000, 200000, 997 do
      local year, month, day, weekday = zone.date(days)
      assert.equal(days, zone.days(year, month, day))
      assert.equal(os.date("!%Y-%m-%d %w", days * 86400),
        ("%04d-%02d-%02d %d"):format(year, month, day, weekday))
    end
  end)

  it("reads times of both kinds, and refuses what is no time", function()
    assert.equal(1774746000, at "2026-03-29T01:00:00Z")
    assert.equal(0, at "1970-01-01T00:00:00Z")
    for _, text in ipairs { "", "2026", "2026-13-01", "2026-02-29", "2026-01-01T24:00:00Z",
      "2026-01-01 12:60", "yesterday", "2026-01-01x" } do
      assert.is_nil(zone.parse_time(text), text)
    end
  end)
end)

describe("a zone", function()
  -- The same offsets as the C library's, which reads the same files by other code.
  it("has the offsets that date has, in the past and in the far future", function()
    local process = require "moonkeep.process"
    for _, name in ipairs { "Europe/Paris", "America/New_York", "Australia/Lord_Howe",
      "America/Sao_Paulo", "Asia/Kolkata", "Europe/Dublin", "Pacific/Apia", "Africa/Casablanca",
      "Antarctica/Troll", "UTC", "Etc/GMT+5", "America/Santiago" } do
      local tz, lines, expected = zone.get(name), {}, {}
      for utc = 0, 4102444800, 86400 * 61 + 4321 do
        lines[#lines + 1] = "@" .. utc
        local offset, abbreviation = tz:offset(utc)
        local minutes = math.abs(offset) // 60
        expected[#expected + 1] = ("%s%02d%02d %s"):format(offset < 0 and "-" or "+",
          minutes // 60, minutes % 60, abbreviation)
      end
      local out = process.run { argv = { "date", "--file=-", "+%z %Z" }, env = { TZ = name },
        stdin = table.concat(lines, "\n") .. "\n" }
      local i = 0
      for line in out:gsub("%-0000", "+0000"):gmatch "[^\n]+" do
        i = i + 1
        assert.equal(line, expected[i], name .. " at " .. lines[i])
      end
      assert.equal(#lines, i)
    end
  end)

  it("has two offsets on the day on which clocks change, whichever is asked for first", function()
    for _, hours in ipairs { { 0, 23, 1 }, { 23, 0, 1 } } do
      local tz, day = zone.get "Europe/Berlin", at "2026-03-29T00:00:00Z"
      tz.days, tz.n_days = {}, 0
      local found = {}
      for i, hour in ipairs(hours) do
        found[i] = tz:offset(day + 3600 * hour)
      end
      assert.same({ hours[1] == 0 and 3600 or 7200, hours[2] == 0 and 3600 or 7200, 7200 }, found)
      assert.equal(3600, (tz:offset(day + 3599)))
    end
  end)

  it("that is none is refused, also when it is a path", function()
    for _, name in ipairs { "Europe/Pariss", "../../etc/passwd", "/etc/passwd", "", "a b" } do
      local ok, err = pcall(zone.get, name)
      assert.is_false(ok, name)
      assert.equal("INVALID", err.code)
      assert.matches("timedatectl", err.hint)
    end
  end)
end)

describe("a schedule", function()
  it("in a gap runs right after it, and in a fold once", function()
    local paris = { cron = "30 2 * * *", tz = "Europe/Paris" }
    assert.same({ "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z" },
      upcoming(paris, "2026-03-28T00:00:00Z", 3))
    assert.same({ "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z" },
      upcoming(paris, "2026-10-24T00:00:00Z", 3))
    assert.same({ "2026-03-08T07:00:00Z" }, -- 02:30 does not exist: 03:00 EDT
      upcoming({ at = "02:30", tz = "America/New_York" }, "2026-03-08T00:00:00Z", 1))
  end)

  it("that runs at least hourly follows the real time through both", function()
    assert.same({ "2026-03-29T00:15:00Z", "2026-03-29T01:15:00Z" },
      upcoming({ cron = "15 * * * *", tz = "Europe/Paris" }, "2026-03-29T00:00:00Z", 2))
    assert.same({ "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z",
      "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z" },
      upcoming({ every = "30m", tz = "Europe/Paris" }, "2026-10-24T23:59:00Z", 5))
  end)

  it("knows days that cron cannot say", function()
    local function days(on, count)
      local times = upcoming({ at = "09:00", on = on, tz = "UTC" }, "2026-01-01T00:00:00Z", count)
      for i, time in ipairs(times) do
        times[i] = time:sub(1, 10)
      end
      return times
    end
    assert.same({ "2026-01-05", "2026-02-02", "2026-03-02" }, days("first monday", 3))
    assert.same({ "2026-01-30", "2026-02-27" }, days("last friday", 2))
    assert.same({ "2026-01-31", "2026-02-28" }, days("last day", 2))
    assert.same({ "2026-01-15", "2026-02-15" }, days("day 15", 2))
    assert.same({ "2026-01-31", "2026-03-31" }, days("day 31", 2))
    assert.same({ "2026-01-01", "2026-01-02", "2026-01-05" }, days("weekdays", 3))
    assert.same({ "2026-01-01", "2026-01-05" }, days("mon, thu", 2))
  end)

  it("ORs day and weekday as cron does, unless one begins with a star", function()
    assert.same({ "2026-02-02T00:00:00Z", "2026-02-09T00:00:00Z", "2026-02-13T00:00:00Z" },
      upcoming({ cron = "0 0 13 * mon", tz = "UTC" }, "2026-02-01T12:00:00Z", 3))
    assert.same({ "2026-02-09T00:00:00Z" },
      upcoming({ cron = "0 0 */2 * mon", tz = "UTC" }, "2026-02-02T12:00:00Z", 1))
  end)

  it("that never comes due says so by having no times", function()
    assert.same({}, upcoming({ cron = "0 0 31 feb *", tz = "UTC" }, "2026-01-01T00:00:00Z", 1))
    assert.same({ "2028-02-29T00:00:00Z" },
      upcoming({ cron = "0 0 29 2 *", tz = "UTC" }, "2026-01-01T00:00:00Z", 1))
  end)

  it("is delayed by the same time at every run, and differently on other machines", function()
    local rule = compile { at = "02:00", jitter = "10m" }
    local delay = schedule.delay(rule, "nightly", "db1")
    assert.equal(delay, schedule.delay(rule, "nightly", "db1"))
    assert.is_true(delay >= 0 and delay <= 600)
    local different = 0
    for i = 1, 50 do
      different = different + (schedule.delay(rule, "nightly", "db" .. i) ~= delay and 1 or 0)
    end
    assert.is_true(different > 40)
  end)

  it("is refused with what is wrong, by key", function()
    for _, case in ipairs {
      { {}, "exactly one of cron, at, every" },
      { { cron = "0 2 * * *", at = "02:00" }, "exactly one" },
      { { cron = "0 2 * *" }, "has 4 fields" }, { { cron = "60 * * * *" }, "minute: \"60\"" },
      { { cron = "0 24 * * *" }, "hour: \"24\"" }, { { cron = "0 0 0 * *" }, "day: \"0\"" },
      { { cron = "0 0 * 13 *" }, "month: \"13\"" }, { { cron = "0 0 * * 8" }, "weekday: \"8\"" },
      { { cron = "0 0 * * foo" }, "\"foo\" is no weekday" },
      { { cron = "5-1 * * * *" }, "goes backwards" }, { { cron = "*/0 * * * *" }, "no proper step" },
      { { cron = "1//2 * * * *" }, "minute" }, { { cron = "@reboot" }, "no cron shorthand" },
      { { cron = "1,,2 * * * *" }, "minute" },
      { { at = "25:00" }, "times of day" }, { { at = "2" }, "times of day" },
      { { at = "02:00", on = "firs monday" }, "must be days such as" },
      { { at = "02:00", on = "day 32" }, "must be days such as" },
      { { every = "7h" }, "divide a day" }, { { every = "30s" }, "divide a day" },
      { { cron = "0 2 * * *", on = "monday" }, "goes with schedule.at" },
    } do
      local _, found = schedule.compile(case[1])
      assert.equal(1, #found)
      assert.is_truthy(found[1].text:find(case[2], 1, true), found[1].text)
      assert.matches("^schedule", found[1].key)
    end
  end)
end)

-- A second evaluator that knows nothing of the first: it walks over every minute of real time, and
-- asks the C library for the local time.
describe("schedules against a brute-force evaluator", function()
  local process = require "moonkeep.process"

  -- The local minute of every minute of some days, from date(1).
  local function walk(tz, from, minutes)
    local lines = {}
    for i = 0, minutes - 1 do
      lines[#lines + 1] = "@" .. from + i * 60
    end
    local out = process.run { argv = { "date", "--file=-", "+%M %H %d %m %w %Y" },
      env = { TZ = tz }, stdin = table.concat(lines, "\n") .. "\n" }
    local walked = {}
    for minute, hour, day, month, weekday, year in
      out:gmatch "(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)\n" do
      walked[#walked + 1] = { tonumber(minute), tonumber(hour), tonumber(day), tonumber(month),
        tonumber(weekday), tonumber(year) }
    end
    return walked
  end

  -- A random field, and the set of values that it means.
  local function field(min, max)
    local kind = math.random(4)
    if kind == 1 then
      return "*", function() return true end
    elseif kind == 2 then
      local value = math.random(min, max)
      return tostring(value), function(v) return v == value end
    elseif kind == 3 then
      local a = math.random(min, max - 1)
      local b = math.random(a, max)
      return ("%d-%d"):format(a, b), function(v) return v >= a and v <= b end
    end
    local step = math.random(2, 7)
    return "*/" .. step, function(v) return (v - min) % step == 0 end
  end

  local function expected(walked, from, tests, rule)
    local times, seen = {}, {}
    local last_wall
    for i, w in ipairs(walked) do
      local wall = zone.days(w[6], w[4], w[3]) * 1440 + w[2] * 60 + w[1]
      -- Walls that were jumped over, then the present one.
      local first = last_wall and wall > last_wall + 1 and last_wall + 1 or wall
      for m = first, wall do
        local _, month, day, weekday = zone.date(m // 1440)
        local dom, dow = tests[3](day), tests[5](weekday)
        local on_day
        if rule.any_day or rule.any_weekday then
          on_day = dom and dow
        else
          on_day = dom or dow
        end
        local hit = tests[1](m % 60) and tests[2](m % 1440 // 60) and tests[4](month) and on_day
        local is_skipped = m < wall
        if hit and (not seen[m] or rule.any_hour) and not (is_skipped and rule.any_hour) then
          seen[m] = true
          local utc = from + (i - 1) * 60
          if times[#times] ~= utc then
            times[#times + 1] = utc
          end
        end
      end
      last_wall = math.max(last_wall or wall, wall)
    end
    return times
  end

  it("agree, over the changes of clocks of many zones and years", function()
    math.randomseed(42)
    for _, case in ipairs { { "Europe/Paris", "2026-03-28" }, { "Europe/Paris", "2027-10-30" },
      { "America/New_York", "2030-03-09" }, { "Australia/Lord_Howe", "2026-10-03" },
      { "Australia/Lord_Howe", "2026-04-04" }, { "Pacific/Auckland", "2041-09-27" },
      { "America/Santiago", "2026-09-05" }, { "UTC", "2028-02-28" } } do
      local from = at(case[2] .. "T00:00:00Z")
      local walked = walk(case[1], from, 3 * 1440)
      for _ = 1, 12 do
        local texts, tests = {}, {}
        for i, range in ipairs { { 0, 59 }, { 0, 23 }, { 1, 31 }, { 1, 12 }, { 0, 6 } } do
          texts[i], tests[i] = field(range[1], range[2])
          if i >= 3 and math.random(3) > 1 then
            texts[i], tests[i] = "*", function() return true end
          end
        end
        local keys = { cron = table.concat(texts, " "), tz = case[1] }
        local rule = compile(keys)
        local wanted = expected(walked, from, tests, rule.cron)
        -- The first day is for the walls before it, which the walk does not see.
        local start, stop = from + 86400, from + 3 * 86400
        local got = {}
        for _, utc in ipairs(schedule.upcoming(rule, start - 1, 5000)) do
          got[#got + 1] = utc < stop and utc or nil
        end
        local kept = {}
        for _, utc in ipairs(wanted) do
          kept[#kept + 1] = utc >= start and utc or nil
        end
        assert.same(kept, got, keys.cron .. " in " .. case[1] .. " from " .. case[2])
      end
    end
  end)
end)

describe("cron fields", function()
  it("take names, ranges, steps, lists and shorthands", function()
    local rule = assert(cron.parse "0,30 8-18/2 1 jan,JUL mon-fri")
    assert.is_true(rule.minute[30] and rule.hour[18] and rule.month[7] and rule.weekday[5])
    assert.is_nil(rule.hour[9] or rule.weekday[0])
    assert.is_true(cron.parse("0 0 * * 7").weekday[0])
    assert.is_true(cron.parse("5/20 * * * *").minute[45])
    assert.is_true(cron.parse("0/1 * * * *").minute[59])
    assert.is_true(cron.parse("@Daily").hour[0])
  end)
end)

describe("exports of schedules", function()
  local function job(keys)
    return { name = "nightly", keys = {}, rule = compile(keys), real_path = "/etc/moon keep/100%.lua" }
  end

  it("are crontab lines, with what cron cannot say in the command", function()
    local function lines(keys)
      return crontab.text({ job(keys) }, { program = "/usr/bin/moonkeep", machine = "db1" })
    end
    local command = " '/usr/bin/moonkeep' run --quiet --log-format human " ..
      "'/etc/moon keep/100\\%.lua' 'nightly'"
    for _, case in ipairs {
      { { cron = "*/5 2 * * mon-fri" }, "*/5 2 * * mon-fri" },
      { { at = { "02:30", "14:30" } }, "30 2,14 * * *" },
      { { every = "6h" }, "0 0,6,12,18 * * *" },
      { { every = "15m" }, "0,15,30,45 * * * *" },
      { { at = "09:00", on = "weekdays" }, "0 9 * * 1,2,3,4,5" },
      { { at = "09:00", on = "first monday" }, '0 9 1-7 * * [ "$(date +\\%w)" = 1 ] &&' },
    } do
      assert.is_truthy(lines(case[1]):find("\n" .. case[2] .. command, 1, true), lines(case[1]))
    end
    assert.matches("CRON_TZ=Europe/Paris\n", lines { at = "02:00", tz = "Europe/Paris" })
  end)

  it("are calendar expressions that systemd understands as we do", function()
    local process = require "moonkeep.process"
    if not pcall(process.run, { argv = { "systemd-analyze", "--version" } }) then
      print "SKIPPED: systemd-analyze is not here"
      pending "systemd-analyze is not here"
      return
    end
    for _, keys in ipairs { { cron = "30 2 * * 1-5" }, { cron = "*/15 3 1,15 * *" },
      { cron = "0 4 13 * fri" }, { at = { "02:30", "14:30" } }, { every = "6h" },
      { every = "45m" }, { at = "09:00", on = "first monday" }, { at = "09:00", on = "last friday" },
      { at = "09:00", on = "last day" }, { at = "09:00", on = "day 31" } } do
      keys.tz = "UTC"
      local rule, soonest = compile(keys), nil
      for _, expression in ipairs(systemd.calendar(rule)) do
        local out = process.run { argv = { "systemd-analyze", "calendar", "--base-time",
          "2026-11-25 12:00:00 UTC", expression }, env = { TZ = "UTC", LC_ALL = "C" } }
        local day, clock = out:match "Next elapse: %a+ (%S+) (%d+:%d+):%d+ UTC"
        local utc = at(("%sT%s:00Z"):format(day, clock))
        soonest = math.min(soonest or utc, utc)
      end
      assert.equal(zone.format_utc(schedule.upcoming(rule, at "2026-11-25T12:00:00Z", 1)[1]),
        zone.format_utc(soonest), schedule.describe(rule))
    end
  end)

  it("are calendar expressions of systemd", function()
    for _, case in ipairs {
      { { cron = "30 2 * * *", tz = "Europe/Paris" }, "*-*-* 2:30:00 Europe/Paris" },
      { { cron = "0 9 1 * mon" }, "*-*-1 9:0:00", "Mon *-*-* 9:0:00" },
      { { cron = "*/15 * * * 1-5" }, "Mon,Tue,Wed,Thu,Fri *-*-* *:0,15,30,45:00" },
      { { at = "09:00", on = "first monday" }, "Mon *-*-01..07 09:00:00" },
      { { at = "09:00", on = "last friday" }, "Fri *-*~07/1 09:00:00" },
      { { at = "09:00", on = "last day" }, "*-*~01 09:00:00" },
      { { every = "6h" }, "*-*-* 00/6:00:00" }, { { every = "15m" }, "*-*-* *:00/15:00" },
      { { every = "1h" }, "*-*-* 00/1:00:00" },
      { { every = "8h" }, "*-*-* 00/8:00:00" },
    } do
      local found = systemd.calendar(compile(case[1]))
      assert.same(table.move(case, 2, #case, 1, {}), found)
    end
    local units = systemd.units({ job { at = "02:00", jitter = "5m" } },
      { program = "/usr/bin/moonkeep", user = "backup", machine = "db1" })
    assert.equal("moonkeep-nightly.service", units[1].name)
    assert.matches('ExecStart="/usr/bin/moonkeep" run %-%-log%-format json ' ..
      '"/etc/moon keep/100%%%%.lua" "nightly"\n', units[1].text)
    assert.matches("\nUser=backup\n", units[1].text)
    assert.matches("ExecStartPre=/bin/sleep %d+\n", units[1].text)
    assert.is_nil(units[2].text:find("RandomizedDelay", 1, true))
  end)
end)
