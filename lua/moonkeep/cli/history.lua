--- moonkeep history: sizes and durations of the backups of each series, and what was unusual.
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local output = require "moonkeep.cli.output"
local stores = require "moonkeep.store"
local surveys = require "moonkeep.surveys"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"
local usual = require "moonkeep.usual"

local M = {}

local DEFAULT_COUNT, MAX_COUNT = 40, 1000

local function count_of(text)
  local count = math.tointeger(tonumber(text or DEFAULT_COUNT))
  if not count or count < 1 or count > MAX_COUNT then
    errors.raise("USAGE", ("--count must be a whole number of 1 to %d, not %q"):format(MAX_COUNT, text))
  end
  return count
end

-- The series of the places, with the ids of their backups, oldest first, and a store that has each; and
-- what was left out.
local function collect(options)
  local list, by_key = {}, {}
  local found, left_out = targets.surveys(targets.places(options), options)
  surveys.each(found, function(of, id)
    local key = of.job .. "\0" .. of.series
    local one = by_key[key] or { job = of.job, series = of.series,
      database = stores.unseries(of.series), limits = of.place.unusual, ids = {}, where = {} }
    list[#list + 1], by_key[key] = not by_key[key] and one or nil, one
    one.ids[#one.ids + 1] = not one.where[id] and id or nil
    one.where[id] = one.where[id] or of.store
  end)
  for _, one in ipairs(list) do
    table.sort(one.ids)
  end
  return list, left_out
end

-- { id, size, seconds } of a backup; nil when its manifest cannot be read.
local function point_of(one, id, knowledge)
  local store = one.where[id]
  local fact = knowledge(one.job, one.series, id, store)
  if fact then
    return { id = id, size = fact.size, seconds = fact.seconds }
  end
  local ok, backup = pcall(store.backup, store, one.job, one.series, id)
  if not ok then
    log.warn("left out: %s", errors.of(backup).message)
    return nil
  end
  catalog.record_facts { { backup = backup, store = store } }
  local run = backup.manifest.run
  return { id = id, size = (manifests.sizes(backup.manifest)), seconds = run and run.seconds or nil }
end

-- The last `count` backups of a series, each with what was usual before it, and what is unusual.
local function points_of(one, count, knowledge)
  local points = {}
  for i = math.max(1, #one.ids - count - usual.COUNT + 1), #one.ids do
    points[#points + 1] = point_of(one, one.ids[i], knowledge)
  end
  for i, point in ipairs(points) do
    local before = {}
    for k = i - 1, math.max(1, i - usual.COUNT), -1 do
      before[#before + 1] = points[k]
    end
    point.usual = usual.of(before)
    point.problems = usual.problems({ database = one.database, size = point.size,
      seconds = point.seconds }, point.usual, one.limits)
  end
  return table.move(points, math.max(1, #points - count + 1), #points, 1, {})
end

local BARS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }

--- Values as a row of bars, from nothing to the largest; "·" where there is none.
function M.sparkline(values, n)
  local largest, bars = 0, {}
  for i = 1, n do
    largest = math.max(largest, values[i] or 0)
  end
  for i = 1, n do
    local level = values[i] and (largest > 0 and math.ceil(values[i] / largest * #BARS) or 1)
    bars[i] = level and BARS[math.max(1, level)] or "·"
  end
  return table.concat(bars)
end

-- "1.4 GiB, usually 1.2 GiB (+17 %)"
local function against(value, common, format)
  if not value then
    return "?"
  elseif not common or common == 0 then
    return format(value)
  end
  return ("%s, usually %s (%+d %%)"):format(format(value), format(common),
    ((value - common) * 100 / common + 0.5) // 1 | 0)
end

local function duration(seconds)
  return units.format_duration(math.max(1, seconds * 1000 // 1 | 0))
end

local function show(one)
  local points, sizes, seconds = one.points, {}, {}
  for i, point in ipairs(points) do
    sizes[i], seconds[i] = point.size, point.seconds
  end
  local last = points[#points]
  local common = last.usual or {}
  log.show("%s  %s  %s, the last of %s", output.paint("bold", one.job), one.database, units.format_count(
    #points, "backup"), last.id:gsub("^(%d%d%d%d)(%d%d)(%d%d)T.*$", "%1-%2-%3"))
  log.show("  size      %s  %s", M.sparkline(sizes, #points), against(last.size, common.size,
    units.format_size))
  log.show("  duration  %s  %s", M.sparkline(seconds, #points), against(last.seconds, common.seconds,
    duration))
  for _, point in ipairs(points) do
    for _, problem in ipairs(point.problems) do
      log.show("  %s  %s: %s", output.paint("yellow", "UNUSUAL"), output.short(point.id), problem)
    end
  end
end

function M.run(options)
  local count, knowledge, list = count_of(options.count), catalog.knowledge(), {}
  local all, left_out = collect(options)
  for _, one in ipairs(all) do
    one.points = points_of(one, count, knowledge)
    list[#list + 1] = #one.points > 0 and one or nil
  end
  if options.json then
    local documents = {}
    for i, one in ipairs(list) do
      for _, point in ipairs(one.points) do
        point.problems = json.array(point.problems)
      end
      documents[i] = { job = one.job, series = one.series, backups = json.array(one.points) }
    end
    output.json("history", { series = json.array(documents), left_out = targets.plain(left_out) })
  elseif #list == 0 then
    targets.show_none(left_out)
  else
    for _, one in ipairs(list) do
      show(one)
    end
  end
  return targets.report(left_out)
end

return M
