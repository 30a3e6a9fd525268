-- ./dev bench flow: the runtime alone. Files through each codec and back beside the programs that
-- people use, COPY beside psql, awaits and tasks beside Python's asyncio, and the memory of it.
-- MOONKEEP_BENCH_MB sets the size of the file, MOONKEEP_BENCH_COPY_ROWS that of the table.
local mk = require "moonkeep"
local support = require "support"

local MB = tonumber(os.getenv "MOONKEEP_BENCH_MB" or "256")
local COPY_ROWS = tonumber(os.getenv "MOONKEEP_BENCH_COPY_ROWS" or "8100000")

local folder <close> = mk.fs.tempdir()
local cluster <close> = mk.pg.scratch { settings = { shared_buffers = "2GB", fsync = "off",
  max_wal_size = "8GB" } }
local section = support.section("flow", "The runtime alone")
local say = section.say

local connection <close> = cluster:create_database("bench"):connect()
connection:query(([[
  CREATE TABLE events AS SELECT i AS id, now() - i * interval '1 second' AS at,
    jsonb_build_object('user', i %% 5000, 'path', '/v1/' || md5((i %% 90000)::text),
      'ms', (i * 37) %% 9000, 'ok', i %% 7 > 0) AS payload
  FROM generate_series(1, %d) i]]):format(COPY_ROWS))
connection:query "VACUUM (ANALYZE, FREEZE) events"

-- ---- files --------------------------------------------------------------------------------------

local plain = folder.path .. "/plain"
mk.process.run { argv = support.shell(
  "psql -XAtq -h %s -U postgres bench -c 'COPY events TO STDOUT' | head -c %d >%s || :",
  cluster.folder, MB * 1000000, plain) }

local CODECS = {
  { "zstd:3", "zstd -q -3 -T2 %s -o %s", "zstd -q -d -T2 %s -o %s" },
  { "gzip:1", "igzip -1 -T 2 %s -o %s", "igzip -d -T 2 %s -o %s" },
  { "gzip:6", "pigz -6 -p 2 -c %s >%s", "pigz -d -p 2 -c %s >%s" },
}

local function bench_codec(codec, pack, unpack)
  local ours, theirs = folder.path .. "/ours", folder.path .. "/theirs"
  local function removing(which)
    mk.fs.remove(which == "a" and ours or theirs)
  end
  local flow = [[mk.flow.run { { kind = "file", path = %q }, { kind = %q, codec = %q },
    { kind = "file", path = %q } }]]
  local function row(what, program, result, size_a, size_b)
    say("| %s | `%s` | %.2f | %.2f | **%.2f** | %.2f | %.3f | %.0f | %.0f |", what, program,
      result.a.wall, result.b.wall, result.ratio.wall, result.ratio.cpu, size_a / size_b,
      result.a.mib, result.b.mib)
  end

  local result = support.compare(folder.path,
    support.job(folder.path, "pack", flow, plain, "encode", codec, ours),
    support.shell(pack .. "; sync %s", plain, theirs, theirs), removing)
  row(codec, pack:gsub(" %-q", ""):gsub(" %%s.*", ""), result, mk.fs.stat(ours).size,
    mk.fs.stat(theirs).size)

  -- Both read the same file, the other program's.
  local packed = folder.path .. "/packed" .. (codec:find "zstd" and ".zst" or ".gz")
  mk.process.run { argv = { "mv", theirs, packed } }
  result = support.compare(folder.path,
    support.job(folder.path, "unpack", flow, packed, "decode", codec:match "^%a+", ours),
    support.shell(unpack .. "; sync %s", packed, theirs, theirs), removing)
  row("and back", unpack:gsub(" %-q", ""):gsub(" %%s.*", ""), result,
    mk.fs.stat(ours).size, mk.fs.stat(theirs).size)
  mk.fs.remove(packed)
end

say("%d MB of COPY text from a file to a synced file, %d runs each in turn, medians; a ratio " ..
  "below 1 means that moonkeep is faster, takes less CPU, or writes less. Targets: wall at most " ..
  "1, size within 2 %%, memory at most 64 MiB.", MB, support.runs)
say ""
say "| codec | beside | wall s | theirs | ratio | CPU ratio | size ratio | MiB | theirs |"
say "|---|---|---|---|---|---|---|---|---|"
for _, codec in ipairs(CODECS) do
  bench_codec(table.unpack(codec))
end
say ""

-- ---- COPY ---------------------------------------------------------------------------------------

local psql = support.shell(
  "psql -X -h %s -U postgres bench -c 'copy events to stdout' >/dev/null", cluster.folder)

