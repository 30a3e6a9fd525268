--- Which backups of a series in a store stay, and which go, with every reason. Pure: no clock, no
--- store, so that it can be simulated and tested.
---
--- - A backup *counts* when it has been proved as far as `keep.proof` says, is not damaged, can be
---   read, and is not dated in the future. Rules see only those: failed or doubtful ones push no good
---   one out.
--- - The `floor` newest that count stay, whatever the rules say.
--- - What does not count stays until `floor` newer ones count; then it goes like any other: one that is
---   damaged by that alone, one that is only proved less when the rules would not want it either. One
---   that is dated in the future, or whose manifest cannot be read, stays in any case.
--- - What is held, tagged `legal_hold`, locked by its store, or needed by another one stays; so does
---   what a policy's before_expire defends.
local merge = require "moonkeep.merge"
local rules = require "moonkeep.retention.rules"
local zone = require "moonkeep.schedule.zone"

local M = {}

--- How much each proof proves.
M.RANK = { stored = 1, read = 2, decoded = 3, restored = 4, checked = 5 }

local LEGAL_HOLD = "legal_hold"
local CLOCK_SKEW = 300 -- seconds that clocks may differ

-- Why a backup does not count; nil: it does. Second: "for ever" when that keeps it, "doubtful" when it
-- may be as good as any.
local function why_not(backup, wanted, now)
  if backup.broken then
    return "its manifest cannot be read: " .. backup.broken, "for ever"
  elseif backup.time > now + CLOCK_SKEW then
    return "it is dated in the future", "for ever"
  elseif backup.damaged then
    return "it is damaged"
  elseif (M.RANK[backup.proof] or 0) < M.RANK[wanted] then
    return ("it is proved as %s only, not as %s"):format(backup.proof or "nothing", wanted), "doubtful"
  end
end

local NOTHING = {}

