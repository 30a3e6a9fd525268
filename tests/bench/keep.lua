-- ./dev bench keep: encryption beside stock `age`, and inside a dump; what lists and judges many
-- backups; verifying beside `sha256sum` and `zstd -t`.
local age = require "moonkeep.encryption.age"
local databases = require "databases"
local mk = require "moonkeep"
local support = require "support"

local GIB = 1 << 30
local N_SERIES, N_EACH = 20, 5000

local section = support.section("keep", "Keeping")
local say = section.say
local folder <close> = mk.fs.tempdir()
say("%s cores, %d rounds, medians.", (mk.process.run({ argv = { "nproc" } }):gsub("%s", "")),
  support.runs)
say ""

-- ---- age ------------------------------------------------------------------------------------------

local identity, recipient = age.generate()
mk.fs.write(folder.path .. "/key.txt", identity .. "\n")
local plain, sealed, out = folder.path .. "/plain", folder.path .. "/sealed", folder.path .. "/out"
mk.process.run { argv = { "bash", "-c", ("head -c %d /dev/urandom > %s"):format(GIB, plain) } }
mk.process.run { argv = { "age", "-r", recipient, "-o", sealed, plain } }

local function clear()
  mk.fs.remove(out)
end

local function through(name, from, stage, sink)
  return { name = name, before = clear, argv = support.script(folder.path, (name:gsub("%W", "")), [[
    require("moonkeep.flow").run { { kind = "file", path = "%s" }, %s, %s }]], from, stage,
    sink or ("{ kind = 'file', path = '%s' }"):format(out)) }
end

local to_seal = ("{ kind = 'seal', recipients = { '%s' } }"):format(recipient)
local to_open = ("{ kind = 'open', identities = { '%s' } }"):format(identity)
local key = folder.path .. "/key.txt"
say "1 GiB that does not compress, from a file into nothing:"
say ""
local seal = { through("moonkeep, sealing", plain, to_seal, "{ kind = 'null' }"),
  { name = "`age`", argv = support.shell("age -r %s %s >/dev/null", recipient, plain) } }
support.rounds(folder.path, seal)
support.say_table(say, seal)
local open = { through("moonkeep, opening", sealed, to_open, "{ kind = 'null' }"),
  { name = "`age --decrypt`", argv = support.shell("age --decrypt -i %s %s >/dev/null", key, sealed) } }
support.rounds(folder.path, open)
support.say_table(say, open)
say "Into another file, where the disk decides (ours is synced, which `age` leaves to `sync`):"
say ""
local seal_file = { through("moonkeep, sealing it", plain, to_seal),
  { name = "`age`", before = clear, argv = { "age", "-r", recipient, "-o", out, plain } },
  { name = "`age`, and `sync`", before = clear,
    argv = support.shell("age -r %s -o %s %s && sync %s", recipient, out, plain, out) } }
support.rounds(folder.path, seal_file)
support.say_table(say, seal_file)
local open_file = { through("moonkeep, opening it", sealed, to_open),
  { name = "`age --decrypt`", before = clear,
    argv = { "age", "--decrypt", "-i", key, "-o", out, sealed } },
  { name = "`age --decrypt`, and `sync`", before = clear,
    argv = support.shell("age --decrypt -i %s -o %s %s && sync %s", key, out, sealed, out) } }
support.rounds(folder.path, open_file)
support.say_table(say, open_file)
for _, path in ipairs { plain, sealed, out } do
  mk.fs.remove(path)
end

-- ---- a dump, and what verifies it -----------------------------------------------------------------

local cluster <close> = mk.pg.scratch { settings = { shared_buffers = "1GB" } }
databases.fill_two(cluster)

local function job(name, keys)
  local path = ("%s/%s.lua"):format(folder.path, name)
  mk.fs.write(path, ([[
    local mk = require "moonkeep"
    return mk.job { name = "bench", dump = { jobs = 2 }, verify = "stored", %s
      source = mk.pg { host = %q, user = "postgres", dbname = "two" },
      upload = { mk.store("disk", "file://%s/%s") } }]]):format(keys, cluster.folder, folder.path,
    name))
  return { support.binary, "run", "-q", "--log-format", "human", path }
end