local function copy_job(name, n)
  local pages = connection:value "SELECT relpages FROM pg_class WHERE relname = 'events'"
  return support.job(folder.path, name, [[
    local db = mk.pg { host = %q, user = "postgres", dbname = "bench" }
    local n, pages = %d, %d
    local parts = {}
    for i = 1, n do parts[i] = i end
    mk.each(parts, { parallel = n }, function(i)
      local c <close> = db:connect()
      local sql = "COPY events TO STDOUT"
      if n > 1 then
        sql = ("COPY (SELECT * FROM events WHERE ctid >= '(%%d,0)' AND ctid < '(%%d,0)') TO STDOUT")
          :format((i - 1) * pages // n, i == n and 4294967295 or i * pages // n)
      end
      mk.flow.run { { kind = "copy", connection = c, sql = sql, hash = %s }, { kind = "null" } }
    end)]], cluster.folder, n, pages, "%s")
end

local function copy_command(name, n, hash)
  local argv = copy_job(name, n)
  local path = argv[#argv]
  mk.fs.write(path, (mk.fs.read(path):gsub("hash = %%s", "hash = " .. tostring(hash))))
  return argv
end

local bytes = mk.flow.run({ { kind = "copy", connection = connection,
  sql = "COPY events TO STDOUT" }, { kind = "null" } }).source.bytes_out
say("A table of %d rows, %.2f GB as COPY text, to nowhere, beside `psql -c \"copy events to " ..
  "stdout\" >/dev/null`. Server and client share the cores.", COPY_ROWS, bytes / 1e9)
say ""
say "| COPY | wall s | psql | ratio | client CPU s | psql | MiB | target |"
say "|---|---|---|---|---|---|---|---|"
for _, case in ipairs { { 1, false, "at most 1", 72 }, { 1, true, "", 72 },
  { 2, false, "at most 0.67", 80 } } do
  local n, hash, target, mib = table.unpack(case)
  local result = support.compare(folder.path, copy_command("copy", n, hash), psql)
  say("| %d connection%s%s | %.2f | %.2f | **%.2f** | %.2f | %.2f | %.0f | %s; %d MiB |", n,
    n > 1 and "s" or "", hash and ", rows hashed" or "", result.a.wall, result.b.wall,
    result.ratio.wall, result.a.cpu, result.b.cpu, result.a.mib, target, mib)
end
say ""

-- ---- memory -------------------------------------------------------------------------------------

local function memory_row(what, limit, argv)
  say("| %s | %.0f MiB | %d MiB |", what, support.measure(folder.path, argv).mib, limit)
end

say "| memory of the largest process | peak | limit |"
say "|---|---|---|"
for _, n in ipairs { 1, 4 } do
  memory_row(("COPY of all rows over %d connection%s, hashed"):format(n, n > 1 and "s" or ""),
    64 + 8 * n, copy_command("memory", n, true))
end
memory_row("COPY of one row of 100 MB into a file, zstd:3", 64 + 8 + 200, support.job(folder.path,
  "row", [[
    local c <close> = mk.pg({ host = %q, user = "postgres", dbname = "bench" }):connect()
    mk.flow.run { { kind = "copy", connection = c,
      sql = "COPY (SELECT repeat('0123456789', 10000000)) TO STDOUT" },
      { kind = "encode", codec = "zstd:3" }, { kind = "file", path = %q } }]], cluster.folder,
  folder.path .. "/row"))
for _, rounds in ipairs { 1, 10 } do
  memory_row(("%d MB to zstd:3, gzip:1 and lz4 at once"):format(MB * rounds), 64,
    support.job(folder.path, "tee", [[
      mk.flow.run { { kind = "process",
          argv = { "sh", "-c", "for i in $(seq %d); do cat %s; done" } },
        { kind = "tee", { { kind = "encode", codec = "zstd:3" }, { kind = "null" } },
          { { kind = "encode", codec = "gzip:1" }, { kind = "null" } },
          { { kind = "encode", codec = "lz4" }, { kind = "null" } } } }]], rounds, plain))
end
say ""

-- ---- tasks --------------------------------------------------------------------------------------

local AWAITS, TASKS = 100000, 10000

local function python(name, text)
  local path = folder.path .. "/" .. name .. ".py"
  mk.fs.write(path, "import asyncio\n" .. text)
  return { "/usr/bin/python3", path }
end

local function tasks_row(what, n, ours, theirs, idle)
  local result = support.compare(folder.path, ours, theirs)
  say("| %s | %.2f | %.2f | %.2f | %.2f | %.2f |", what, (result.a.wall - idle.a.wall) * 1e6 / n,
    (result.b.wall - idle.b.wall) * 1e6 / n, result.ratio.wall,
    (result.a.mib - idle.a.mib) * 1024 / n, (result.b.mib - idle.b.mib) * 1024 / n)
end

do
  local idle = support.compare(folder.path, support.script(folder.path, "idle", ""),
    python("idle", "async def main(): pass\nasyncio.run(main())\n"))
  say("Beside Python's asyncio, start-up and an idle process's memory taken off (%.0f and " ..
    "%.0f ms, %.0f and %.0f MiB).", idle.a.wall * 1e3, idle.b.wall * 1e3, idle.a.mib, idle.b.mib)
  say ""
  say "| | µs each | asyncio | ratio of whole commands | KiB each | asyncio |"
  say "|---|---|---|---|---|---|"
  tasks_row(("%d awaits of the shortest timer"):format(AWAITS), AWAITS,
    support.script(folder.path, "awaits", [[local sleep = require("moonkeep.core.task").sleep
      for _ = 1, %d do sleep(0) end]], AWAITS),
    python("awaits", ("async def main():\n  for _ in range(%d): await asyncio.sleep(1e-9)\n" ..
      "asyncio.run(main())\n"):format(AWAITS)), idle)
  tasks_row(("%d tasks at once, each waits 100 ms"):format(TASKS), TASKS,
    support.script(folder.path, "tasks", [[
      local mk, list = require "moonkeep", {}
      for i = 1, %d do list[i] = i end
      mk.each(list, { parallel = #list }, function() mk.sleep "100ms" end)]], TASKS),
    python("tasks", ("async def main():\n  await asyncio.gather(*(asyncio.sleep(0.1) for _ in " ..
      "range(%d)))\nasyncio.run(main())\n"):format(TASKS)), idle)
end
section.write()
