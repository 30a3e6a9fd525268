-- A restore that was interrupted, whenever that is, goes on and makes the same database.
local clock = require "moonkeep.clock"
local fingerprint = require "fingerprint"
local mk = require "moonkeep"
local support = require "support"

local MOMENTS = support.rounds("kills before a restore goes on", 6, 50)

-- Something of every step that comes after the rows.
local SCHEMA = [[
  CREATE TABLE one AS SELECT i, md5(i::text) AS a FROM generate_series(1, 200000) i;
  CREATE TABLE two AS SELECT i, md5(i::text) AS a FROM generate_series(1, 100000) i;
  CREATE TABLE parts (i int, a text) PARTITION BY RANGE (i);
  CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (10000);
  CREATE TABLE part_2 PARTITION OF parts FOR VALUES FROM (10000) TO (20000);
  INSERT INTO parts SELECT i, 'x' FROM generate_series(0, 19999) i;
  ALTER TABLE parts ADD PRIMARY KEY (i);
  ALTER TABLE one ADD PRIMARY KEY (i);
  CREATE INDEX ON one (a);
  CREATE INDEX ON two (a);
  CREATE UNIQUE INDEX two_unique ON two (i, a);
  ALTER TABLE two ADD FOREIGN KEY (i) REFERENCES one;
  ALTER TABLE one ADD CONSTRAINT positive CHECK (i > 0) NOT VALID;
  CREATE TABLE child (i int REFERENCES parts);
  CREATE STATISTICS both_columns ON i, a FROM two;
  CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
  CREATE TRIGGER t BEFORE INSERT ON one FOR EACH ROW EXECUTE FUNCTION quiet();
  CREATE RULE r AS ON DELETE TO two DO INSTEAD NOTHING;
  ALTER TABLE two ENABLE ROW LEVEL SECURITY;
  CREATE POLICY p ON two USING (i > 10);
  CREATE PUBLICATION pub FOR TABLE one;
  CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM one;
  CREATE MATERIALIZED VIEW late AS
    SELECT 1 / (SELECT count(*) FROM pg_roles WHERE rolname = 'present');
  CREATE SEQUENCE s START 77;
  CREATE UNLOGGED TABLE unlogged AS SELECT i FROM generate_series(1, 1000) i;
  GRANT SELECT ON one TO reader WITH GRANT OPTION;
  GRANT SELECT (i) ON two TO reader;
  COMMENT ON INDEX two_unique IS 'of both';
  CREATE FUNCTION heard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
  CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION heard();
  SELECT lo_from_bytea(4711, 'a large object')]]

