-- What can be asked of a native dump: selections, standbys, limits; and what it makes of odd tables.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"
local toc = require "moonkeep.pg.toc"
local tools = require "moonkeep.pg.tools"

describe("a native dump", function()
  local cluster, dir

  setup(function()
    cluster = mk.pg.scratch { settings = { max_connections = "60", wal_level = "replica" } }
    dir = mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query(support.SMALL)
    c:query [[
      CREATE SCHEMA shop;
      CREATE TABLE shop.orders (id int PRIMARY KEY, at timestamptz, note text, cost money);
      INSERT INTO shop.orders SELECT i, '2026-01-01 UTC'::timestamptz + i * interval '1 hour',
        'order ' || i, i::text::money FROM generate_series(1, 20000) i;
      CREATE TABLE shop.log (id int REFERENCES shop.orders, line text, raw bytea);
      INSERT INTO shop.log SELECT i, 'line ' || i, i::text::bytea FROM generate_series(1, 20000) i;
      CREATE UNLOGGED TABLE shop.cache AS SELECT i FROM generate_series(1, 10) i;
      CREATE TABLE shop.guarded AS SELECT i FROM generate_series(1, 10) i;
      ALTER TABLE shop.guarded ENABLE ROW LEVEL SECURITY;
      CREATE POLICY few ON shop.guarded USING (i < 4);
      SELECT lo_from_bytea(4242, 'hello'), lo_from_bytea(4243, decode(repeat('ab', 600000), 'hex'))]]
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- Backs up; `options`: dump, source, database, code. Returns the run, the folder, the manifest.
  local function backup(name, options)
    local database = options.database or "app"
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = %q, verify = "decoded", compress = "none", dump = { %s },
        source = mk.pg { host = %q, dbname = %q, %s },
        upload = { mk.store("disk", "file://%s/store") } }]]):format(name, options.dump or "",
      options.host or cluster.folder, database, options.keys or 'user = "postgres"', dir.path))
    assert.equal(options.code or 0, run.code, run.stderr)
    if run.code ~= 0 then
      return run
    end
    local folder = ("%s/store/%s/%s/%s"):format(dir.path, name, database,
      run.result.text:match "^%S+")
    return run, folder, json.decode(mk.fs.read(folder .. ".json"))
  end

  it("cuts a table where its bytes are, not where its pages are", function()
    local c <close> = cluster:create_database("uneven"):connect()
    c:query [[CREATE TABLE "Uneven""one" (id int, "a""b" text, gone text, made int GENERATED ALWAYS
        AS (id + 1) STORED);
      ALTER TABLE "Uneven""one" ALTER "a""b" SET STORAGE EXTERNAL;
      INSERT INTO "Uneven""one" SELECT i, CASE WHEN i > 60000 THEN repeat(md5(i::text), 100) ELSE '' END
        FROM generate_series(1, 63000) i;
      ALTER TABLE "Uneven""one" DROP gone]]
    local _, _, manifest = backup("uneven", { database = "uneven", dump = 'range_size = "1MiB"' })
    local sizes = {}
    for _, part in ipairs(manifest.tables[1].parts) do
      sizes[#sizes + 1] = part.bytes
    end
    assert.is_true(#sizes > 6)
    table.sort(sizes)
    assert.is_true(sizes[#sizes] < manifest.tables[1].bytes / 4, table.concat(sizes, " "))
  end)

  local SELECTIONS = {
    { 'table = "shop.*"', "--table=shop.*" },
    { 'schema = "shop", exclude_table = "shop.log"', "--schema=shop", "--exclude-table=shop.log" },
    { 'exclude_table_data = { "fruit", "shop.lo*" }', "--exclude-table-data=fruit",
      "--exclude-table-data=shop.lo*" },
    { "schema_only = true", "--schema-only" },
    { "data_only = true", "--data-only" },
    { 'section = "data"', "--section=data" },
    { "no_owner = true, no_privileges = true, no_comments = true, large_objects = false",
      "--no-owner", "--no-privileges", "--no-comments", "--no-blobs" },
    { "no_unlogged_table_data = true", "--no-unlogged-table-data" },
    { "quote_all_identifiers = true", "--quote-all-identifiers" },
    { 'encoding = "LATIN1"', "--encoding=LATIN1" },
    { "serializable_deferrable = true" },
  }
  for i, selection in ipairs(SELECTIONS) do
    it("holds what pg_dump's would: " .. selection[1], function()
      local _, folder = backup("selection" .. i, { dump = selection[1] })
      local argv = { tools.find("pg_dump", cluster.major), "--format=directory", "--compress=0",
        "--host=" .. cluster.folder, "--username=postgres", "--file=" .. dir.path .. "/theirs" .. i,
        table.unpack(selection, 2) }
      argv[#argv + 1] = "app"
      mk.process.run { argv = argv, env = { PGTZ = "UTC" } }
      if mk.fs.exists(folder .. "/pack-1.tar") then
        mk.process.run { argv = { "tar", "--extract", "--file=pack-1.tar" }, cwd = folder }
      end
      local ours = toc.read(mk.fs.read(folder .. "/toc.dat"))
      local theirs = toc.read(mk.fs.read(dir.path .. "/theirs" .. i .. "/toc.dat"))
      assert.equal(#theirs.entries, #ours.entries)
      for k, entry in ipairs(theirs.entries) do
        local mine = ours.entries[k]
        if entry.kind == "TABLE DATA" then
          mk.process.run { argv = { "cmp", folder .. "/" .. mine.file,
            ("%s/theirs%d/%s"):format(dir.path, i, entry.file) } }
        end
        entry.file, mine.file = nil, nil
        assert.same(entry, mine)
      end
    end)
  end

  it("leaves to pg_dump what only pg_dump can do, and says so", function()
    local run, _, manifest = backup("inserts", { dump = "inserts = true" })
    assert.matches("pg_dump makes this backup, in one stream, for inserts asks for INSERT",
      run.stderr)
    assert.equal("custom", manifest.dump.format)
    run = backup("extra", { dump = 'extra = { "--rows-per-insert=7" }' })
    assert.matches("%-%-rows%-per%-insert may change how rows are written", run.stderr)
  end)

  it("refuses rows that row-level security hides, unless that is asked for", function()
    local c <close> = cluster:database("app"):connect()
    c:query [[CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader;
      GRANT SELECT ON LARGE OBJECT 4242, 4243 TO reader]]
    local run = backup("hidden", { keys = 'user = "reader"', code = 1 })
    assert.matches("row%-level security", run.stderr)
    local _, _, manifest = backup("seen", { keys = 'user = "reader"',
      dump = "enable_row_security = true" })
    for _, known in ipairs(manifest.tables) do
      assert.equal(known.name == "guarded" and 3 or known.rows, known.rows)
    end
  end)

  it("reads large objects also as one who may not read their table", function()
    local _, _, mine = backup("own", { keys = 'user = "reader"',
      dump = 'exclude_table = "shop.guarded"' })
    local _, _, theirs = backup("super", {})
    assert.equal(600005, mine.large_objects.bytes)
    assert.same(theirs.large_objects, mine.large_objects)
  end)

  it("has the same hashes whatever the database's settings are", function()
    local _, _, before = backup("before", {})
    local c <close> = cluster:database("app"):connect()
    for _, setting in ipairs { "datestyle = 'German'", "timezone = 'Asia/Tokyo'",
      "intervalstyle = 'iso_8601'", "bytea_output = 'escape'", "extra_float_digits = 0",
      "search_path = 'shop'", "quote_all_identifiers = on", "statement_timeout = '50ms'",
      "client_encoding = 'LATIN1'" } do
      c:query("ALTER DATABASE app SET " .. setting)
    end
    local _, _, after = backup("after", {})
    c:query "ALTER DATABASE app RESET ALL"
    for i, known in ipairs(before.tables) do
      assert.same(known, after.tables[i])
    end
  end)

  it("reads no faster than it may, by a rate or by what a function says of the server", function()
    local function seconds_of(name, throttle)
      local _, _, manifest = backup(name, { dump = "throttle = " .. throttle })
      return manifest.run.seconds
    end
    -- 2.1 MiB, of which a quarter of a second's worth goes at once
    assert.is_true(seconds_of("rate", '"1MiB"') > 1)
    assert.is_true(seconds_of("function", [[function(connection)
      return connection:value "SELECT count(*) FROM pg_stat_activity" > 0 and "1MiB" or nil
    end]]) > 1)
    local run = backup("mistaken", { dump = "throttle = function() return 7 end", code = 1 })
    assert.matches("throttle returned 7", run.stderr)
  end)

  for _, encoding in ipairs { "LATIN1", "SQL_ASCII" } do
    it("names tables in UTF-8 in its manifest, whatever the database has: " .. encoding, function()
      local admin <close> = cluster:database("postgres"):connect()
      local name = encoding:lower()
      admin:query(("CREATE DATABASE %s TEMPLATE template0 ENCODING '%s' LOCALE 'C'"):format(name,
        encoding))
      local c <close> = cluster:database(name):connect()
      c:query "SET client_encoding = 'LATIN1'"
      c:query('CREATE TABLE "caf\233" AS SELECT 1 AS "\233t\233"')
      local _, folder, manifest = backup("encoded", { database = name })
      assert.equal(encoding == "LATIN1" and "café" or "caf\\xE9", manifest.tables[1].name)
      support.restore_by_text(cluster, folder, name .. "_restored")
      local restored <close> = cluster:database(name .. "_restored"):connect()
      restored:query "SET client_encoding = 'LATIN1'"
      assert.equal(1, restored:value 'SELECT "\233t\233" FROM "caf\233"')
    end)
  end

  it("packs thousands of tables into a few objects", function()
    local roomy <close> = mk.pg.scratch { settings = { max_locks_per_transaction = "256" } }
    local c <close> = roomy:create_database("many"):connect()
    c:query "SET max_parallel_workers = 0"
    for from = 1, 5000, 500 do
      c:query(([[DO $$ BEGIN FOR i IN %d..%d LOOP
        EXECUTE format('CREATE TABLE t%%s (i int)', i); END LOOP; END $$]]):format(from, from + 499))
    end
    c:query "INSERT INTO t77 VALUES (7)"
    local _, _, manifest = backup("many", { database = "many", host = roomy.folder })
    assert.equal(5000, #manifest.tables)
    assert.is_true(#manifest.objects < 20)
    local server = ("host=%s user=postgres "):format(roomy.folder)
    local restored = support.start(dir.path, { "restore", manifest.id, "--from", dir.path .. "/store",
      "--into", server, "-d", "many_again" }):finish()
    assert.equal(0, restored.code, restored.stderr)
    local run = support.start(dir.path, { "compare", server .. "dbname=many", server ..
      "dbname=many_again" }):finish()
    assert.equal(0, run.code, run.stdout .. run.stderr)
    assert.matches("5000 objects, 1 row of 5000 tables", run.stdout)
  end)

  it("gives a table that is small on disk and large as text an object of its own", function()
    local c <close> = cluster:create_database("odd"):connect()
    c:query [[CREATE TABLE dense AS SELECT i, repeat('x', 1000000) AS t FROM generate_series(1, 12) i;
      CREATE TABLE sparse AS SELECT 1 AS i;
      CREATE TABLE huge AS SELECT repeat('0123456789abcdef', 4000000) AS t]]
    local _, _, manifest = backup("odd", { database = "odd" })
    local objects = {}
    for _, known in ipairs(manifest.tables) do
      objects[known.name] = known.parts[1].object
    end
    assert.matches("^%d+%.dat$", objects.dense)
    assert.matches("^%d+%.dat$", objects.huge) -- one row of 64 MB
    assert.matches("^pack%-1%.tar$", objects.sparse)
  end)

  describe("with a standby", function()
    local standby, hosts

    setup(function()
      standby = support.standby(cluster, "-c max_standby_streaming_delay=200ms")
      hosts = standby.folder .. "," .. cluster.folder
    end)
    teardown(function()
      standby:close()
    end)

    local function rows_are_read()
      local c <close> = standby.source:connect()
      support.eventually("rows are read from the standby", function()
        return c:value [[SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY "%' AND state = 'active']]
      end)
    end

    it("prefers it, and says when there is none", function()
      local run = backup("preferred", { host = cluster.folder .. "," .. standby.folder,
        dump = 'prefer = "standby", max_lag = "1h"' })
      assert.is_nil(run.stderr:find("primary", 1, true))
      run = backup("absent", { dump = 'prefer = "standby"' })
      assert.matches("no standby is to be had: dumping from the primary", run.stderr)
      run = backup("only", { dump = 'prefer = "standby_only"', code = 1 })
      assert.equal("PG_CONNECT", run.result.error.code)
    end)

    it("does not read from one that is too far behind", function()
      local replay <close> = standby.source:connect()
      local primary <close> = cluster:database("app"):connect()
      primary:query "CREATE TABLE seen (i int)"
      support.eventually("a transaction is replayed", function()
        return replay:value "SELECT pg_last_xact_replay_timestamp() IS NOT NULL"
      end)
      primary:query "DROP TABLE seen"
      replay:query "SELECT pg_wal_replay_pause()"
      primary:query "INSERT INTO fruit VALUES (9999, 'late')"
      mk.sleep "1200ms"
      local run, _, manifest = backup("behind", { host = hosts,
        dump = 'prefer = "standby", max_lag = "1s"' })
      assert.matches("the standby is %d.* behind, max_lag is 1s: dumping from the primary", run.stderr)
      for _, known in ipairs(manifest.tables) do
        assert.equal(known.name == "fruit" and 501 or known.rows, known.rows)
      end
      run = backup("too-far", { host = standby.folder, dump = 'max_lag = "1s"', code = 1 })
      assert.equal("STANDBY_LAG", run.result.error.code)
      replay:query "SELECT pg_wal_replay_resume()"
      primary:query "DELETE FROM fruit WHERE id = 9999"
    end)

    it("begins anew when replay cancels it", function()
      local primary <close> = cluster:database("app"):connect()
      local scope <close> = require("moonkeep.core.task").scope()
      scope:spawn(function()
        rows_are_read()
        primary:query "UPDATE shop.log SET line = line || '!'"
        primary:query "VACUUM shop.log"
      end)
      local run = backup("conflict", { host = hosts,
        dump = 'prefer = "standby", jobs = 1, throttle = "300KiB"' })
      scope:join()
      assert.matches("the standby canceled the dump, .*: beginning anew", run.stderr)
    end)

    it("goes on when it is promoted in the middle", function()
      local scope <close> = require("moonkeep.core.task").scope()
      scope:spawn(function()
        rows_are_read()
        standby.promote()
      end)
      local _, _, manifest = backup("promoted", { host = standby.folder,
        dump = 'jobs = 1, throttle = "1MiB"' })
      scope:join()
      assert.equal(5, #manifest.tables) -- a standby has no rows of unlogged tables
    end)
  end)
end)
