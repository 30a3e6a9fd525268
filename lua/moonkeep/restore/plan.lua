--- What a restore would do: what it reads, writes and drops, for about how long, whether there is
--- space, and what is missing. Every figure says where it is from; what is not known is not guessed.
local catalog = require "moonkeep.catalog"
local contents = require "moonkeep.restore.contents"
local fs = require "moonkeep.fs"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local needs = require "moonkeep.restore.needs"
local options_of = require "moonkeep.restore.options"
local units = require "moonkeep.units"
local work = require "moonkeep.restore.work"

local M = {}

local HISTORY = 7

-- ---- what is read and written -------------------------------------------------------------------

-- Of a directory backup: the objects, tables and rows of what is chosen.
local function count_rows(plan, self, steps)
  local objects, tables = {}, {}
  for _, unit in ipairs(work.units(steps.rows, {}, self.manifest)) do
    if not objects[unit.object.name] then
      objects[unit.object.name] = true
      plan.objects = plan.objects + 1
      plan.size = plan.size + unit.object.size
      plan.decoded_size = plan.decoded_size + unit.object.decoded_size
    end
    for _, t in ipairs(unit.tables) do
      plan.tables = plan.tables + (tables[t.name] and 0 or 1)
      plan.rows, tables[t.name] = plan.rows + t.rows, true
    end
  end
end

local COUNTED = { INDEX = "indexes", CONSTRAINT = "indexes", ["FK CONSTRAINT"] = "foreign_keys" }

local function count(self)
  local plan = { objects = 0, size = 0, decoded_size = 0 }
  if not self.archive then
    plan.objects = #self.manifest.objects
    plan.size, plan.decoded_size = manifests.sizes(self.manifest)
    return plan
  end
  plan.tables, plan.rows, plan.indexes, plan.foreign_keys = 0, 0, 0, 0
  local steps = contents.steps(self.archive, self.options)
  count_rows(plan, self, steps)
  for step, entries in pairs(steps) do
    for _, entry in ipairs(step ~= "rows" and not self.options.data_only and entries or {}) do
      local kind = COUNTED[entry.kind]
      if kind and contents.is_chosen(entry, self.options) then
        plan[kind] = plan[kind] + 1
      end
    end
  end
  return plan
end

-- ---- space --------------------------------------------------------------------------------------

-- About how many bytes the server needs: what the database had, or the share of what is chosen of it.
local function bytes_needed(self, plan)
  local whole = self.manifest.source.bytes
  local _, all = manifests.sizes(self.manifest)
  if not whole or all == 0 then
    return nil
  elseif not options_of.selects(self.options) and not self.options.schema_only then
    return whole
  end
  return whole * plan.decoded_size // all
end

-- The bytes that are free where the server keeps its databases; nil when that is another host, or the
-- server does not say where.
local function bytes_free(self)
  local ok, free = pcall(function()
    return fs.space(self.admin:value [[SELECT current_setting('data_directory')
      WHERE pg_catalog.inet_server_addr() IS NULL]])
  end)
  return ok and free or nil
end

--- Warns when there seems to be too little space.
function M.warn_of_space(self)
  if self.options.resume then
    return -- much of it may be there
  end
  local needed, free = bytes_needed(self, count(self)), bytes_free(self)
  if needed and free and needed > free then
    log.warn("the server has %s left, and what is restored had about %s", units.format_size(free),
      units.format_size(needed))
  end
end

-- ---- time ---------------------------------------------------------------------------------------

-- The median of how long restores of the series took, per byte; else nothing is known but how long the
-- dump took.
local function seconds_needed(self, plan)
  local rates = {}
  for _, row in ipairs(catalog.last_restores(self.backup.job, self.backup.series, HISTORY)) do
    rates[#rates + 1] = row.seconds / math.max(row.decoded_size, 1)
  end
  table.sort(rates)
  if #rates > 0 then
    return rates[(#rates + 1) // 2] * plan.decoded_size, #rates
  end
end

-- ---- all of it ----------------------------------------------------------------------------------

local function effect(self)
  if not self.exists then
    return "create"
  elseif self.options.swap then
    return "swap"
  end
  return self.objects == 0 and not self.is_new and "fill" or self.options.existing or "refuse"
end

--- The plan of a restore (see restore/init.lua): { database, exists, objects_there, bytes_there, effect
--- = "create" | "fill" | "refuse" | "add" | "clean" | "replace" | "swap", reads = { objects, size,
--- decoded_size }, writes = { tables, rows, indexes, foreign_keys }, bytes_needed, bytes_free, seconds,
--- restores = how many that is from, dump_seconds, missing = { text... }, hints = { text... } }.
function M.of(self)
  local counted = count(self)
  local missing, hints = needs.missing(self)
  local seconds, restores = seconds_needed(self, counted)
  return { database = self.name, exists = self.exists, objects_there = self.objects,
    bytes_there = self.bytes, effect = effect(self), reads = { objects = counted.objects,
    size = counted.size, decoded_size = counted.decoded_size }, writes = counted.tables and {
    tables = counted.tables, rows = counted.rows, indexes = counted.indexes,
    foreign_keys = counted.foreign_keys } or nil, bytes_needed = bytes_needed(self, counted),
    bytes_free = bytes_free(self), seconds = seconds, restores = restores,
    dump_seconds = self.manifest.run and self.manifest.run.seconds, missing = missing, hints = hints }
end

return M
