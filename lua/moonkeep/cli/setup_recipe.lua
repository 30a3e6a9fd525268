--- The first recipe, as `init` writes it: complete, commented, and checked before it is written.
local tables = require "moonkeep.definitions.tables"

local M = {}

local TEXT = [[
-- %s: a recipe of moonkeep.
--
--   moonkeep check %s     finds mistakes without connecting to anything
--   moonkeep doctor %s    looks for what would keep it from working
--   moonkeep plan %s      shows what it would do
--   moonkeep run %s       does it
local mk = require "moonkeep"

local source = mk.pg %s
-- A password? In ~/.pgpass, or: mk.pg { ..., password = mk.secret.file "/run/secrets/db" }

local store = mk.store("disk", %q)

return mk.job {
  name = %q,
  source = source,
  upload = { store },

  -- When it runs, for `moonkeep export systemd` or `moonkeep export cron`.
  schedule = { cron = "0 2 * * *", jitter = "10m" },
  deadline = "3h",     -- a run that takes longer is stopped
  fresh    = "26h",    -- `moonkeep status` exits with 5 when the last good backup is older
  retry    = { tries = 3, wait = "1m" },

  -- Who is told when something is not well (`moonkeep notify test` tries it):
  -- notify = { problem = mk.notify.slack(mk.secret.env "SLACK_URL") },

  compress = "zstd:3",
  verify   = "decoded",  -- read again, decompressed, its contents listed, right after the upload

  dump = {
    globals = true,         -- roles and tablespaces too
    lock_timeout = "1m",    -- give up rather than wait for a lock, and make others wait
%s  },

  -- Code, when keys are not enough:
  -- run = function(ctx)
  --   local backup = ctx:backup()
  --   ctx:show("made %%s", backup.id)
  -- end,
}
]]

-- The selections of a dump, commented out, with what they mean: the file is its own manual.
local SHOWN = { "table", "exclude_table", "exclude_table_data", "schema", "exclude_schema",
  "schema_only", "no_owner" }

local function selections()
  local lines = {}
  for _, name in ipairs(SHOWN) do
    for _, entry in ipairs(tables.dump.keys) do
      if entry[1] == name then
        local value = entry[2] == "boolean" and "true" or '"pattern"'
        lines[#lines + 1] = ("    -- %s = %s,  -- %s\n"):format(name, value, entry[3])
      end
    end
  end
  return table.concat(lines)
end

--- The text. `source` is what libpq takes (keys or a URI), `url` the store's.
function M.text(file, name, source, url)
  return TEXT:format(file, file, file, file, file, ("%q"):format(source), url, name, selections())
end

return M
