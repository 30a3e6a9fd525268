--- The options of a restore (`restore` in definitions/tables.lua): what they select, and which
--- contradict each other, or the backup.
local spec = require "moonkeep.spec"

local M = {}

-- What makes less of a database than the whole of it. (schema_only has all of it but the rows.)
local SELECTIONS = { "table", "schema", "exclude_schema", "section", "data_only" }

-- Options of pg_restore that say which rows are restored.
local SELECTING = {}
for option in ([[data-only schema-only section table schema exclude-schema no-data no-schema filter
  index function trigger statistics-only]]):gmatch "%S+" do
  SELECTING[option] = true
end

-- What makes a database other than the backup's.
local LESS = { "schema_only", "no_owner", "no_privileges", "no_comments", "no_tablespaces" }

--- Whether they make less of the database than the whole of it.
function M.selects(options)
  for _, key in ipairs(SELECTIONS) do
    if options[key] then
      return true
    end
  end
  return false
end

--- Whether pg_restore's sessions become other users, by an option that may be abbreviated.
function M.changes_users(options)
  for _, argument in ipairs(options.extra or {}) do
    if argument:find "^%-%-use%-s" then
      return true
    end
  end
  return false
end

--- Raises INVALID with all keys that contradict each other or the backup.
function M.check(manifest, options)
  local format, found = manifest.dump.format, {}
  local function refuse(key, text)
    found[#found + 1] = { key = key, text = text }
  end
  if manifest.kind == "globals" then
    refuse("backup", "it holds roles and tablespaces: restore a database's backup with globals = " ..
      "true, or follow its RESTORE.txt")
  end
  if options.schema_only and options.data_only then
    refuse("data_only", "data_only and schema_only exclude each other")
  end
  if options.existing == "replace" and M.selects(options) then
    refuse("existing", "existing = \"replace\" with a selection would leave nothing but the " ..
      "selection; use \"add\" or \"clean\", or another database")
  end
  for _, key in ipairs(options.swap and LESS or {}) do
    if options[key] then
      refuse(key, ("%s does not go with swap, which compares with all that the backup has"):format(key))
    end
  end
  if options.dependencies and not options.table then
    refuse("dependencies", "dependencies goes with table")
  end
  if options.resume and options.on_error == "continue" then
    refuse("resume", "resume does not go with on_error = \"continue\", which leaves what it could not")
  elseif options.resume and format ~= "directory" then
    refuse("resume", "a stream of pg_dump's can only be restored from its beginning; back up without " ..
      "dump.format for resume")
  elseif options.resume and M.changes_users(options) then
    refuse("resume", "resume does not go with --use-set-session-authorization")
  end
  for _, key in ipairs { "disable_triggers", "truncate", "foreign_keys" } do
    if options[key] and not options.data_only then
      refuse(key, key .. " goes with data_only")
    elseif options[key] and options[key] ~= "check" and key ~= "disable_triggers" and
      format ~= "directory" then
      refuse(key, ("%s is not possible with a stream of pg_dump's; back up without dump.format for it")
        :format(key))
    elseif options[key] and options[key] ~= "check" and format == "directory" and
      options.on_error == "continue" then
      refuse(key, ("%s needs one transaction, which on_error = \"continue\" has not"):format(key))
    end
  end
  for _, argument in ipairs(format == "directory" and options.extra or {}) do
    local option = argument:match "^%-%-([%w-]+)"
    if option and SELECTING[option] then
      refuse("extra", ("--%s says which rows are restored, and moonkeep loads them itself: there are " ..
        "keys for that"):format(option))
    end
  end
  if format == "plain" then
    for _, key in ipairs { "no_owner", "no_privileges", "no_comments", "no_tablespaces", "role",
      "jobs", "schema_only", table.unpack(SELECTIONS) } do
      if options[key] then
        refuse(key, ("%s is not possible: a plain dump is SQL, and restored whole; back up with " ..
          "format = \"custom\" for it"):format(key))
      end
    end
    if options.existing == "clean" then
      refuse("existing", "existing = \"clean\" is not possible with a plain dump; use \"replace\"")
    end
    if options.on_error == "continue" then
      refuse("on_error", "on_error = \"continue\" is not possible with a plain dump: psql would " ..
        "report success")
    end
  end
  if #found > 0 then
    spec.report("ctx:restore", found)
  end
end

return M
