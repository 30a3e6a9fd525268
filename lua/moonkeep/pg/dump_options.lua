--- The `dump` and `restore` tables of a recipe as arguments of pg_dump and pg_restore. Which key is
--- which option is said in definitions/tables.lua.
local errors = require "moonkeep.errors"
local tables = require "moonkeep.definitions.tables"
local units = require "moonkeep.units"

local M = {}

local function add(argv, option, value)
  if value == true then
    argv[#argv + 1] = option
  elseif type(value) == "string" then
    argv[#argv + 1] = option .. "=" .. value
  else
    for _, item in ipairs(value) do
      argv[#argv + 1] = option .. "=" .. item
    end
  end
end

-- Adds the options that a table's keys stand for, for a program of a major version.
local function add_all(argv, definition, options, program, major)
  for _, entry in ipairs(definition.keys) do
    local value = options[entry[1]]
    if value ~= nil and entry.since and major < entry.since then
      errors.raise("INVALID", ("%s %d has no %s: it came with %d"):format(program, major,
        entry.option, entry.since), { hint = ("leave `%s` out for this server"):format(entry[1]) })
    end
    if value == false then
      argv[#argv + 1] = entry.option_false
    elseif value ~= nil and entry.option then
      add(argv, entry.option, value)
    end
  end
  table.move(options.extra or {}, 1, #(options.extra or {}), #argv + 1, argv)
end

--- Adds pg_dump's options to an argument list.
function M.add_dump(argv, options, major)
  if options.lock_timeout then
    argv[#argv + 1] = ("--lock-wait-timeout=%d"):format(units.duration(options.lock_timeout))
  end
  if options.clean and options.if_exists == nil then
    argv[#argv + 1] = "--if-exists" -- else it cannot be restored into a new database
  end
  add_all(argv, tables.dump, options, "pg_dump", major)
end

-- Keys that change how rows are written, which the native engine leaves to pg_dump.
local ONLY_PG_DUMP = { "inserts", "column_inserts", "on_conflict_do_nothing" }

-- pg_dump's other options that do not change how rows are read or written. (Which rows, and all
-- about the rest of the archive, is pg_dump's to say in any case.)
local HARMLESS = {}
for option in ([[disable-dollar-quoting disable-triggers exclude-table-and-children
  exclude-table-data-and-children filter lock-wait-timeout no-data no-policies no-schema
  no-statistics no-sync no-table-access-method sequence-data statistics statistics-only
  table-and-children use-set-session-authorization verbose]]):gmatch "%S+" do
  HARMLESS[option] = true
end

--- Why only pg_dump can make a dump with these options; nil when the native engine can.
function M.only_pg_dump(options)
  for _, key in ipairs(ONLY_PG_DUMP) do
    if options[key] then
      return key .. " asks for INSERT statements"
    end
  end
  for _, argument in ipairs(options.extra or {}) do
    local option = argument:match "^%-%-([%w-]+)"
    if option and not HARMLESS[option] then
      return ("--%s may change how rows are written"):format(option)
    end
  end
end

--- Adds pg_restore's options to an argument list. `table` is not among them: moonkeep selects by
--- the archive's table of contents.
function M.add_restore(argv, options, major)
  add_all(argv, tables.restore, options, "pg_restore", major)
end

--- The keys of a dump that make it less than the whole database, for the manifest and for people.
function M.selection(options)
  local chosen = {}
  for _, entry in ipairs(tables.dump.keys) do
    local value = options[entry[1]]
    if entry.option and value ~= nil and value ~= false or value == false and entry.option_false then
      chosen[entry[1]] = value
    end
  end
  chosen.extra = options.extra
  return next(chosen) and chosen or nil
end

return M
