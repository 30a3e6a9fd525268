--- What a restore needs to find on the server, and what of that is missing: extensions, roles,
--- tablespaces. Looked for before anything is touched: pg_restore would fail at the first of them, or
--- at the last, hours later.
local names_of = require "moonkeep.names_of"
local adapters = require "moonkeep.restore.adapters"
local contents = require "moonkeep.restore.contents"
local errors = require "moonkeep.errors"
local extensions = require "moonkeep.pg.extensions"
local log = require "moonkeep.log"
local options_of = require "moonkeep.restore.options"

local M = {}

local function add(set, name)
  if name and name ~= "" then
    set[name] = true
  end
end

-- Kinds that get their owner by ALTER ... OWNER TO, as pg_restore has them.
local OWNED = {}
for _, kind in ipairs { "AGGREGATE", "BLOB", "BLOB METADATA", "COLLATION", "CONVERSION", "DOMAIN",
  "EVENT TRIGGER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE", "FUNCTION", "MATERIALIZED VIEW", "OPERATOR",
  "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "PROCEDURE", "PUBLICATION", "SCHEMA",
  "SEQUENCE", "SERVER", "STATISTICS", "SUBSCRIPTION", "TABLE", "TEXT SEARCH CONFIGURATION",
  "TEXT SEARCH DICTIONARY", "TYPE", "VIEW" } do
  OWNED[kind] = true
end

local NAMES_ROLES = { ACL = true, ["DEFAULT ACL"] = true, POLICY = true }

-- The roles at the end of GRANT ... TO a, "b" or REVOKE ... FROM a; not those of names that are not
-- plain.
local function add_grantees(set, sql)
  for statement in (sql .. "\n"):gmatch "(.-);\n" do
    local list = statement:gsub(" WITH GRANT OPTION$", ""):match ".* TO (.-)$" or
      statement:match "^REVOKE .* FROM (.-)$"
    for name in (list or ""):gsub("%s+USING .*$", ""):gmatch "[^,]+" do
      name = name:match "^%s*(.-)%s*$"
      name = name:match '^"([^"]+)"$' or name:match "^[%l_][%l%d_$]*$"
      add(set, name)
    end
  end
end

--- Adds the roles that entries of an archive name to a set: who owns, and who was granted something.
--- `options`: of a restore that leaves some out.
function M.add_roles(set, entries, options)
  options = options or {}
  for _, entry in ipairs(entries) do
    add(set, OWNED[entry.kind] and not options.no_owner and entry.owner)
    if NAMES_ROLES[entry.kind] and not (options.no_privileges and entry.kind ~= "POLICY") then
      add_grantees(set, entry.create or "")
    end
  end
end

-- What the entries that are restored need.
local function of_archive(archive, options)
  local needed = { extension = {}, role = {}, tablespace = {} }
  for step, entries in pairs(contents.steps(archive, options)) do
    local chosen = {}
    for _, entry in ipairs(step ~= "rows" and entries or {}) do
      if contents.is_chosen(entry, options) then
        chosen[#chosen + 1] = entry
        add(needed.extension, entry.kind == "EXTENSION" and entry.name)
        add(needed.tablespace, entry.tablespace)
      end
    end
    M.add_roles(needed.role, chosen, options)
  end
  return needed
end

local function set_of(names)
  local set = {}
  for _, name in ipairs(names or {}) do
    add(set, name)
  end
  return set
end

-- What a stream of pg_dump's needs: what its database had.
local function of_source(source)
  local needed = { extension = {}, role = set_of(source.roles), tablespace = set_of(source.tablespaces) }
  for _, extension in ipairs(source.extensions or {}) do
    needed.extension[extension.name] = true
  end
  return needed
end

local function needed_by(self)
  local options, needed = self.options, {}
  if options.data_only then
    return {}
  elseif self.archive then
    needed = of_archive(self.archive, options)
  elseif not self.manifest.dump.selection and not options_of.selects(options) then
    needed = of_source(self.manifest.source)
  end
  if options.globals or not self.archive and (options.no_owner or options.no_privileges) then
    needed.role = nil
  end
  if options.no_tablespaces then
    needed.tablespace = nil
  end
  return needed
end

local KNOWN = {
  extension = "SELECT name, default_version AS version FROM pg_catalog.pg_available_extensions",
  role = "SELECT rolname AS name FROM pg_catalog.pg_roles",
  tablespace = "SELECT spcname AS name FROM pg_catalog.pg_tablespace",
}

local HINTS = {
  role = "create the roles, or restore with globals = true (creates those that the backup's globals " ..
    "have), or no_owner = true, no_privileges = true",
  tablespace = "create the tablespaces, or restore with no_tablespaces = true",
}

local function explain_extension(name, major)
  local package = extensions.package(name, major)
  return package and ("install %s on the server for %s"):format(package, name) or
    ("install the package of %s on the server"):format(name)
end

-- An extension that is there, but in another version than it must be.
local function wrong_version(manifest, row)
  local adapter = adapters.of(row.name)
  for _, had in ipairs(adapter and adapter.same_version and manifest.source.extensions or {}) do
    if had.name == row.name and had.version and row.version ~= had.version then
      return ("extension %s of version %s (it has %s)"):format(row.name, had.version, row.version)
    end
  end
end

--- What the server lacks for a restore (see restore/init.lua): two lists of texts, what and what to do.
function M.missing(self)
  local missing, hints, major = {}, {}, self.admin:major()
  local function miss(what, hint)
    missing[#missing + 1] = what
    hints[#hints + 1] = hint ~= hints[#hints] and hint or nil
  end
  local needed = needed_by(self)
  for _, kind in ipairs { "extension", "role", "tablespace" } do
    local left = needed[kind] or {}
    for _, row in ipairs(next(left) and self.admin:query(KNOWN[kind]) or {}) do
      local wrong = kind == "extension" and left[row.name] and wrong_version(self.manifest, row)
      if wrong then
        miss(wrong, ("install that version of %s on the server"):format(row.name))
      end
      left[row.name] = nil
    end
    for _, name in ipairs(names_of(left)) do
      miss(("%s %s"):format(kind, name), HINTS[kind] or explain_extension(name, major))
    end
  end
  return missing, hints
end

--- Raises NEEDS_MISSING when something is missing; with on_error = "continue" it is told.
function M.check(self)
  local missing, hints = M.missing(self)
  local text = ("the server lacks what the backup needs: %s"):format(table.concat(missing, "; "))
  if #missing > 0 and self.options.on_error == "continue" then
    log.warn("%s", text)
  elseif #missing > 0 then
    errors.raise("NEEDS_MISSING", text, { hint = table.concat(hints, "; ") })
  end
end

return M
