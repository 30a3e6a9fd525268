-- Rows alone into tables that are there: order, truncate, triggers and foreign keys.
local fingerprint = require "fingerprint"
local mk = require "moonkeep"
local support = require "support"

describe("a restore of rows alone", function()
  local cluster, dir

  setup(function()
    cluster, dir = mk.pg.scratch(), mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    -- Names in the other order than the foreign keys want; two tables refer to each other.
    c:query [[
      CREATE TABLE z_parent (id int PRIMARY KEY, best int);
      CREATE TABLE "a child" (id int PRIMARY KEY, parent int NOT NULL REFERENCES z_parent, up int
        REFERENCES "a child");
      CREATE TABLE m_parts (id int, child int REFERENCES "a child") PARTITION BY RANGE (id);
      CREATE TABLE m_part_1 PARTITION OF m_parts FOR VALUES FROM (0) TO (50);
      CREATE TABLE m_part_2 PARTITION OF m_parts FOR VALUES FROM (50) TO (1000);
      CREATE TABLE log (what text);
      INSERT INTO z_parent SELECT i FROM generate_series(1, 100) i;
      INSERT INTO "a child" SELECT i, i, i % 7 + 1 FROM generate_series(1, 100) i;
      INSERT INTO m_parts SELECT i, i FROM generate_series(1, 100) i;
      CREATE FUNCTION heard() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO public.log VALUES (TG_NAME); RETURN NEW; END';
      CREATE TRIGGER heard AFTER INSERT ON "a child" FOR EACH STATEMENT EXECUTE FUNCTION heard();
      CREATE TRIGGER always AFTER INSERT ON "a child" FOR EACH STATEMENT EXECUTE FUNCTION heard();
      CREATE TRIGGER never AFTER INSERT ON "a child" FOR EACH STATEMENT EXECUTE FUNCTION heard();
      ALTER TABLE "a child" ENABLE ALWAYS TRIGGER always;
      ALTER TABLE "a child" DISABLE TRIGGER never]]
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      local source = mk.pg { host = %q, user = "postgres", dbname = "app" }
      local disk = mk.store("disk", "file://%s/store")
      return { mk.job { name = "n", dump = { exclude_table_data = "log" }, verify = "stored",
          source = source, upload = { disk } },
        mk.job { name = "stream", dump = { format = "custom" }, verify = "stored", source = source,
          upload = { disk } } }]]):format(cluster.folder, dir.path))
    assert.equal(0, run.code, run.stderr)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local n = 0

  -- A copy of the database to restore into, with its rows or without.
  local function copy(sql)
    n = n + 1
    local name = "copy" .. n
    do
      local c <close> = cluster:database("postgres"):connect()
      c:query(("CREATE DATABASE %s TEMPLATE app"):format(name))
    end
    local c <close> = cluster:database(name):connect()
    c:query(sql)
    return name
  end

  local function restore(name, ...)
    local argv = { "restore", "latest", "--from", "file://" .. dir.path .. "/store", "--job", "n",
      "--into", ("host=%s user=postgres"):format(cluster.folder), "-d", name, "--existing", "add",
      "--yes", name, "-s", "data_only=true" }
    for _, set in ipairs { ... } do
      argv[#argv + 1], argv[#argv + 2] = "-s", set
    end
    return support.start(dir.path, argv):finish()
  end

  local function value(name, sql)
    local c <close> = cluster:database(name):connect()
    return c:value(sql)
  end

  local function is_the_same(name)
    local same, differences = fingerprint.compare(fingerprint.of(cluster:database("app")),
      fingerprint.of(cluster:database(name)))
    assert.equal(4, same, table.concat(same and {} or differences, "\n"))
  end

  local EMPTY = [[TRUNCATE z_parent, "a child", m_parts, log]]
  local FOREIGN_KEYS = [[SELECT string_agg(conrelid::regclass || conname || pg_get_constraintdef(oid) ||
    convalidated, E'\n' ORDER BY conrelid::regclass::text, conname)
    FROM pg_constraint WHERE contype = 'f']]
  local TRIGGERS = [[SELECT string_agg(tgname || tgenabled::text, ' ' ORDER BY tgname)
    FROM pg_trigger WHERE NOT tgisinternal]]

  it("comes in the order that foreign keys want, also those of partitions", function()
    local name = copy(EMPTY)
    local run = restore(name, "disable_triggers=true")
    assert.equal(0, run.code, run.stderr)
    is_the_same(name)
  end)

  it("comes in that order also for some tables only, and when keys of others are deferred", function()
    local name = copy(EMPTY .. [[; CREATE TABLE log_of (id int PRIMARY KEY);
      INSERT INTO log_of SELECT generate_series(1, 100);
      ALTER TABLE "a child" ADD FOREIGN KEY (id) REFERENCES log_of DEFERRABLE INITIALLY DEFERRED]])
    local run = restore(name, "table=a child", "table=z_parent", "disable_triggers=true")
    assert.equal(0, run.code, run.stderr)
    assert.equal(100, value(name, [[SELECT count(*) FROM "a child"]]))
  end)

  it("fires triggers unless it is told not to, and leaves each as it was", function()
    local name = copy(EMPTY)
    local run = restore(name)
    assert.equal(0, run.code, run.stderr)
    assert.matches("3 triggers of the database will fire", run.stderr)
    assert.equal(2, value(name, "SELECT count(*) FROM log"))
    name = copy(EMPTY)
    run = restore(name, "disable_triggers=true")
    assert.equal(0, run.code, run.stderr)
    assert.equal(0, value(name, "SELECT count(*) FROM log"))
    assert.equal("alwaysA heardO neverD", value(name, TRIGGERS))
  end)

  it("empties tables first when it is asked to, in the transaction that fills them", function()
    local name = copy "DELETE FROM m_parts WHERE id > 10; UPDATE z_parent SET best = 1; TRUNCATE log"
    local run = restore(name)
    assert.equal("PG_DUPLICATE_KEY", run.result.error.fault)
    assert.matches("truncate = true", run.result.error.hint)
    run = restore(name, "truncate=true", "disable_triggers=true")
    assert.equal(0, run.code, run.stderr)
    is_the_same(name)
  end)

  it("says how a table that others refer to is emptied, and then does it", function()
    local name = copy "UPDATE z_parent SET best = 1; TRUNCATE log"
    local run = restore(name, "truncate=true", "table=z_parent")
    assert.equal("PG_TRUNCATE_REFERENCED", run.result.error.fault)
    local before = value(name, FOREIGN_KEYS)
    run = restore(name, "truncate=true", "table=z_parent", "foreign_keys=after")
    assert.equal(0, run.code, run.stderr)
    is_the_same(name)
    assert.equal(before, value(name, FOREIGN_KEYS))
  end)

  it("makes foreign keys again after all rows, so that tables may refer to each other", function()
    local name = copy([[ALTER TABLE z_parent ADD CONSTRAINT "the best" FOREIGN KEY (best)
        REFERENCES "a child" DEFERRABLE INITIALLY DEFERRED;
      COMMENT ON CONSTRAINT "the best" ON z_parent IS 'it''s here']] .. ";" .. EMPTY)
    local before = value(name, FOREIGN_KEYS)
    local run = restore(name, "foreign_keys=after", "disable_triggers=true")
    assert.equal(0, run.code, run.stderr)
    is_the_same(name)
    assert.equal(before, value(name, FOREIGN_KEYS))
    assert.equal("it's here", value(name, [[SELECT obj_description(oid, 'pg_constraint')
      FROM pg_constraint WHERE conname = 'the best']]))
  end)

  it("changes nothing when a foreign key does not hold in the end", function()
    local name = copy(EMPTY)
    local before = value(name, FOREIGN_KEYS)
    local run = restore(name, "table=a child", "foreign_keys=after", "disable_triggers=true")
    assert.equal("PG_FOREIGN_KEY", run.result.error.fault)
    assert.equal(0, value(name, [[SELECT count(*) FROM "a child"]]))
    assert.equal(before, value(name, FOREIGN_KEYS))
    assert.equal("alwaysA heardO neverD", value(name, TRIGGERS))
  end)

  it("refuses what it cannot do with a stream, or without a transaction", function()
    local function refusal(...)
      return support.start(dir.path, { "restore", "latest", "--from", "file://" .. dir.path .. "/store",
        "--into", ("host=%s user=postgres"):format(cluster.folder), "-d", "x", ... }):finish()
        .result.error.message
    end
    assert.matches("truncate is not possible with a stream", refusal("--job", "stream", "-s",
      "data_only=true", "-s", "truncate=true"))
    assert.matches("foreign_keys goes with data_only", refusal("--job", "n", "-s", "foreign_keys=after"))
    assert.matches("truncate needs one transaction", refusal("--job", "n", "-s", "data_only=true", "-s",
      "truncate=true", "-s", "on_error=continue"))
  end)
end)
