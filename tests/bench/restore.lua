-- ./dev bench restore: a backup of the native engine into a new database, with every check and with
-- statistics, beside pg_restore of archives of the same database; and a comparison beside the floor.
local databases = require "databases"
local merge = require "moonkeep.merge"
local mk = require "moonkeep"
local support = require "support"
local tools = require "moonkeep.pg.tools"

local NEW = 17 -- the first pg_dump whose directories can be zstd
local HAS_NEW = pcall(tools.find, "postgres", NEW)
local MAJOR = HAS_NEW and NEW or 15

local function say_table(say, contenders)
  say "| | wall s | beside moonkeep | client CPU s | server CPU s | largest process MiB |"
  say "|---|---|---|---|---|---|"
  for _, c in ipairs(contenders) do
    say("| %s | %.2f | %.2f | %.2f | %.2f | %.0f |", c.name, c.wall, c.ratio, c.cpu, c.server_cpu, c.mib)
  end
  say ""
end

-- A new, empty database, and nothing left to be written of the one before.
local function renew(cluster, creates)
  return function()
    local c <close> = cluster:database("postgres"):connect()
    c:query "DROP DATABASE IF EXISTS target"
    if creates then
      c:query "CREATE DATABASE target"
    end
    c:query "CHECKPOINT"
  end
end

