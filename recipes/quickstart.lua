-- The whole promise in one run, on a throwaway server: dump, compress, store, verify, restore into
-- a second database, and compare the two table by table. `./dev quickstart` runs it.
local mk = require "moonkeep"

return mk.job {
  name = "quickstart",
  deadline = "10m",

  run = function(ctx)
    local folder <close> = mk.fs.tempdir()
    local cluster <close> = mk.pg.scratch()
    local app = cluster:create_database "app"
    cluster:load(app, os.getenv "MOONKEEP_SAMPLE" or "recipes/sample.sql")

    local backup = ctx:backup {
      source = app,
      compress = "zstd:3",
      upload = { mk.store("disk", "file://" .. folder.path) },
      verify = "decoded",
    }

    local began = mk.clock.monotonic()
    local restored = ctx:restore(backup, { into = app, database = "app_restored" })
    local seconds = (mk.clock.monotonic() - began) / 1000
    local tables, rows = ctx:compare(app, restored)

    local data = backup.manifest.objects[1]
    ctx:show ""
    ctx:show("  Backed up   %d tables, %d rows: %.1f MB, compressed to %.1f MB", tables, rows,
      data.decoded_size / 1e6, data.size / 1e6)
    ctx:show "  Verified    every stored byte read again, SHA-256 equal; decompressed and listed"
    ctx:show("  Restored    into a second database, in %.1f s", seconds)
    ctx:show "  Compared    every table: same row counts, same content"
    ctx:show ""
    ctx:show "  The backup restores. That is what \"green\" means here."
    ctx:show "  Next: docs/guide/first-backup.md makes one of your own database."
  end,
}