local function dump(name, keys)
  local store = name:match "^%l+"
  return { name = name, argv = job(store, keys), server = cluster.server:pid(), before = function()
    mk.fs.remove(folder.path .. "/" .. store)
  end }
end
say "A dump of 2.3 GB in two tables, zstd:1, over 2 connections:"
say ""
local dumps = { dump("open", ""), dump("encrypted",
  ("encrypt = { recipients = %q, escrow = false },"):format(recipient)) }
support.rounds(folder.path, dumps)
support.say_table(say, dumps)

local function verify(level)
  return { support.binary, "verify", "latest", "--from", folder.path .. "/open", "--level", level, "-q",
    "--log-format", "human" }
end
local files = folder.path .. "/open/bench/two/*/*.zst"
say "Verifying that backup, its files in the page cache:"
say ""
local reads = { { name = "moonkeep, `read`", argv = verify "read" },
  { name = "`sha256sum`", argv = support.shell("sha256sum %s", files) } }
support.rounds(folder.path, reads)
support.say_table(say, reads)
local decodes = { { name = "moonkeep, `decoded`: SHA-256, rows, hashes", argv = verify "decoded" },
  { name = "`zstd -t`", argv = support.shell("zstd -q -t %s", files) } }
support.rounds(folder.path, decodes)
support.say_table(say, decodes)
local size = mk.process.run { argv = { "bash", "-c", ("cat %s | wc -c"):format(files) } }
say("(%.0f MB: `read` %.0f MB/s, `decoded` %.0f MB/s)", size / 1e6, size / 1e6 / reads[1].wall,
  size / 1e6 / decodes[1].wall)
say ""

-- ---- many backups ---------------------------------------------------------------------------------

local state, store = folder.path .. "/state", folder.path .. "/many"
mk.fs.mkdir(store)
local recipe = folder.path .. "/many.lua"
mk.fs.write(recipe, ([[
  local mk = require "moonkeep"
  return mk.job { name = "nightly", upload = { mk.store("disk", "file://%s") },
    source = mk.pg { host = %q, user = "postgres", dbname = "two" },
    keep = { daily = 7, weekly = 4, monthly = 12, yearly = 7 } }]]):format(store, cluster.folder))
local function many(name, ...)
  return { name = name, argv = { "env", "MOONKEEP_STATE=" .. state, support.binary, ... } }
end
mk.process.run { argv = many("", "catalog", "rebuild", recipe).argv }
mk.process.run { argv = { "bash", "-c", ([[python3 tests/bench/catalog.py %s %s/catalog.sqlite \
  tests/golden/backups/directory_zstd/app/*.json %d %d]]):format(store, state, N_SERIES, N_EACH) } }
mk.process.run { argv = many("", "adopt", recipe).argv }
say("%d backups of %d databases in a folder, all in the catalog:", N_SERIES * N_EACH, N_SERIES)
say ""
local commands = { many("`list`", "list", "--from", recipe), many("`status`", "status", recipe),
  many("`history`", "history", "--from", recipe), many("`prune --dry-run`", "prune", "--dry-run",
  recipe) }
support.rounds(folder.path, commands)
support.say_table(say, commands)

say "| | measured | target |"
say "|---|---|---|"
databases.target(say, "`age` beside sealing, into nothing", support.ratio(seal, 2, 1), 2, true)
databases.target(say, "`age --decrypt` beside opening, into nothing", support.ratio(open, 2, 1), 2, true)
databases.target(say, "`age` and `sync` beside sealing, into a file", support.ratio(seal_file, 3, 1), 1,
  true)
databases.target(say, "`age --decrypt` and `sync` beside opening, into a file",
  support.ratio(open_file, 3, 1), 1, true)
databases.target(say, "an encrypted dump beside an open one", support.ratio(dumps, 2, 1), 1.02)
databases.target(say, "`read` beside `sha256sum`", support.ratio(reads, 1, 2), 1)
databases.target(say, "`decoded` beside `zstd -t`", support.ratio(decodes, 1, 2), 1)
for _, command in ipairs(commands) do
  databases.target(say, command.name .. ", seconds", command.wall, 1)
  databases.target(say, command.name .. ", MiB", command.mib, 100)
end
section.write()
