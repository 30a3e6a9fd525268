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

-- What keeps a backup whether it counts or not: a list of texts.
local function defences(backup, now)
  local list, hold = {}, backup.hold
  local until_time = hold and hold["until"] and zone.parse_time(hold["until"])
  if hold and not (until_time and until_time < now) then
    list[1] = ("held%s%s"):format(hold["until"] and " until " .. hold["until"] or "",
      hold.reason and ": " .. hold.reason or "")
  end
  local tag = (backup.tags or {})[LEGAL_HOLD]
  list[#list + 1] = tag and ("tag %s: %s"):format(LEGAL_HOLD, tostring(tag)) or nil
  list[#list + 1] = backup.needed_by and "needed by " .. backup.needed_by or nil
  if backup.locked_until and backup.locked_until > now then
    list[#list + 1] = "its store has it locked until " .. zone.format_utc(backup.locked_until)
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

local function by_time(a, b)
  if a.time ~= b.time then
    return a.time > b.time
  end
  return a.id > b.id
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

local function new_verdict(backup, wanted, now)
  local why, doubt = why_not(backup, wanted, now)
  return { backup = backup, counts = not why, reasons = defences(backup, now), why_not = why,
    doubt = doubt }
end

-- What the rules say of those verdicts that `is_meant` chooses: { [verdict] = reasons }.
local function reasons_of(verdicts, is_meant, keep, context)
  local chosen, backups, reasons = {}, {}, {}
  for _, verdict in ipairs(verdicts) do
    if is_meant(verdict) then
      chosen[#chosen + 1], backups[#backups + 1] = verdict, verdict.backup
    end
  end
  for i, list in ipairs(wanted_by(keep, backups, context)) do
    reasons[chosen[i]] = list
  end
  return reasons
end

local NO_RULE = { "no rule keeps it" } -- of most

-- Fills in what rules and floor say of those that count, and what follows for the others. What is only
-- proved less (its marks may have been lost, or `proof` be new) stays also where the rules would want it
-- if it counted.
local function weigh(verdicts, keep, floor, context)
  local certain = reasons_of(verdicts, function(verdict) return verdict.counts end, keep, context)
  local possible = reasons_of(verdicts, function(verdict)
    return verdict.counts or verdict.doubt == "doubtful"
  end, keep, context)
  local n = 0
  for _, verdict in ipairs(verdicts) do
    if verdict.counts then
      n = n + 1
      table.move(certain[verdict], 1, #certain[verdict], #verdict.reasons + 1, verdict.reasons)
      if n <= floor then
        table.insert(verdict.reasons, ("floor: %d of the %d newest"):format(n, floor))
      end
    elseif verdict.doubt == "for ever" or n < floor then
      table.insert(verdict.reasons, "does not count: " .. verdict.why_not)
    elseif possible[verdict] and #possible[verdict] > 0 then
      table.insert(verdict.reasons, ("does not count (%s), but would be: %s"):format(verdict.why_not,
        table.concat(possible[verdict], "; ")))
    end
    verdict.keep = #verdict.reasons > 0
    if not verdict.keep then
      verdict.reasons = verdict.why_not and { ("does not count (%s), and %d newer ones do"):format(
        verdict.why_not, floor) } or NO_RULE
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
  local sorted = table.move(backups, 1, #backups, 1, {})
  table.sort(sorted, by_time)
  local verdicts = {}
  for i, backup in ipairs(sorted) do
    verdicts[i] = new_verdict(backup, settings.proof or context.proof, context.now)
  end
  weigh(verdicts, keep, rules.floor_of(keep), context)
  if context.veto then
    ask_policies(verdicts, context)
  end
  return verdicts
end

return M
