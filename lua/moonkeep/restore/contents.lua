--- The table of contents of a restore: which entries are wanted, and the steps in which they are
--- restored.
---
---   before        what comes before the rows, by pg_restore
---   rows          TABLE DATA and large objects, by work.lua and native.lua
---   values        SEQUENCE SET and the like, by pg_restore
---   indexes       and what is made of them, unique constraints, by pg_restore --jobs
---   after         triggers, rules, policies, what attaches indexes ..., by pg_restore
---   foreign_keys  of tables without partitions, by pg_restore --jobs
---   last          the other foreign keys, grants, materialized views, by pg_restore
---   event_triggers  when nothing is left that could fire them
---
--- The order is pg_restore's own: all of the sections, then grants, then what may run the database's
--- own functions. But its --jobs lets grants of one role overtake those that they rest on, and
--- whatever locks partitions with their parents deadlocks with what locks the partitions. So only
--- what takes time, and locks nothing but its own tables, is done by several connections.
local errors = require "moonkeep.errors"
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local set_of = require "moonkeep.set_of"
local toc = require "moonkeep.pg.toc"
local toc_list = require "moonkeep.pg.toc_list"
local verify = require "moonkeep.verify"

local M = {}

-- Without tables of its own the rows go into tables that have foreign keys. pg_dump orders them for
-- that, but does not say so.
local function chain_rows(archive)
  local last
  for _, entry in ipairs(archive.entries) do
    if entry.kind == "TABLE" then
      return
    end
  end
  for _, entry in ipairs(archive.entries) do
    if entry.kind == "TABLE DATA" and entry.has_data then
      entry.needs[#entry.needs + 1] = last
      last = entry.id
    end
  end
end

-- The data entries of each table by the number of its entry, those of partitions also for their parents.
local function data_by_table(entries, all)
  local by_table, parents = {}, toc_list.parents(all)
  for _, entry in ipairs(entries) do
    for _, id in ipairs(entry.kind == "TABLE DATA" and entry.has_data and entry.needs or {}) do
      while id do
        by_table[id] = by_table[id] or {}
        table.insert(by_table[id], entry)
        id = parents[id]
      end
    end
  end
  return by_table
end

-- The two tables of a foreign key.
local function ends_of(key, by_id)
  local referring, referred
  for _, id in ipairs(key.needs) do
    local needed = by_id[id]
    local is_table = needed and needed.kind == "TABLE"
    if is_table and key.schema == needed.schema and
      key.name:sub(1, #needed.name + 1) == needed.name .. " " then
      referring = id
    elseif is_table then
      referred = id
    end
  end
  return referring, referred
end

-- Makes the rows of tables wait for those that their foreign keys refer to. `all`: the entries from
-- which those of the archive were chosen.
local function chain_foreign_keys(archive, all)
  local by_table, by_id = data_by_table(archive.entries, all), {}
  for _, entry in ipairs(all) do
    by_id[entry.id] = entry
  end
  for _, key in ipairs(all) do
    local referring, referred
    if key.kind == "FK CONSTRAINT" then
      referring, referred = ends_of(key, by_id)
    end
    for _, entry in ipairs(referring and referred and by_table[referring] or {}) do
      for _, other in ipairs(by_table[referred] or {}) do
        entry.needs[#entry.needs + 1] = other.id
      end
    end
  end
end

--- The archive of a backup. Raises CORRUPT.
function M.archive(backup, store)
  local object = manifests.objects(backup.manifest, "contents")[1]
  if not object then
    errors.raise("CORRUPT", "the manifest is damaged: it has no table of contents")
  end
  local archive = toc.read(verify.text(backup, store, object))
  chain_rows(archive)
  return archive
end

-- ---- what is wanted -----------------------------------------------------------------------------

--- Whether the options `schema` and `exclude_schema` choose an entry, as pg_restore takes them.
function M.is_chosen(entry, options)
  local schema = entry.schema or ""
  return (not options.schema or set_of(options.schema)[schema]) and
    not set_of(options.exclude_schema)[schema]
end

-- Whether the rows of an entry are asked for. (Of all else pg_restore knows by the same options.)
local function wants_rows(entry, options)
  return not options.schema_only and M.is_chosen(entry, options)
end

--- Leaves only the rows that are wanted, all else as it is.
function M.reduce_rows(archive, options)
  local has_section = not options.section or set_of(options.section).data
  for i, entry in ipairs(archive.entries) do
    if entry.has_data and not (has_section and wants_rows(entry, options)) then
      archive.entries[i] = merge(entry, { has_data = false, file = "" })
    end
  end
end

-- ---- steps --------------------------------------------------------------------------------------

local GRANTS = { ACL = true, ["ACL LANGUAGE"] = true, ["DEFAULT ACL"] = true }
local NOTES = { COMMENT = true, ["SECURITY LABEL"] = true }

local function is_event_trigger(entry)
  return entry.kind == "EVENT TRIGGER" or
    NOTES[entry.kind] and entry.name:sub(1, 14) == "EVENT TRIGGER "
end

local function is_last(entry)
  return GRANTS[entry.kind] or entry.kind == "MATERIALIZED VIEW DATA" or
    entry.kind == "STATISTICS DATA" and entry.section == "post-data"
end

-- Whether a table is partitioned: of a foreign key, one of the two.
local function has_partitions(entry, by_id)
  for _, id in ipairs(entry.needs) do
    local needed = by_id[id]
    if needed and toc_list.may_have_partitions(needed) then
      return true
    end
    if needed and needed.kind == "CONSTRAINT" and has_partitions(needed, by_id) then
      return true
    end
  end
  return false
end

local CREATES_OBJECTS = { BLOB = true, ["BLOB METADATA"] = true } -- from 17 on among the data

-- The step of an entry of a section.
local function step_of(entry, section, by_id)
  if is_event_trigger(entry) then
    return "event_triggers"
  elseif is_last(entry) then
    return "last"
  elseif section == "pre-data" or CREATES_OBJECTS[entry.kind] then
    return "before"
  elseif section == "data" then
    return entry.has_data and "rows" or "values"
  elseif entry.kind == "INDEX" or entry.kind == "CONSTRAINT" then
    return "indexes"
  elseif entry.kind == "FK CONSTRAINT" then
    return has_partitions(entry, by_id) and "last" or "foreign_keys"
  end
  return "after"
end

-- Entries that say how all others are to be read, which pg_restore always does.
local ALWAYS = { ENCODING = true, STDSTRINGS = true, SEARCHPATH = true }

local STEPS = { "before", "rows", "values", "indexes", "after", "foreign_keys", "last",
  "event_triggers" }
local RANK = {}
for rank, name in ipairs(STEPS) do
  RANK[name] = rank
end

-- The step of an entry, but not before those of what it needs: the comment of a foreign key comes
-- after it.
local function late_enough(name, entry, step_by_id)
  for _, id in ipairs(entry.needs) do
    local needed = step_by_id[id]
    if needed and RANK[needed] > RANK[name] then
      name = needed
    end
  end
  return name == "rows" and "values" or name
end

--- The entries of each step: { before = { entry... }, rows = ..., ... }, of a restore's options.
function M.steps(archive, options)
  local steps, by_id, step_by_id = {}, {}, {}
  for _, name in ipairs(STEPS) do
    steps[name] = {}
  end
  for _, entry in ipairs(archive.entries) do
    by_id[entry.id] = entry
  end
  local section, sections = "pre-data", options.section and set_of(options.section)
  for _, entry in ipairs(archive.entries) do
    if not ALWAYS[entry.kind] then
      -- what has none belongs to what stands before it, as for pg_restore
      section = entry.section ~= "none" and entry.section or section
      local name = step_of(entry, section, by_id)
      name = name == "rows" and name or late_enough(name, entry, step_by_id)
      step_by_id[entry.id] = name
      if (not sections or sections[section]) and (name ~= "rows" or wants_rows(entry, options)) then
        table.insert(steps[name], entry)
      end
    end
  end
  return steps
end

--- The archive of a backup, with only what the option `table` chooses. Raises CORRUPT, NOT_FOUND.
function M.chosen(backup, store, options)
  local archive = M.archive(backup, store)
  local all = archive.entries
  if options.table then
    toc.reduce(archive, toc_list.choose(all, options.table, options.dependencies))
  end
  if options.data_only then
    chain_foreign_keys(archive, all)
  end
  return archive
end

return M
