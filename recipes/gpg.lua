-- A dump through GnuPG into a file, for those whose rules say GnuPG. (What moonkeep verifies, copies and
-- lets expire is encrypted by `encrypt`: docs/guide/encryption.md.) The file appears under its name only
-- when it was decrypted again, and pg_restore has read its table of contents; prove=no where the private
-- key is elsewhere.
--
--   moonkeep run recipes/gpg.lua -s recipient=ops@example.org -s database=app
local mk = require "moonkeep"

return mk.job {
  name = "gpg",
  description = "a dump, encrypted by GnuPG",
  args = {
    recipient = mk.arg.string { doc = "whose public key it is for" },
    database = mk.arg.database "app",
    folder = mk.arg.path "/var/backups/gpg",
    prove = mk.arg.boolean { default = true, doc = "decrypt it again" },
  },

  run = function(ctx, args)
    local conninfo, env = mk.pg { dbname = args.database }:for_program()
    local path = ("%s/%s-%s.dump.gpg"):format(args.folder, args.database, mk.clock.compact())
    local partial = path .. ".partial"
    mk.fs.mkdir(args.folder, 448) -- 0700
    -- Either program that fails fails the run.
    mk.flow.run({ { kind = "process", env = env, argv = { "pg_dump", "--format=custom",
      "--no-password", "--dbname=" .. conninfo } },
      { kind = "process", argv = { "gpg", "--batch", "--quiet", "--trust-model=always", "--encrypt",
        "--recipient=" .. args.recipient, "--output=" .. partial } } }, { title = "dump" })
    if args.prove then
      local report = mk.flow.run { { kind = "process", argv = { "gpg", "--batch", "--quiet",
        "--decrypt", partial } }, { kind = "process", keep_stdout = true, label = "list",
        argv = { "pg_restore", "--list" } } }
      local _, entries = report.list.result:gsub("\n%d+;", "")
      ctx:check("entries", entries, ">", 0)
    end
    mk.fs.rename(partial, path)
    ctx:show(path)
  end,
}
