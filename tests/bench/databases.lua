--- The databases of the benchmarks of dumps and restores, and what both are measured against.
--- MOONKEEP_BENCH_SCALE=0.1 makes the databases a tenth as large.
local mk = require "moonkeep"

local M = {}

local SCALE = tonumber(os.getenv "MOONKEEP_BENCH_SCALE" or "1")

--- Bytes of all files below a folder, or of one file.
function M.size_of(path)
  return tonumber(mk.process.run({ argv = { "du", "--bytes", "--summarize", path } }):match "%d+")
end

--- COPY of these to nowhere, each over a connection of its own.
function M.floor(cluster, database, copies)
  local commands = {}
  for i, copy in ipairs(copies) do
    commands[i] = ("psql -X -q -h %s -U postgres -d %s -c %q >/dev/null & "):format(cluster.folder,
      database, copy)
  end
  return { name = ("raw COPY over %d connections to /dev/null"):format(#copies),
    server = cluster.server:pid(), argv = { "bash", "-c", table.concat(commands) .. "wait" } }
end

--- A line of the table of targets.
function M.target(say, what, figure, wanted, is_at_least)
  say("| %s | %.2f | %s %.2f |", what, figure, is_at_least and "at least" or "at most", wanted)
end

--- pgbench's accounts, and rows of JSON and text. Returns their bytes.
function M.fill_two(cluster)
  local c <close> = cluster:create_database("two"):connect()
  c:query(([[
    CREATE TABLE accounts AS SELECT i AS aid, 1 + i %% 100 AS bid, 0 AS abalance,
      ''::char(84) AS filler FROM generate_series(1, %d) i;
    CREATE TABLE wide AS SELECT i AS id, now() - i * interval '1 second' AS at,
      jsonb_build_object('user', i %% 5000, 'path', '/v1/' || md5((i %% 90000)::text),
        'agent', 'Mozilla/5.0 (X11; Linux x86_64) ' || md5((i %% 700)::text), 'ms', (i * 37) %% 9000,
        'ok', i %% 7 > 0, 'tags', jsonb_build_array('alpha', 'beta', i %% 13)) AS payload,
      md5(i::text) AS token, repeat('the quick brown fox ' || (i %% 1000)::text || ' ', 12) AS note
    FROM generate_series(1, %d) i]]):format(10000000 * SCALE // 1 | 0, 1500000 * SCALE // 1 | 0))
  c:query "VACUUM ANALYZE"
  return c:value [[SELECT sum(pg_table_size(oid))::bigint FROM pg_class
    WHERE relname IN ('accounts', 'wide')]]
end

--- One table, the later half of its rows with TOASTed values.
function M.fill_one(cluster)
  local c <close> = cluster:create_database("one"):connect()
  c:query(([[
    CREATE TABLE one AS SELECT i AS id, jsonb_build_object('user', i %% 5000,
        'path', '/v1/' || md5((i %% 90000)::text), 'ms', (i * 37) %% 9000) AS payload,
      CASE WHEN i > %d THEN (SELECT string_agg(md5((i * k)::text), ' ') FROM generate_series(1, 90) k)
        ELSE md5(i::text) END AS body
    FROM generate_series(1, %d) i]]):format(600000 * SCALE // 1 | 0, 800000 * SCALE // 1 | 0))
  c:query "VACUUM ANALYZE"
end

return M
