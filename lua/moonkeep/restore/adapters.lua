--- Adapters: what some extensions need around a restore, each a module of lua/moonkeep/adapters/:
---
---   same_version   the server must have the version that the backup has
---   settings       of the server, without which it does not work: { name = value }
---   before(connection, schema), after(connection, schema)
---                  called in the database when the extension is there, and when all is restored;
---                  `schema`: the one that its functions are in, quoted
local core_task = require "moonkeep.core.task"
local log = require "moonkeep.log"
local pg = require "moonkeep.pg"

-- By the name of the extension. Names of manifests never become those of modules.
local ADAPTERS = { timescaledb = require "moonkeep.adapters.timescaledb" }

local M = {}

--- The adapter of an extension, or nil.
function M.of(name)
  return ADAPTERS[name]
end

--- The server's settings that a backup's extensions need.
function M.settings(manifest)
  local settings = {}
  for _, extension in ipairs(manifest.source.extensions or {}) do
    for name, value in pairs((ADAPTERS[extension.name] or {}).settings or {}) do
      settings[name] = settings[name] and settings[name] .. ", " .. value or value
    end
  end
  return settings
end

local INSTALLED = [[
  SELECT e.extname AS name, n.nspname AS schema FROM pg_catalog.pg_extension e
  JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY 1]]

--- Calls `before` or `after` (`which`) of the extensions that the database of a connection has.
function M.call(connection, which)
  for _, row in ipairs(connection:query(INSTALLED)) do
    local adapter = ADAPTERS[row.name]
    if adapter and adapter[which] then
      log.debug("%s the restore of %s", which, row.name)
      adapter[which](connection, pg.identifier(row.schema))
    end
  end
end

local function has_any(manifest)
  for _, extension in ipairs(manifest.source.extensions or {}) do
    if ADAPTERS[extension.name] then
      return true
    end
  end
  return false
end

--- Calls fn, which loads a stream into a database, between `before` and `after`. The extensions are
--- created first. After a failure they are woken up, too.
function M.around(target, manifest, fn)
  if not has_any(manifest) then
    return fn()
  end
  do
    local connection <close> = target:connect()
    for _, extension in ipairs(manifest.source.extensions) do
      if ADAPTERS[extension.name] then
        connection:query("CREATE EXTENSION IF NOT EXISTS " .. pg.identifier(extension.name))
      end
    end
    M.call(connection, "before")
  end
  local ok, err = pcall(fn)
  core_task.shield(function()
    local connection <close> = target:connect()
    M.call(connection, "after")
  end, 30000)
  if not ok then
    error(err, 0)
  end
end

return M
