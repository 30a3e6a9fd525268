--- What people are told: a title, and a text that says what the error block of a run says, with sizes
--- and durations beside what is usual.
local units = require "moonkeep.units"

local M = {}

local VERBS = { start = "has begun", success = "OK", recovered = "is well again",
  size = "has an unusual size", degraded = "DEGRADED", failure = "FAILED",
  skipped = "SKIPPED", stale = "is STALE" }

local function usual_duration(seconds, usual)
  local text = units.format_duration(math.max(1, seconds * 1000 // 1 | 0))
  return usual and ("%s (usually %s)"):format(text, units.format_duration(math.max(1,
    usual * 1000 // 1 | 0))) or text
end

local function usual_size(size, usual)
  local text = units.format_size(size)
  if not usual or usual == 0 then
    return text
  end
  return ("%s (usually %s, %+d %%)"):format(text, units.format_size(usual),
    (size - usual) * 100 // usual)
end

local function add(lines, label, text)
  if text and text ~= "" then
    for line in tostring(text):gmatch "[^\n]+" do
      lines[#lines + 1] = ("%-8s%s"):format(label, line)
      label = ""
    end
  end
end

local function add_error(lines, err)
  add(lines, "error", ("%s: %s"):format(err.code, err.message))
  for _, key in ipairs { "detail", "where", "left", "hint" } do
    add(lines, key, err[key])
  end
  for _, other in ipairs(err.also or {}) do
    add(lines, "also", ("%s: %s"):format(other.code, other.message))
  end
  for _, mistake in ipairs(err.mistakes or {}) do
    add(lines, "mistake", ("%s: %s"):format(mistake.where or "?", mistake.message))
  end
end

local function add_backup(lines, backup)
  local parts = { backup.id, usual_size(backup.size, backup.usual and backup.usual.size), backup.proof }
  add(lines, "backup", ("%s: %s, in %s"):format(backup.database or backup.series,
    table.concat(parts, ", "), table.concat(backup.stores, ", ")))
  for _, one in ipairs(backup.missing or {}) do
    add(lines, "missing", ("in %s: %s: %s"):format(one.store, one.error.code, one.error.message))
  end
end

--- { title, text } of an event.
function M.of(event)
  local what = event.job or event.recipe or "moonkeep"
  local title = ("%s%s %s on %s%s"):format(event.is_test and "TEST: " or "", what, VERBS[event.kind],
    event.host, event.error and ": " .. event.error.code or "")
  local lines = {}
  if event.delayed_since then
    add(lines, "delayed", ("this is of %s, and could not be delivered before"):format(
      event.delayed_since))
  end
  if event.error then
    add_error(lines, event.error)
  end
  for _, problem in ipairs(event.problems or {}) do
    add(lines, "problem", problem)
  end
  add(lines, "note", event.text)
  if event.seconds and event.kind ~= "start" then
    add(lines, "took", usual_duration(event.seconds, event.usual_seconds))
  end
  for _, backup in ipairs(event.backups or {}) do
    add_backup(lines, backup)
  end
  add(lines, "hint", event.hint)
  if event.last_good then
    add(lines, "last", ("the last good backup is %s of %s, %s old"):format(event.last_good.id,
      event.last_good.created_at, units.format_duration(event.last_good.age_seconds * 1000)))
  elseif event.error and event.job and not event.is_test then
    add(lines, "last", "there is no good backup of this job in the catalog")
  end
  add(lines, "log", event.log)
  add(lines, "when", event.time)
  if (event.held_back or 0) > 0 then
    add(lines, "also", ("%s that came too fast, or had been told, before this one"):format(
      units.format_count(event.held_back, "message")))
  end
  return { title = title, text = table.concat(lines, "\n") }
end

--- The message of an event by a template: function(event) -> a text, or { title, text }, or any table
--- that a service takes as it is.
function M.by_template(template, event)
  local message = M.of(event)
  local result = template(event)
  if type(result) == "string" then
    message.text = result
  elseif type(result) == "table" and (result.title or result.text) then
    message.title = tostring(result.title or message.title)
    message.text = tostring(result.text or message.text)
  elseif type(result) == "table" then
    message.custom = result
  end
  return message
end

return M
