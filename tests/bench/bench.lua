-- ./dev bench: moonkeep beside what people use today, in one run, as ratios. Each pair is run in
-- turn (A B A B ...), so a machine that slows down slows both; medians are shown. Writes the table
-- into docs/reference/benchmarks.md. MOONKEEP_BENCH_ROWS and MOONKEEP_BENCH_RUNS set the size.
local mk = require "moonkeep"

local BINARY = os.getenv "MOONKEEP" or "build/release/moonkeep"
local ROWS = tonumber(os.getenv "MOONKEEP_BENCH_ROWS" or "1500000")
local RUNS = tonumber(os.getenv "MOONKEEP_BENCH_RUNS" or "5")

local lines = {}
local function say(text, ...)
  lines[#lines + 1] = select("#", ...) > 0 and text:format(...) or text
  print(lines[#lines])
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

-- GNU time's view of a whole command with all its children: wall and CPU seconds, and the peak
-- memory of the largest process.
local function measure(folder, argv)
  local out = folder .. "/time"
  mk.process.run { argv = { "/usr/bin/time", "-q", "-o", out, "-f", "%e %U %S %M",
    table.unpack(argv) } }
  local wall, user, system, kib = mk.fs.read(out):match "([%d.]+) ([%d.]+) ([%d.]+) (%d+)"
  return { wall = tonumber(wall), cpu = user + system, mib = kib / 1024 }
end

-- Start-up is too short for GNU time's hundredths: many runs, one wall clock.
local function startup(argv, runs)
  local times = {}
  for i = 1, runs do
    local began = mk.clock.monotonic()
    for _ = 1, 5 do
      mk.process.run { argv = argv }
    end
    times[i] = (mk.clock.monotonic() - began) / 5
  end
  return median(times)
end

local function bench_startup(folder)
  local recipe = folder .. "/empty.lua"
  mk.fs.write(recipe, 'return require("moonkeep").job { name = "empty", run = function() end }\n')
  local nothing = startup({ "/bin/true" }, 7)
  say "| start-up | median | target |"
  say "|---|---|---|"
  say("| `moonkeep version` | %.1f ms | 10 ms |", startup({ BINARY, "version" }, 7))
  say("| an empty recipe (supervisor and worker) | %.1f ms | 25 ms |",
    startup({ BINARY, "run", "-q", recipe }, 7))
  say("| `/bin/true`, for comparison (measured the same way) | %.1f ms | |", nothing)
  say ""
end

local RECIPE = [[
local mk = require "moonkeep"
return mk.job { name = "bench", run = function()
  mk.flow.run {
    { kind = "process", argv = { "pg_dump", "-Fc", "-Z0", "-h", %q, "-U", "postgres", "bench" } },
    { kind = "encode", codec = "zstd:3" },
    { kind = "file", path = %q },
  }
end }
]]

local function bench_dump(folder, cluster)
  local ours, theirs = folder .. "/ours.zst", folder .. "/theirs.zst"
  local recipe = folder .. "/dump.lua"
  mk.fs.write(recipe, RECIPE:format(cluster.folder, ours))
  local shell = ("set -o pipefail; pg_dump -Fc -Z0 -h %s -U postgres bench | " ..
    "zstd -q -T2 -o %s && sync %s"):format(cluster.folder, theirs, theirs)
  local figures = { a = {}, b = {} }
  local sizes = {}
  for run = 0, RUNS do -- the first one only warms up
    mk.fs.remove(ours)
    mk.fs.remove(theirs)
    local a = measure(folder, { BINARY, "run", "-q", recipe })
    local b = measure(folder, { "bash", "-c", shell })
    sizes = { a = mk.fs.stat(ours).size, b = mk.fs.stat(theirs).size }
    if run > 0 then
      table.insert(figures.a, a)
      table.insert(figures.b, b)
    end
  end
  local function of(which, key)
    local list = {}
    for i, figure in ipairs(figures[which]) do
      list[i] = figure[key]
    end
    return median(list)
  end
  local function ratio(key)
    local list = {}
    for i = 1, RUNS do
      list[i] = figures.a[i][key] / figures.b[i][key]
    end
    return median(list)
  end
  say("| a pg_dump stream into a synced file | moonkeep zstd:3 | " ..
    "`pg_dump -Fc -Z0 \\| zstd -T2` | ratio | target |")
  say "|---|---|---|---|---|"
  say("| wall | %.2f s | %.2f s | %.2f | no worse |", of("a", "wall"), of("b", "wall"),
    ratio "wall")
  say("| CPU of all client processes | %.2f s | %.2f s | %.2f | at most 1.05 |", of("a", "cpu"),
    of("b", "cpu"), ratio "cpu")
  say("| size | %.1f MB | %.1f MB | %.3f | |", sizes.a / 1e6, sizes.b / 1e6, sizes.a / sizes.b)
  say("| largest process | %.0f MiB | %.0f MiB | | at most 64 MiB |", of("a", "mib"),
    of("b", "mib"))
end

local folder <close> = mk.fs.tempdir()
local cluster <close> = mk.pg.scratch { settings = { shared_buffers = "1GB" } }
local db = cluster:create_database "bench"
do
  local c <close> = db:connect()
  c:query(([[
    CREATE TABLE events AS SELECT i AS id, now() - i * interval '1 second' AS at,
      jsonb_build_object('user', i %% 5000, 'path', '/v1/' || md5((i %% 90000)::text),
        'ms', (i * 37) %% 9000, 'ok', i %% 7 > 0) AS payload,
      md5(i::text) AS token
    FROM generate_series(1, %d) i]]):format(ROWS))
  c:query "VACUUM ANALYZE events"
  local bytes = c:value "SELECT pg_database_size('bench')"
  say "# Benchmarks"
  say ""
  say("Written by `./dev bench`; do not edit. Whole commands, run in turn, medians; " ..
    "ratios pair by pair.")
  say ""
  say("PostgreSQL %d on a local socket, %d rows, %.0f MB in the database, %d runs each, %s cores.",
    c:major(), ROWS, bytes / 1e6, RUNS,
    mk.process.run({ argv = { "nproc" } }):match "%d+")
  say ""
end
bench_startup(folder.path)
bench_dump(folder.path, cluster)
mk.fs.write("docs/reference/benchmarks.md", table.concat(lines, "\n") .. "\n", 420)