-- What keeps a backup whether it counts or not: a list of texts, not to be changed.
local function defences(backup, now)
  local hold, locked_until = backup.hold, backup.locked_until
  local tag = backup.tags and backup.tags[LEGAL_HOLD]
  if not (hold or tag or backup.needed_by or locked_until) then
    return NOTHING -- most
  end
  local list, until_time = {}, hold and hold["until"] and zone.parse_time(hold["until"])
  if hold and not (until_time and until_time < now) then
    list[1] = ("held%s%s"):format(hold["until"] and " until " .. hold["until"] or "",
      hold.reason and ": " .. hold.reason or "")
  end
  list[#list + 1] = tag and ("tag %s: %s"):format(LEGAL_HOLD, tostring(tag)) or nil
  list[#list + 1] = backup.needed_by and "needed by " .. backup.needed_by or nil
  if locked_until and locked_until > now then
    list[#list + 1] = "its store has it locked until " .. zone.format_utc(locked_until)
  end
  return list
end

-- What a recipe's own function sees of backups.
local function view(backup, now)
  return merge({ age = now - backup.time, created_at = zone.format_utc(backup.time) }, {
    id = backup.id, time = backup.time, tags = backup.tags or {}, proof = backup.proof,
    size = backup.size, database = backup.database })
end

-- Why each of those that count is wanted.
local function wanted_by(keep, counted, context)
  if type(keep) ~= "function" then
    return rules.apply(counted, keep, context.tz)
  end
  local views, reasons = {}, {}
  for i, backup in ipairs(counted) do
    views[i] = view(backup, context.now)
  end
  for i in ipairs(counted) do
    local reason = keep(views[i], views)
    reasons[i] = reason and { reason == true and "the recipe's keep" or tostring(reason) } or {}
  end
  return reasons
end

local function is_newer(a, b)
  if a.time ~= b.time then
    return a.time > b.time
  end
  return a.id > b.id
end

-- They come oldest first, as a rule; there may be very many.
local function newest_first(backups)
  local list, is_sorted = {}, true
  for i = #backups, 1, -1 do
    list[#list + 1] = backups[i]
    is_sorted = is_sorted and (i == 1 or is_newer(backups[i], backups[i - 1]))
  end
  if not is_sorted then
    table.sort(list, is_newer)
  end
  return list
end

-- Asks the policies about what would go, newest first.
local function ask_policies(verdicts, context)
  local left = 0
  for _, verdict in ipairs(verdicts) do
    left = left + (verdict.keep and verdict.counts and 1 or 0)
  end
  for _, verdict in ipairs(verdicts) do
    local why = not verdict.keep and context.veto(view(verdict.backup, context.now),
      { verified_left = left })
    if why then
      verdict.keep, verdict.reasons = true, { "policy: " .. why }
      left = left + (verdict.counts and 1 or 0)
    end
  end
end

-- There may be very many verdicts, of which most are alike: on one that counts and that nothing defends;
-- and on such a one that goes.
local COUNTS = { __index = { counts = true, keep = false, reasons = NOTHING } }
local GOES = { __index = { counts = true, keep = false, reasons = { "no rule keeps it" } } }

local function new_verdict(backup, wanted, now)
  local why, doubt = why_not(backup, wanted, now)
  local reasons = defences(backup, now)
  if not why and reasons == NOTHING then
    return setmetatable({ backup = backup }, COUNTS)
  end
  return { backup = backup, counts = not why, keep = false, reasons = reasons, why_not = why,
    doubt = doubt }
end

local function add(verdict, reasons)
  verdict.reasons = table.move(reasons, 1, #reasons, #verdict.reasons + 1,
    table.move(verdict.reasons, 1, #verdict.reasons, 1, {}))
end

-- Calls use(verdict, reasons) with what the rules want of those that count, and, `with_doubtful`, of
-- those that are only proved less as if they counted.
local function ask_rules(verdicts, with_doubtful, keep, context, use)
  local chosen, backups = {}, {}
  for _, verdict in ipairs(verdicts) do
    if verdict.counts or with_doubtful and verdict.doubt == "doubtful" then
      chosen[#chosen + 1], backups[#backups + 1] = verdict, verdict.backup
    end
  end
  for i, reasons in ipairs(wanted_by(keep, backups, context)) do
    if reasons[1] then -- most have none
      use(chosen[i], reasons)
    end
  end
end

-- Why one stays that does not count, of which `n` newer ones do; nil: it goes.
local function why_all_the_same(verdict, n, floor, possible)
  if verdict.doubt == "for ever" or n < floor then
    return "does not count: " .. verdict.why_not
  elseif possible[verdict] then
    return ("does not count (%s), but would be: %s"):format(verdict.why_not, possible[verdict])
  end
end

-- Fills in what rules and floor say of those that count, and what follows for the others. What is only
-- proved less (its marks may have been lost, or `proof` be new) stays also where the rules would want it
-- if it counted.
local function weigh(verdicts, keep, floor, context)
  local possible, is_any_doubtful = {}, false
  for _, verdict in ipairs(verdicts) do
    is_any_doubtful = is_any_doubtful or verdict.doubt == "doubtful"
  end
  ask_rules(verdicts, false, keep, context, add)
  if is_any_doubtful then
    ask_rules(verdicts, true, keep, context, function(verdict, reasons)
      possible[verdict] = not verdict.counts and table.concat(reasons, "; ") or nil
    end)
  end
  local n = 0
  for _, verdict in ipairs(verdicts) do
    if verdict.counts then
      n = n + 1
      if n <= floor then
        add(verdict, { ("floor: %d of the %d newest"):format(n, floor) })
      end
    else
      add(verdict, { why_all_the_same(verdict, n, floor, possible) })
    end
    if verdict.reasons[1] then
      verdict.keep = true
    elseif verdict.why_not then
      verdict.reasons = { ("does not count (%s), and %d newer ones do"):format(verdict.why_not, floor) }
    else
      verdict.reasons = nil
      setmetatable(verdict, GOES)
    end
  end
end

--- Judges the backups of a series: { id, time (of Unix), proof, damaged, broken (why its manifest
--- cannot be read), tags, size, database, hold = { until, reason }, needed_by, locked_until }.
--- `keep`: rules, or the recipe's function(backup, all). `context`: now, tz, proof (the standard one),
--- veto (function(backup, plan) -> why it must stay, or nil). Returns verdicts, newest first:
--- { backup, keep, counts, reasons }. Raises what the recipe's functions raise.
function M.judge(backups, keep, context)
  local settings = type(keep) == "table" and keep or {}
  local verdicts = {}
  for i, backup in ipairs(newest_first(backups)) do
    verdicts[i] = new_verdict(backup, settings.proof or context.proof, context.now)
  end
  weigh(verdicts, keep, rules.floor_of(keep), context)
  if context.veto then
    ask_policies(verdicts, context)
  end
  return verdicts
end

return M
