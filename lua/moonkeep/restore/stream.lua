--- A directory backup as one custom archive that is not compressed, for whoever reads a stream:
--- pg_restore takes it from a pipe. Nothing is kept on disk; every byte is compared with the manifest
--- as it passes. What ends the data of an object is written when the object was found right: if it is
--- wrong, the stream ends inside of it, which is an error for whoever reads it.
---
--- pg_restore wants the data of a stream in the order of its table of contents. That order is free
--- among tables, but for those that need others' rows first; so entries are put into the order of
--- the objects that hold them, and each object is read once.
local contents = require "moonkeep.restore.contents"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local merge = require "moonkeep.merge"
local meters = require "moonkeep.meter"
local core_task = require "moonkeep.core.task"
local sums = require "moonkeep.dump.sums"
local toc = require "moonkeep.pg.toc"
local verify = require "moonkeep.verify"
local work = require "moonkeep.restore.work"

local M = {}

local NOT_SET, NO_DATA = 1, 3 -- K_OFFSET_POS_NOT_SET, K_OFFSET_NO_DATA of pg_backup_archiver.h

-- ---- order ----------------------------------------------------------------------------------------

-- Units so that each comes after those whose rows it needs.
local function in_order(units)
  local pending, ordered = work.pending(units), {}
  while #units > 0 do
    local at = 1 -- those that need each other
    for i, unit in ipairs(units) do
      if work.is_ready(unit, pending) then
        at = i
        break
      end
    end
    local unit = table.remove(units, at)
    ordered[#ordered + 1] = unit
    work.done(unit, pending)
  end
  return ordered
end

-- The entries with those of tables' rows in the order of the units, and all as a custom archive has
-- them.
local function ordered_entries(archive, units)
  local rows, entries = {}, {}
  for _, unit in ipairs(units) do
    for _, t in ipairs(unit.tables) do
      rows[#rows + 1] = t.entry
    end
  end
  local next_row = 0
  for i, entry in ipairs(archive.entries) do
    if entry.kind == "TABLE DATA" and entry.has_data then
      next_row = next_row + 1
      entry = rows[next_row]
    end
    entries[i] = merge(entry, { position = { state = entry.has_data and NOT_SET or NO_DATA,
      offset = 0 } })
    entries[i].file = nil
  end
  return entries
end

-- ---- bytes ----------------------------------------------------------------------------------------

local Writer = {}
Writer.__index = Writer

local function int(value)
  return "\0" .. string.pack("<I4", value)
end

function Writer:text(text)
  flow.run { { kind = "memory", text = text }, self.sink() }
end

function Writer:damaged(unit, what)
  errors.raise("CORRUPT", ("%s in store %s: %s: the rows of %s are not those that were dumped")
    :format(self.backup.id, self.store.name, unit.object.name, what), { hint =
    "nothing may be done with what has been written; take an older backup, or another store's" })
end

function Writer:unit(unit, blocks, sum)
  return verify.unpack(self.backup, self.store, unit.object,
    { kind = "tee", { sum }, { blocks, self.sink() } }, self.meter).sum.result
end

function Writer:rows(unit)
  local t = unit.tables[1]
  local sum = self:unit(unit, { kind = "custom_blocks", id = t.entry.id },
    { kind = "rows", label = "sum" })
  if sum ~= t.sum then
    self:damaged(unit, t.name)
  end
  self:text(int(0))
end

function Writer:pack(unit)
  local members = {}
  for i, t in ipairs(unit.tables) do
    members[i] = { t.member, t.entry.id }
  end
  local found = sums.by_member(self:unit(unit, { kind = "custom_blocks", packed = true,
    members = members }, { kind = "rows", packed = true, label = "sum" }))
  for _, t in ipairs(unit.tables) do
    if found[t.member] ~= t.sum then
      self:damaged(unit, t.name)
    end
  end
  self:text(int(0))
end

-- All large objects are one block, of the first entry that has such.
function Writer:objects(unit, id, first)
  self.large_objects:add(self:unit(unit, { kind = "custom_blocks", large_objects = true, id = id,
    packed = unit.packed, oid = unit.oid, first = first },
    { kind = "large_objects", packed = unit.packed, oid = unit.oid, label = "sum" }))
  self:text(int(0))
end

function Writer:all_objects(units, entries)
  for i, unit in ipairs(units) do
    self:objects(unit, entries[1].id, i == 1)
  end
  if #entries > 0 then
    verify.check_large_objects(self.backup, self.store, self.large_objects)
  end
  for i, entry in ipairs(entries) do
    self:text((i > 1 or #units == 0) and "\3" .. int(entry.id) .. int(0) or int(0))
  end
end

local function split(units)
  local tables, objects, total = {}, {}, 0
  for _, unit in ipairs(units) do
    table.insert(unit.kind == "objects" and objects or tables, unit)
    total = total + unit.object.size
  end
  return tables, objects, total
end

--- Writes the archive, with the rows that a restore's options want. `sink`: a function that makes the
--- end of a flow, each of which goes on where the one before has stopped; `edit`: a function that may
--- change the archive before it is written. Raises CORRUPT.
function M.write(backup, store, options, title, sink, edit)
  local archive = contents.chosen(backup, store, options)
  contents.reduce_rows(archive, options)
  if edit then
    edit(archive)
  end
  if archive.int_size ~= 4 then
    errors.raise("UNSUPPORTED", "the archive has numbers of another size than pg_dump writes here")
  end
  local data, large = {}, {}
  for _, entry in ipairs(archive.entries) do
    data[#data + 1] = entry.has_data and entry or nil
    large[#large + 1] = entry.has_data and entry.kind == "BLOBS" and entry or nil
  end
  local tables, objects, total = split(work.units(data, {}, backup.manifest))
  tables = in_order(tables)
  local self = setmetatable({ backup = backup, store = store, sink = sink,
    large_objects = sums.new(), meter = meters.new(title, total) }, Writer)
  local shown <close> = core_task.scope()
  shown:spawn(self.meter.show, self.meter)
  self:text(toc.write(merge(archive, { format = toc.CUSTOM, compression = 0,
    entries = ordered_entries(archive, tables) })))
  for _, unit in ipairs(tables) do
    self[unit.kind](self, unit)
  end
  self:all_objects(objects, large)
end

return M