-- The same command, of which only the rows count: as it says itself, and with `--section`.
local function rows_of_ours(folder, ours)
  local out = folder .. "/verbose"
  local argv = { "bash", "-c", ('exec "$@" -v 2> %s'):format(out), "bash" }
  for _, word in ipairs(ours.argv) do
    argv[#argv + 1] = word ~= "-q" and word or nil
  end
  return merge(ours, { name = "moonkeep, 2 connections, of zstd:1, with all checks", argv = argv,
    seconds = function() return tonumber(mk.fs.read(out):match "rows: (%d+) ms") / 1000 end })
end

local function rows_of_theirs(theirs)
  local command = theirs.argv[3]
  return merge(theirs, { argv = support.shell("%s --section=data", command), before = function()
    theirs.before()
    mk.process.run { argv = support.shell("%s --section=pre-data", command) }
  end })
end

local function contender(name, cluster, creates, argv)
  return { name = name, argv = argv, server = cluster.server:pid(), before = renew(cluster, creates) }
end

local function moonkeep(folder, cluster, database)
  local store = ("%s/%s.store"):format(folder, database)
  local path = ("%s/%s.lua"):format(folder, database)
  mk.fs.write(path, ([[
    local mk = require "moonkeep"
    return mk.job { name = "bench", dump = { jobs = 2 }, compress = "zstd:1", verify = "stored",
      source = mk.pg { host = %q, user = "postgres", dbname = %q },
      upload = { mk.store("disk", "file://%s") } }]]):format(cluster.folder, database, store))
  mk.process.run { argv = { support.binary, "run", "-q", "--log-format", "human", path } }
  return contender("moonkeep, 2 connections, of zstd:1, with all checks and ANALYZE", cluster, false,
    { support.binary, "restore", "latest", "-q", "--log-format", "human", "--from", "file://" .. store,
      "--into", ("host=%s user=postgres"):format(cluster.folder), "-d", "target", "-s", "jobs=2" }),
    store
end

local function theirs(folder, cluster, database, name, codec, analyzes)
  local out = ("%s/%s.%s"):format(folder, database, codec)
  if not mk.fs.exists(out) then
    mk.process.run { argv = { tools.find("pg_dump", MAJOR), "-h", cluster.folder, "-U", "postgres",
      "-Fd", "-j2", "-Z", codec, "-f", out, database } }
  end
  local connection = ("-h %s -U postgres -d target"):format(cluster.folder)
  return contender(name, cluster, true, support.shell("%s %s -j2 %s%s", tools.find("pg_restore", MAJOR),
    connection, out, analyzes and ("; %s -q --analyze-only -j2 %s"):format(tools.find("vacuumdb", MAJOR),
      connection) or ""))
end

local function pgcopydb(folder, cluster, database)
  local function url(name)
    return ("host=%s user=postgres dbname=%s"):format(cluster.folder, name)
  end
  local programs = tools.find("pg_dump", MAJOR):match "^(.*)/"
  return contender("`pgcopydb clone` (of the database itself)", cluster, true, { "env",
    "PATH=" .. programs .. ":" .. os.getenv "PATH", "pgcopydb", "clone", "--source", url(database),
    "--target", url "target", "--table-jobs", "2", "--index-jobs", "2", "--dir", folder .. "/pgcopydb",
    "--restart", "--not-consistent" })
end

-- Contenders that work at all.
local function those_that_work(list)
  local works = {}
  for i, c in ipairs(list) do
    c.before()
    local ok, err = pcall(support.measure, "/tmp", c.argv)
    if ok or i == 1 then
      works[#works + 1] = c
    else
      print("left out: " .. c.name .. ": " .. tostring(err.detail or err))
    end
  end
  return works
end

local function find(list, part)
  for i, c in ipairs(list) do
    if c.name:find(part, 1, true) then
      return i
    end
  end
end

local GZIP, NONE = "gzip 6", "`-Z0`"

local function archives(folder, cluster, database)
  local zstd = HAS_NEW and theirs(folder, cluster, database, "`pg_restore -j2` of zstd:1", "zstd:1")
  return theirs(folder, cluster, database, "`pg_restore -j2` of gzip 6, as `pg_dump -Fd` makes it", "6"),
    theirs(folder, cluster, database, "`pg_restore -j2` of `-Z0`", "0"), zstd or nil
end

local function bench_two_tables(say, folder, cluster)
  local ours, store = moonkeep(folder, cluster, "two")
  local list = { ours, archives(folder, cluster, "two") }
  list[#list + 1] = theirs(folder, cluster, "two",
    "`pg_restore -j2` of gzip 6 and `vacuumdb --analyze-only -j2`", "6", true)
  list[#list + 1] = pgcopydb(folder, cluster, "two")
  list = support.rounds(folder, those_that_work(list))
  say_table(say, list)
  return store, list
end

local function bench_compare(say, folder, cluster, store)
  renew(cluster, false)()
  local list = support.rounds(folder, { { name = "`moonkeep compare` of the database and the backup",
    server = cluster.server:pid(), argv = { support.binary, "compare", "latest", "-q", "--from",
      "file://" .. store, ("host=%s user=postgres dbname=two"):format(cluster.folder), "-j", "2" } },
    databases.floor(cluster, "two", { "copy accounts to stdout", "copy wide to stdout" }) })
  say_table(say, list)
  return list
end

local folder <close> = mk.fs.tempdir()
local cluster <close> = mk.pg.scratch { major = MAJOR, settings = { shared_buffers = "2GB",
  max_wal_size = "8GB" } }
local section = support.section("restore", "The native restore")
local say = section.say
local bytes = databases.fill_two(cluster)
databases.fill_one(cluster)
do
  local c <close> = cluster:database("two"):connect()
  c:query [[ALTER TABLE accounts ADD PRIMARY KEY (aid); ALTER TABLE wide ADD PRIMARY KEY (id);
    CREATE INDEX ON wide (at); CREATE INDEX ON wide (token)]]
  c:query "VACUUM ANALYZE"
end
say("PostgreSQL %d on a local socket, %.0f MB in two tables, four indexes; server and clients " ..
  "share %s cores. %d rounds, each command once a round; medians. \"Beside moonkeep\": wall time " ..
  "divided by moonkeep's of the same round.", MAJOR, bytes / 1e6,
  (mk.process.run({ argv = { "nproc" } }):gsub("%s", "")), support.runs)
say ""
local store, two = bench_two_tables(say, folder.path, cluster)
say("One table with nearly all of the data, without indexes: the wall time of the rows alone " ..
  "(`--section=data` of pg_restore), the CPU and memory of moonkeep's whole command.")
say ""
local one = { rows_of_ours(folder.path, (moonkeep(folder.path, cluster, "one"))),
  archives(folder.path, cluster, "one") }
for i = 2, #one do
  one[i] = rows_of_theirs(one[i])
end
one = support.rounds(folder.path, one)
say_table(say, one)
local compared = bench_compare(say, folder.path, cluster, store)
say "| | measured | target |"
say "|---|---|---|"
databases.target(say, "`pg_restore -j2` of gzip 6 beside moonkeep",
  support.ratio(two, find(two, GZIP), 1), 1.3, true)
databases.target(say, "`pg_restore -j2` of -Z0 beside moonkeep",
  support.ratio(two, find(two, NONE), 1), 1, true)
databases.target(say, "rows of one table: `pg_restore -j2` of gzip 6 beside moonkeep",
  support.ratio(one, find(one, GZIP), 1), 1.5, true)
databases.target(say, "comparing beside the floor", support.ratio(compared, 1, 2), 1.1)
section.write()
