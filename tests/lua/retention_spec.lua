-- Retention without stores: restic's rules against an evaluator that works otherwise, and what the judge
-- must never let go, over random histories.
local judge = require "moonkeep.retention.judge"
local rules = require "moonkeep.retention.rules"
local support = require "support"
local zone = require "moonkeep.schedule.zone"

local DAY, HOUR = 86400, 3600
local UTC = zone.get "UTC"
local NOW = zone.parse_time "2026-11-22T03:00:00Z"

local function id_of(time, n)
  return ("%s-%06x"):format(os.date("!%Y%m%dT%H%M%SZ", time), n)
end

-- One backup a day at 02:00, the newest on 2026-11-22; newest first.
local function daily(n)
  local list = {}
  for i = 1, n do
    local time = NOW - HOUR - (i - 1) * DAY
    list[i] = { id = id_of(time, i), time = time, proof = "read", tags = {} }
  end
  return list
end

local function kept(list, keep, tz)
  local found = {}
  for i, reasons in ipairs(rules.apply(list, keep, tz or UTC)) do
    found[#found + 1] = #reasons > 0 and list[i] or nil
  end
  return found
end

describe("the rules of keep", function()
  it("keep what restic keeps of 400 days: 15, the oldest of 2026-06-30", function()
    local found = kept(daily(400), { daily = 7, weekly = 4, monthly = 6 })
    assert.equal(15, #found)
    assert.equal("2026-06-30T02:00:00Z", zone.format_utc(found[15].time))
  end)

  it("keep what restic keeps after 30 days without backups: all 14", function()
    local list = daily(100)
    for _, backup in ipairs(list) do
      backup.time = backup.time - 30 * DAY
    end
    assert.equal(14, #kept(list, { daily = 14 }))
    table.insert(list, 1, { time = NOW, tags = {} })
    assert.equal(14, #kept(list, { daily = 14 }))
  end)

  it("keep the oldest while there are fewer than they could keep", function()
    local list = daily(10)
    assert.same({ list[1], list[10] }, kept(list, { yearly = 3 }))
    assert.same({ list[1] }, kept(list, { yearly = 1 }))
  end)

  it("count `within` from the newest, not from now", function()
    local list = daily(10)
    for _, backup in ipairs(list) do
      backup.time = backup.time - 500 * DAY
    end
    assert.equal(2, #kept(list, { within = "36h" }))
  end)

  it("know tags by name, and by value", function()
    local list = daily(5)
    list[3].tags, list[5].tags = { release = "7" }, { release = "8" }
    assert.same({ list[3], list[5] }, kept(list, { tags = "release" }))
    assert.same({ list[5] }, kept(list, { tags = { "release=8", "other" } }))
  end)

  it("go by the calendar of the job's zone", function()
    local list = {} -- 22:30 UTC is the next day in Paris
    for i, text in ipairs { "2026-07-02T09:00:00Z", "2026-07-01T22:30:00Z", "2026-07-01T21:30:00Z" } do
      list[i] = { time = zone.parse_time(text), tags = {} }
    end
    assert.same({ list[1], list[2] }, kept(list, { daily = 2 }))
    assert.same({ list[1], list[3] }, kept(list, { daily = 2 }, zone.get "Europe/Paris"))
  end)

  it("say which of how many each is", function()
    local reasons = rules.apply(daily(3), { last = 1, daily = 2, within = "1d" }, UTC)
    assert.same({ { "within 1d", "last 1 of 1", "daily 1 of 2" }, { "daily 2 of 2" }, {} }, reasons)
    assert.equal("last 1, daily 2, within 1d, tags a, b",
      rules.describe { last = 1, daily = 2, within = "1d", tags = { "a", "b" } })
    assert.is_false(rules.are_any { floor = 3, proof = "read" })
  end)

  -- ---- the other evaluator: groups by texts of the C library -----------------------------------------

  local FORMATS = { hourly = "!%Y-%m-%d %H", daily = "!%Y-%m-%d", weekly = "!%G-%V", monthly = "!%Y-%m",
    yearly = "!%Y" }

  local function expected(list, keep, tz)
    local is_kept = {}
    for i = 1, math.min(keep.last or 0, #list) do
      is_kept[i] = true
    end
    for name, format in pairs(FORMATS) do
      local seen, n = {}, 0
      for i, backup in ipairs(list) do
        local group = os.date(format, backup.time + tz:offset(backup.time))
        if not seen[group] and n < (keep[name] or 0) then
          is_kept[i], n = true, n + 1
        end
        seen[group] = true
      end
      local groups = 0
      for _ in pairs(seen) do
        groups = groups + 1
      end
      is_kept[#list] = is_kept[#list] or groups < (keep[name] or 0)
    end
    is_kept[#list] = is_kept[#list] or #list < (keep.last or 0)
    return is_kept
  end

  it("agree with another evaluator on random histories, in many zones", function()
    local zones = { "UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata",
      "America/Sao_Paulo", "Pacific/Apia" }
    local rounds = support.rounds("random histories", 2000, 100000)
    for round = 1, rounds do
      math.randomseed(round)
      local list, time = {}, math.random(NOW - 3000 * DAY, NOW)
      for i = 1, math.random(1, 60) do
        list[i] = { time = time, tags = {} }
        time = time - math.random(1, ({ HOUR, 6 * HOUR, 2 * DAY, 40 * DAY })[math.random(4)])
      end
      local keep, tz = {}, zone.get(zones[math.random(#zones)])
      for _, name in ipairs { "last", "hourly", "daily", "weekly", "monthly", "yearly" } do
        keep[name] = math.random(3) == 1 and math.random(1, 12) or nil
      end
      local wanted, reasons = expected(list, keep, tz), rules.apply(list, keep, tz)
      for i in ipairs(list) do
        if (wanted[i] or false) ~= (#reasons[i] > 0) then -- (luassert takes ten times as long)
          error(("round %d: they disagree about %d of %d"):format(round, i, #list))
        end
      end
    end
  end)
end)

describe("the judge", function()
  local function judged(list, keep, more)
    local context = { now = NOW, tz = UTC, proof = "read" }
    for key, value in pairs(more or {}) do
      context[key] = value
    end
    local by_id = {}
    for _, verdict in ipairs(judge.judge(list, keep, context)) do
      by_id[verdict.backup.id] = verdict
    end
    return by_id, function(i) return by_id[list[i].id] end
  end

  it("never goes below the floor, nor takes the last good one", function()
    local list = daily(10)
    local _, of = judged(list, { last = 1 })
    assert.is_true(of(3).keep)
    assert.matches("floor: 3 of the 3 newest", of(3).reasons[1])
    assert.is_false(of(4).keep)
    _, of = judged(list, { last = 1, floor = 1 })
    assert.is_true(of(1).keep)
    assert.is_false(of(2).keep)
    _, of = judged(list, function() return nil end)
    assert.is_true(of(3).keep)
    assert.is_false(of(4).keep)
  end)

  it("does not count what is not proved, damaged, unreadable, or dated in the future", function()
    local list = daily(12)
    list[1].proof, list[2].damaged, list[3].broken = "stored", true, "no JSON"
    list[4].time = NOW + DAY
    local _, of = judged(list, { last = 2, floor = 2 })
    for i = 1, 6 do
      assert.is_true(of(i).keep, tostring(i))
    end
    assert.is_false(of(7).keep)
    assert.matches("proved as stored only", of(1).reasons[1])
    assert.matches("damaged", of(2).reasons[1])
    assert.matches("manifest cannot be read: no JSON", of(3).reasons[1])
    assert.matches("dated in the future", of(4).reasons[1])
  end)

  it("lets what does not count go when enough newer ones count", function()
    local list = daily(8)
    list[5].proof, list[6].damaged, list[7].broken = "stored", true, "no JSON"
    local _, of = judged(list, { last = 3 })
    assert.is_false(of(5).keep)
    assert.matches("does not count %(it is proved as stored only, not as read%), and 3 newer",
      of(5).reasons[1])
    assert.is_false(of(6).keep)
    assert.is_true(of(7).keep)
    assert.is_false(of(8).keep)
  end)

  it("lets nothing go where nothing counts", function()
    local list = daily(50)
    for _, backup in ipairs(list) do
      backup.proof = "stored"
    end
    for _, verdict in pairs((judged(list, { last = 1 }))) do
      assert.is_true(verdict.keep)
    end
  end)

  it("keeps what is held, tagged, needed or locked, and says why", function()
    local list = daily(20)
    list[10].hold = { ["until"] = "2027-01-01T00:00:00Z", reason = "audit" }
    list[11].hold = { ["until"] = "2026-01-01T00:00:00Z" } -- it is over
    list[12].hold = {}
    list[13].tags = { legal_hold = "case 7" }
    list[14].needed_by = "x"
    list[15].locked_until, list[16].locked_until = NOW + 1, NOW - 1
    local _, of = judged(list, { last = 3 })
    assert.same({ "held until 2027-01-01T00:00:00Z: audit" }, of(10).reasons)
    assert.is_false(of(11).keep)
    assert.same({ "no rule keeps it" }, of(11).reasons)
    assert.same({ "held" }, of(12).reasons)
    assert.same({ "tag legal_hold: case 7" }, of(13).reasons)
    assert.same({ "needed by x" }, of(14).reasons)
    assert.matches("locked until", of(15).reasons[1])
    assert.is_false(of(16).keep)
    assert.same({ "no rule keeps it" }, of(16).reasons)
  end)

  it("asks a policy about what would go, newest first, and obeys it", function()
    local list, asked = daily(6), {}
    local _, of = judged(list, { last = 3 }, { veto = function(backup, plan)
      asked[#asked + 1] = backup.id
      assert.equal(#asked < 3 and 3 or 4, plan.verified_left)
      return backup.id == list[5].id and "not this one"
    end })
    assert.same({ list[4].id, list[5].id, list[6].id }, asked)
    assert.same({ "policy: not this one" }, of(5).reasons)
    assert.is_false(of(6).keep)
  end)

  it("gives a recipe's function the backups that count, newest first", function()
    local list = daily(10)
    list[2].damaged = true
    local _, of = judged(list, function(backup, all)
      assert.equal(9, #all)
      assert.equal(all[1].id, list[1].id)
      return backup.age > 8 * DAY and "old" or backup.id == all[6].id
    end)
    assert.same({ "old" }, of(10).reasons)
    assert.same({ "the recipe's keep" }, of(7).reasons)
    assert.is_false(of(6).keep)
  end)

  -- ---- what must hold whatever the history is ------------------------------------------------------

  -- A life: backups are made, some fail to be proved, clocks jump, holds are set; after each, what the
  -- judge says is done.
  local function live(seed)
    math.randomseed(seed)
    local keep = { floor = math.random(1, 5) }
    for _, name in ipairs { "last", "hourly", "daily", "weekly", "monthly", "yearly" } do
      keep[name] = math.random(2) == 1 and math.random(1, 8) or nil
    end
    keep.last = not rules.are_any(keep) and 1 or keep.last
    local now, alive, n = NOW - 2000 * DAY, {}, 0
    local function good()
      local list = {}
      for _, backup in ipairs(alive) do
        if backup.proof == "read" and not backup.damaged and backup.time <= now then
          list[#list + 1] = backup
        end
      end
      table.sort(list, function(a, b) return a.time > b.time or a.time == b.time and a.id > b.id end)
      return list
    end
    for _ = 1, 60 do
      local what = math.random(12)
      now = now + math.random(1, 3 * DAY) + (what == 1 and 30 * DAY or what == 2 and -20 * DAY or 0)
      n = n + 1
      table.insert(alive, { id = id_of(now, n), time = now, tags = {}, damaged = what == 4 or nil,
        proof = what == 3 and "stored" or "read", hold = what == 5 and {} or nil })
      local before, is_left = good(), {}
      local verdicts = judge.judge(alive, keep, { now = now, tz = UTC, proof = "read" })
      alive = {}
      for _, verdict in ipairs(verdicts) do
        alive[#alive + 1] = verdict.keep and verdict.backup or nil
        is_left[verdict.backup] = verdict.keep
        if not verdict.keep and (verdict.backup.hold or verdict.backup.time > now) then
          error(("seed %d: one that is held, or of the future, went"):format(seed))
        end
        assert(#verdict.reasons > 0)
      end
      for i = 1, math.min(keep.floor, #before) do
        assert(is_left[before[i]], ("seed %d: one of the newest good ones went"):format(seed))
      end
    end
  end

  it("keeps the newest good ones and every held one, through outages, failures and clock jumps",
    function()
      for seed = 1, support.rounds("random lives", 300, 10000) do
        live(seed)
      end
    end)
end)
