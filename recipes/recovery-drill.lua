-- A recovery drill: the newest backup of a job, from nothing but its store, into a PostgreSQL of its own
-- on this machine. What it proves: the backup restores, all rows are there, nothing in it is unsound;
-- and how old it was (RPO) and how long it took (RTO).
--
--   moonkeep run recipes/recovery-drill.lua -s store=/var/backups/app -s job=nightly -s database=app
local mk = require "moonkeep"

return mk.task {
  name = "recovery-drill",
  args = {
    store = mk.arg.path "/var/backups/app",
    job = mk.arg.string "nightly",
    database = mk.arg.database "app",
    minutes = mk.arg.integer { default = 60, doc = "a restore must not take longer" },
  },

  run = function(ctx, args)
    local store = mk.store("store", "file://" .. args.store)
    local backup = assert(store:latest(args.job, args.database), "there is no backup")
    local server <close> = mk.pg.scratch { major = backup.manifest.needs.pg_restore }

    local began = mk.clock.monotonic()
    local restored = ctx:restore(backup, { into = server:database "postgres", database = "drill",
      no_owner = true, no_privileges = true, no_tablespaces = true })
    local report = ctx:checkup(restored, { backup = backup })
    local minutes = (mk.clock.monotonic() - began) / 60000

    for _, t in ipairs(report.tables) do
      if t.latest then
        ctx:show("%s.%s: %d rows, the latest of %s", t.schema, t.name, t.rows, t.latest)
      end
    end
    ctx:show("%s of %s restores: %d rows of %d tables, in %.1f minutes", backup.id,
      backup.manifest.created_at, report.rows, #report.tables, minutes)
    ctx:check("minutes to recover", minutes, "<=", args.minutes)
  end,
}
