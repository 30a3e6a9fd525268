-- ./dev bench stream: start-up, and one stream beside pg_dump | zstd. MOONKEEP_BENCH_ROWS sets the size.
local mk = require "moonkeep"
local support = require "support"

local ROWS = tonumber(os.getenv "MOONKEEP_BENCH_ROWS" or "1500000")

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
  return support.median(times)
end

local function bench_startup(say, folder)
  say "| start-up | median | target |"
  say "|---|---|---|"
  say("| `moonkeep version` | %.1f ms | 10 ms |", startup({ support.binary, "version" }, 7))
  say("| an empty recipe (supervisor and worker) | %.1f ms | 25 ms |",
    startup(support.job(folder, "empty", ""), 7))
  say("| `/bin/true`, for comparison (measured the same way) | %.1f ms | |",
    startup({ "/bin/true" }, 7))
  say ""
end

local function bench_dump(say, folder, cluster)
  local ours, theirs = folder .. "/ours.zst", folder .. "/theirs.zst"
  local result = support.compare(folder, support.job(folder, "dump", [[
    mk.flow.run {
      { kind = "process", argv = { "pg_dump", "-Fc", "-Z0", "-h", %q, "-U", "postgres", "bench" } },
      { kind = "encode", codec = "zstd:3" },
      { kind = "file", path = %q } }]], cluster.folder, ours),
    support.shell("pg_dump -Fc -Z0 -h %s -U postgres bench | zstd -q -T2 -o %s; sync %s",
      cluster.folder, theirs, theirs),
    function(which)
      mk.fs.remove(which == "a" and ours or theirs)
    end)
  local a, b, ratio = result.a, result.b, result.ratio
  local size_a, size_b = mk.fs.stat(ours).size, mk.fs.stat(theirs).size
  say("| a pg_dump stream into a synced file | moonkeep zstd:3 | " ..
    "`pg_dump -Fc -Z0 \\| zstd -T2` | ratio | target |")
  say "|---|---|---|---|---|"
  say("| wall | %.2f s | %.2f s | %.2f | no worse |", a.wall, b.wall, ratio.wall)
  say("| CPU of all client processes | %.2f s | %.2f s | %.2f | at most 1.05 |", a.cpu, b.cpu,
    ratio.cpu)
  say("| size | %.1f MB | %.1f MB | %.3f | |", size_a / 1e6, size_b / 1e6, size_a / size_b)
  say("| largest process | %.0f MiB | %.0f MiB | | at most 64 MiB |", a.mib, b.mib)
end

local folder <close> = mk.fs.tempdir()
local cluster <close> = mk.pg.scratch { settings = { shared_buffers = "1GB" } }
local section = support.section("stream", "Start-up and one stream")
do
  local c <close> = cluster:create_database("bench"):connect()
  c:query(([[
    CREATE TABLE events AS SELECT i AS id, now() - i * interval '1 second' AS at,
      jsonb_build_object('user', i %% 5000, 'path', '/v1/' || md5((i %% 90000)::text),
        'ms', (i * 37) %% 9000, 'ok', i %% 7 > 0) AS payload,
      md5(i::text) AS token
    FROM generate_series(1, %d) i]]):format(ROWS))
  c:query "VACUUM ANALYZE events"
  section.say("PostgreSQL %d on a local socket, %d rows, %.0f MB in the database, %d runs each.",
    c:major(), ROWS, c:value "SELECT pg_database_size('bench')" / 1e6, support.runs)
  section.say ""
end
bench_startup(section.say, folder.path)
bench_dump(section.say, folder.path, cluster)
section.write()
