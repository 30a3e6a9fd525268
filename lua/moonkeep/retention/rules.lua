--- Which backups the rules of `keep` want, by restic's semantics:
---
---   last = n             the n newest
---   hourly ... yearly    of each of the last n hours (days, weeks, months, years) in which there are
---                        backups, the newest; weeks begin on Monday. The calendar is that of the
---                        job's time zone, not of whenever this is asked
---   within = "36h"       those that are at most so much older than the newest
---   tags                 those that have one of these tags
---
--- What several rules want counts for each. While a rule could want more than there are, it wants the
--- oldest, too, so that a history that is still short begins where it begins. Pure: no clock, no store.
--- Source: restic's documentation (060_forget), and internal/restic/snapshot_policy.go.
local list_of = require "moonkeep.list_of"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = { FLOOR = 3 }

local HOUR, DAY = 3600, 86400

-- Of a local time, the number of its hour, day ...; and for `last`, of its place in the list.
local PERIODS = {
  { "last", function(_, i) return i end },
  { "hourly", function(wall) return wall // HOUR end },
  { "daily", function(wall) return wall // DAY end },
  { "weekly", function(wall) return (wall // DAY + 3) // 7 end }, -- 1970 began on a Thursday
  { "monthly", function(wall)
    local year, month = zone.date(wall // DAY)
    return year * 12 + month
  end },
  { "yearly", function(wall) return (zone.date(wall // DAY)) end },
}

--- Whether a backup has a tag: "name", or "name=value".
function M.has_tag(tags, wanted)
  local name, value = wanted:match "^([^=]*)=(.*)$"
  if name then
    return tags[name] == value
  end
  return tags[wanted] ~= nil
end

local NONE = {} -- the reasons of most

local function add(reasons, i, text)
  if reasons[i] == NONE then
    reasons[i] = { text }
  else
    table.insert(reasons[i], text)
  end
end

local function add_tag(reasons, list, tag)
  for i, backup in ipairs(list) do
    if backup.tags and M.has_tag(backup.tags, tag) then
      add(reasons, i, "tag " .. tag)
    end
  end
end

local function add_period(reasons, list, name, number_of, count, walls)
  local taken, before = 0, nil
  for i = 1, #list do
    if taken == count then
      break
    end
    local number = number_of(walls[i], i)
    if number ~= before or i == #list then
      add(reasons, i, ("%s %d of %d%s"):format(name, taken + 1, count,
        number == before and ", the oldest" or ""))
      taken, before = taken + 1, number
    end
  end
end

--- Why each backup of a list (newest first: { time, tags }) is wanted: a list of lists of texts, not to
--- be changed, of which those that are empty are of backups that no rule wants. `tz`: a zone
--- (schedule/zone.lua).
function M.apply(list, keep, tz)
  local reasons, walls = {}, {}
  for i, backup in ipairs(list) do
    reasons[i], walls[i] = NONE, backup.time + tz:offset(backup.time)
  end
  for _, tag in ipairs(list_of(keep.tags)) do
    add_tag(reasons, list, tag)
  end
  if keep.within and list[1] then
    local from = list[1].time - units.duration(keep.within) // 1000
    for i, backup in ipairs(list) do
      if backup.time > from then
        add(reasons, i, "within " .. keep.within)
      end
    end
  end
  for _, period in ipairs(PERIODS) do
    if keep[period[1]] then
      add_period(reasons, list, period[1], period[2], keep[period[1]], walls)
    end
  end
  return reasons
end

--- The rules as one text: "daily 7, weekly 4".
function M.describe(keep)
  local parts = {}
  for _, period in ipairs(PERIODS) do
    parts[#parts + 1] = keep[period[1]] and ("%s %d"):format(period[1], keep[period[1]]) or nil
  end
  parts[#parts + 1] = keep.within and "within " .. keep.within or nil
  parts[#parts + 1] = keep.tags and "tags " .. table.concat(list_of(keep.tags), ", ") or nil
  return table.concat(parts, ", ")
end

--- How many of the newest that count stay in any case.
function M.floor_of(keep)
  return type(keep) == "table" and keep.floor or M.FLOOR
end

--- A `keep` in one line: its rules, its floor, and what counts.
function M.describe_all(keep, standard_proof)
  local is_table = type(keep) == "table"
  return ("%s; floor %d; counts from %s on"):format(is_table and M.describe(keep) or
    "what the recipe's function says", M.floor_of(keep),
    is_table and keep.proof or standard_proof)
end

--- Whether there is any rule.
function M.are_any(keep)
  return M.describe(keep) ~= ""
end

return M