describe("a restore that was interrupted", function()
  local cluster, dir, store

  setup(function()
    cluster = mk.pg.scratch { settings = { max_connections = "60" } }
    dir = mk.fs.tempdir()
    do
      local c <close> = cluster:database("postgres"):connect()
      c:query "CREATE ROLE reader; CREATE ROLE owner; CREATE ROLE present"
    end
    local c <close> = cluster:create_database("app"):connect()
    c:query(SCHEMA)
    c:query "ALTER TABLE one OWNER TO owner; ALTER STATISTICS both_columns OWNER TO owner"
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "n", dump = {}, compress = "none", verify = "stored",
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("disk", "file://%s/store") } }]]):format(cluster.folder, dir.path))
    assert.equal(0, run.code, run.stderr)
    store = dir.path .. "/store"
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function connection(name)
    return ("host=%s user=postgres dbname=%s"):format(cluster.folder, name)
  end

  local function start(target, ...)
    return support.start(dir.path, { "restore", "latest", "--from", "file://" .. store, "--into",
      ("host=%s user=postgres"):format(cluster.folder), "--database", target, ... })
  end

  local function admin()
    return cluster:database("postgres"):connect()
  end

  local function databases(like)
    local c <close> = admin()
    return c:value("SELECT count(*) FROM pg_database WHERE datname LIKE $1", like)
  end

  local function drop(target)
    local c <close> = admin()
    c:query("DROP DATABASE " .. target)
  end

  -- Rows by the tests' own oracle, all else by `compare`.
  local function is_the_same(target)
    local n, differences = fingerprint.compare(fingerprint.of(cluster:database("app")),
      fingerprint.of(cluster:database(target)))
    assert.equal(5, n, table.concat(n and {} or differences, "\n"))
    local run = support.start(dir.path, { "compare", connection "app", connection(target) }):finish()
    assert.equal(0, run.code, run.stdout .. run.stderr)
    local c <close> = cluster:database(target):connect()
    assert.is_nil(c:value "SELECT to_regnamespace('moonkeep_restore')")
    assert.is_nil(c:value [[SELECT shobj_description(oid, 'pg_database') FROM pg_database
      WHERE datname = current_database()]])
  end

  -- The worker, which could clean up if it were told to end.
  local function kill(run)
    pcall(function()
      mk.process.run { argv = { "kill", "-KILL", tostring(run:worker_pid()) } }
    end)
    return run:finish()
  end

  local function work(target)
    local c <close> = admin()
    return c:value([[SELECT max(datname) FROM pg_database
      WHERE datname LIKE $1 || '_restoring_%']], target)
  end

  it("by kill -9 at any moment goes on to the same database", function()
    local began = clock.monotonic()
    local whole = start("whole"):finish()
    assert.equal(0, whole.code, whole.stderr)
    local duration = clock.monotonic() - began
    local gone_on = 0
    for moment = 1, MOMENTS do
      local run = start "killed"
      mk.sleep(("%dms"):format(duration * moment // MOMENTS))
      kill(run)
      if work "killed" or databases "killed" == 0 then
        local again = start("killed", "--resume"):finish()
        assert.equal(0, again.code, again.stderr)
        gone_on = gone_on + (again.stderr:find "going on with" and 1 or 0)
      end
      is_the_same "killed"
      drop "killed"
    end
    local last = start("killed"):finish()
    assert.equal(0, last.code, last.stderr)
    assert.equal(1, databases "killed%") -- also of those that were killed while they were created
    assert.is_true(MOMENTS < 5 or gone_on > MOMENTS // 4, ("only %d went on"):format(gone_on))
  end)

  -- Fails at the last materialized view.
  local function fails_late(target)
    local c <close> = admin()
    c:query "ALTER ROLE present RENAME TO absent"
    local run = start(target, "--resume"):finish()
    c:query "ALTER ROLE absent RENAME TO present"
    assert.equal(1, run.code, run.stderr)
    assert.matches("division by zero", run.result.error.detail)
    assert.matches("is kept as " .. target .. "_restoring_%x+: the same restore, of %S+, with resume",
      run.stderr)
  end

  local function oid_of(database, relation)
    local c <close> = cluster:database(database):connect()
    return c:value("SELECT $1::regclass::oid", relation)
  end

  it("by an error keeps what it has, when it is asked to, and builds no index again", function()
    fails_late "late"
    local before = oid_of(work "late", "two_unique")
    local again = start("late", "--resume"):finish()
    assert.equal(0, again.code, again.stderr)
    assert.matches("4 of 4 objects had been loaded before", again.stderr)
    assert.equal(before, oid_of("late", "two_unique"))
    is_the_same "late"
  end)

  it("is gone on with only by the same restore of the same backup", function()
    fails_late "other"
    local run = start("another", "--set=schema_only=true"):finish()
    assert.equal(0, run.code, run.stderr)
    assert.truthy(work "other") -- of another target, and kept
    run = start("other", "--resume", "--set=no_comments=true"):finish()
    assert.equal("INTERRUPTED", run.result.error.code)
    assert.matches("without resume, which drops it", run.result.error.hint)
    run = start("other", "--set=no_comments=true"):finish()
    assert.equal(0, run.code, run.stderr)
    assert.matches("dropping other_restoring_", run.stderr)
    assert.equal(1, databases "other%")
  end)

  it("is not gone on with twice at once", function()
    fails_late "twice"
    local name = work "twice"
    local c <close> = admin()
    c:query("SELECT pg_advisory_lock(x'6d6b'::int, hashtext($1))", name)
    local run = start("twice", "--resume"):finish()
    assert.equal(1, run.code)
    assert.equal("BUSY", run.result.error.code)
    assert.equal(name, work "twice")
  end)

  it("at its event triggers goes on with those, unless unlogged tables were emptied since", function()
    local c <close> = admin()
    for round, ends in ipairs { "going on with", "beginning anew.*empties unlogged" } do
      local name = "triggered" .. round
      fails_late(name)
      local database = work(name)
      local mark = c:value([[SELECT shobj_description(oid, 'pg_database') FROM pg_database
        WHERE datname = $1]], database)
      local again = start(name, "--resume"):finish()
      assert.equal(0, again.code, again.stderr)
      do -- as if it had been killed in that step
        local inside <close> = cluster:database(name):connect()
        inside:query "DROP EVENT TRIGGER e"
        if round == 1 then -- its notes were still there
          inside:query "CREATE SCHEMA moonkeep_restore CREATE TABLE progress (done text)"
        else
          inside:query "TRUNCATE unlogged"
        end
      end
      c:query(("ALTER DATABASE %s RENAME TO %s"):format(name, database))
      c:query(("COMMENT ON DATABASE %s IS '%s'"):format(database, (mark:gsub("loading", "triggers"))))
      again = start(name, "--resume"):finish()
      assert.equal(0, again.code, again.stderr)
      assert.matches(ends, again.stderr)
      is_the_same(name)
    end
  end)

  -- Kills the backend that loads the rows of a table, which the server answers by starting anew.
  local function crash(run, target)
    do
      local c <close> = admin()
      local pid = support.eventually("rows are loaded", function()
        return c:value([[SELECT pid FROM pg_stat_activity WHERE datname LIKE $1 || '_restoring_%'
          AND query ~ '^(COPY|TRUNCATE)' LIMIT 1]], target)
      end)
      mk.process.run { argv = { "kill", "-KILL", tostring(pid) } }
    end
    run:finish()
    assert.equal("PG_CONNECTION_LOST", run.result.error.code)
    support.eventually("the server is up", function() return pcall(databases, "x") end)
    local c <close> = cluster:database("app"):connect()
    c:query "INSERT INTO unlogged SELECT i FROM generate_series(1, 1000) i"
  end

  it("by a crash of the server goes on, unless that has emptied unlogged tables", function()
    crash(start("crashed", "--resume", "--set=table=one", "--set=table=two"), "crashed")
    local again = start("crashed", "--resume", "--set=table=one", "--set=table=two"):finish()
    assert.equal(0, again.code, again.stderr)
    assert.matches("going on with", again.stderr)
    crash(start("emptied", "--resume"), "emptied")
    again = start("emptied", "--resume"):finish()
    assert.equal(0, again.code, again.stderr)
    assert.matches("beginning anew.*the server crashed since, which empties unlogged", again.stderr)
    is_the_same "emptied"
  end)

  it("by a restart of the server goes on, also with unlogged tables", function()
    local other <close> = support.standby(cluster)
    other.promote()
    local function into_other()
      return support.start(dir.path, { "restore", "latest", "--from", "file://" .. store, "--into",
        ("host=%s user=postgres"):format(other.folder), "--database", "moved", "--resume" })
    end
    local run = into_other()
    support.eventually("rows are loaded", function()
      local c <close> = other.source:connect()
      return c:value [[SELECT pid FROM pg_stat_activity WHERE datname LIKE 'moved_restoring_%'
        AND query ~ '^(COPY|TRUNCATE)' LIMIT 1]]
    end)
    other.restart()
    run:finish()
    assert.equal(1, run.code)
    assert.equal("PG_CONNECTION_LOST", run.result.error.code)
    local again = into_other():finish()
    assert.equal(0, again.code, again.stderr)
    assert.matches("going on with", again.stderr)
    local n, differences = fingerprint.compare(fingerprint.of(cluster:database "app"),
      fingerprint.of(other.source:with { dbname = "moved" }))
    assert.equal(5, n, table.concat(n and {} or differences, "\n"))
  end)

  it("when it only had to take the mark off the database is finished at once", function()
    fails_late "named"
    local c <close> = admin()
    local mark = c:value([[SELECT shobj_description(oid, 'pg_database') FROM pg_database
      WHERE datname = $1]], work "named")
    assert.equal(0, start("named", "--resume"):finish().code)
    c:query(("COMMENT ON DATABASE named IS '%s'"):format((mark:gsub("loading", "loaded"))))
    local run = start("named", "--resume"):finish()
    assert.equal(0, run.code, run.stderr)
    assert.matches("named had been restored whole when it was interrupted", run.stderr)
    is_the_same "named"
    run = start("named", "--resume"):finish()
    assert.equal("NOT_EMPTY", run.result.error.code)
  end)
end)
