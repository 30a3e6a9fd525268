-- ./dev bench dump: the native engine beside what people use, and beside the floor: COPY to nowhere
-- over as many connections. See databases.lua.
local databases = require "databases"
local mk = require "moonkeep"
local support = require "support"
local tools = require "moonkeep.pg.tools"

local NEW = 17 -- the first pg_dump whose directories can be zstd

local function say_table(say, contenders)
  say "| | wall s | beside moonkeep | client CPU s | server CPU s | MB | largest process MiB |"
  say "|---|---|---|---|---|---|---|"
  for _, c in ipairs(contenders) do
    say("| %s | %.2f | %.2f | %.2f | %.2f | %s | %.0f |", c.name, c.wall, c.ratio, c.cpu,
      c.server_cpu, c.size > 0 and ("%.0f"):format(c.size / 1e6) or "", c.mib)
  end
  say ""
end

local function contender(name, cluster, out, argv)
  return { name = name, argv = argv, server = cluster.server:pid(),
    before = function() mk.fs.remove(out) end, size = function() return databases.size_of(out) end }
end

local function moonkeep(folder, cluster, database)
  local path, out = folder .. "/native.lua", folder .. "/native"
  mk.fs.write(path, ([[
    local mk = require "moonkeep"
    return mk.job { name = "bench", dump = { jobs = 2 }, compress = "zstd:1", verify = "stored",
      source = mk.pg { host = %q, user = "postgres", dbname = %q },
      upload = { mk.store("disk", "file://%s") } }]]):format(cluster.folder, database, out))
  return contender("moonkeep, 2 connections, zstd:1, with hashes and manifest, synced", cluster, out,
    { support.binary, "run", "-q", "--log-format", "human", path })
end

local function theirs(folder, cluster, database, name, text, program)
  local out = folder .. "/theirs"
  return contender(name, cluster, out, support.shell(text, ("%s -h %s -U postgres -d %s"):format(
    program or "pg_dump", cluster.folder, database), out))
end

local function bench_two_tables(say, folder, cluster)
  local pg_dump_new = pcall(tools.find, "pg_dump", NEW) and tools.find("pg_dump", NEW)
  local list = { moonkeep(folder, cluster, "two"),
    databases.floor(cluster, "two", { "copy accounts to stdout", "copy wide to stdout" }),
    theirs(folder, cluster, "two", "`pg_dump -Fc`", "%s -Fc -f %s"),
    theirs(folder, cluster, "two", "`pg_dump -Fd -j2`", "%s -Fd -j2 -f %s"),
    theirs(folder, cluster, "two", "`pg_dump -Fd -j2 -Z1`", "%s -Fd -j2 -Z1 -f %s"),
    theirs(folder, cluster, "two", "`pg_dump -Fc -Z0 \\| zstd -T2`",
      "%s -Fc -Z0 | zstd -q -T2 -o %s"),
    pg_dump_new and theirs(folder, cluster, "two", "`pg_dump -Fd -j2 -Z zstd:1` of version 17",
      "%s -Fd -j2 -Z zstd:1 -f %s", pg_dump_new) or nil }
  support.rounds(folder, list)
  say_table(say, list)
  say "| | measured | target |"
  say "|---|---|---|"
  databases.target(say, "moonkeep beside the floor", support.ratio(list, 1, 2), 1.10)
  databases.target(say, "`pg_dump -Fc` beside moonkeep", support.ratio(list, 3, 1), 2.8, true)
  if pg_dump_new then
    databases.target(say, "`pg_dump` 17 with zstd:1 beside moonkeep", support.ratio(list, 7, 1), 1, true)
  end
  databases.target(say, "size beside gzip 6", list[1].size / list[4].size, 1)
  say ""
end

local function bench_one_table(say, folder, cluster)
  local pg_dump_new = pcall(tools.find, "pg_dump", NEW) and tools.find("pg_dump", NEW)
  local list = { moonkeep(folder, cluster, "one"),
    theirs(folder, cluster, "one", "`pg_dump -Fd -j2`", "%s -Fd -j2 -f %s"),
    pg_dump_new and theirs(folder, cluster, "one", "`pg_dump -Fd -j2 -Z zstd:1` of version 17",
      "%s -Fd -j2 -Z zstd:1 -f %s", pg_dump_new) or nil }
  support.rounds(folder, list)
  say "One table with nearly all of the data, the later half of its rows with TOASTed values:"
  say ""
  say_table(say, list)
  say "| | measured | target |"
  say "|---|---|---|"
  databases.target(say, "`pg_dump -Fd -j2` beside moonkeep", support.ratio(list, 2, 1), 3, true)
  if pg_dump_new then
    databases.target(say, "`pg_dump` 17 with zstd:1 beside moonkeep", support.ratio(list, 3, 1), 1.25,
      true)
  end
end

local folder <close> = mk.fs.tempdir()
local cluster <close> = mk.pg.scratch { major = 15, settings = { shared_buffers = "2GB" } }
local section = support.section("dump", "The native dump engine")
local bytes = databases.fill_two(cluster)
databases.fill_one(cluster)
section.say("PostgreSQL 15 on a local socket, %.0f MB in two tables; server and clients share %s " ..
  "cores. %d rounds, each command once a round; medians. \"Beside moonkeep\": wall time divided by " ..
  "moonkeep's of the same round.", bytes / 1e6, (mk.process.run({ argv = { "nproc" } }):gsub("%s", "")),
  support.runs)
section.say ""
bench_two_tables(section.say, folder.path, cluster)
bench_one_table(section.say, folder.path, cluster)
section.write()
