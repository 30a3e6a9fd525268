-- Comparing: a restored database is the same as its source and as its backup; whatever is changed in it
-- is named.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

local ROUNDS = support.rounds("single changes of a restored database", 20, 100)
local N_TABLES = 6

-- A text with the number of a table in place of N.
local function number(text, n)
  return (text:gsub("(%l)N%f[%W]", "%1" .. n):gsub("%f[%w]N%f[%W]", n))
end

local function table_sql(i)
  return number([[
    CREATE TABLE tN (id int PRIMARY KEY, a text NOT NULL, n numeric DEFAULT 7 CHECK (n > 0),
      at timestamptz, j jsonb, kind mood, parent int);
    INSERT INTO tN SELECT i, 'row ' || i, i / 7.0 + 1,
      '2026-01-01 UTC'::timestamptz + i * interval '1 h', jsonb_build_object('i', i), 'calm', i
      FROM generate_series(1, 200) i;
    CREATE INDEX tN_a_idx ON tN (a);
    ALTER TABLE tN ADD CONSTRAINT tN_parent FOREIGN KEY (parent) REFERENCES tN;
    CREATE SEQUENCE sN START 10; SELECT nextval('sN');
    CREATE VIEW vN AS SELECT id, a FROM tN WHERE id > N;
    CREATE FUNCTION fN() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER trN BEFORE UPDATE ON tN FOR EACH ROW EXECUTE FUNCTION fN();
    CREATE STATISTICS stN ON id, parent FROM tN;
    COMMENT ON TABLE tN IS 'table N';
    GRANT SELECT ON tN TO reader;
    ALTER TABLE tN ENABLE ROW LEVEL SECURITY;
    CREATE POLICY pN ON tN TO reader USING (id < 100);
    SELECT lo_from_bytea(9000 + N, 'object N');]], i)
end

-- What is changed (M is the database, N the number of a table, K a key), and what must be named.
local CHANGES = {
  { "UPDATE tN SET a = a || '!' WHERE id = K", "public%.tN" },
  { "UPDATE tN SET n = n + 0.001 WHERE id = K", "public%.tN" },
  { "UPDATE tN SET at = at + interval '1 us' WHERE id = K", "public%.tN" },
  { "DELETE FROM tN WHERE id = K", "public%.tN" },
  { "INSERT INTO tN VALUES (1000 + K, 'new')", "public%.tN" },
  { "SELECT setval('sN', 100 + K)", "SEQUENCE SET public%.sN" },
  { "ALTER SEQUENCE sN INCREMENT 2", "SEQUENCE public%.sN" },
  { "DROP INDEX tN_a_idx", "INDEX public%.tN_a_idx" },
  { "CREATE INDEX added ON tN (n)", "INDEX public%.added" },
  { "ALTER TABLE tN DROP CONSTRAINT tN_n_check", "tN" },
  { "ALTER TABLE tN DROP CONSTRAINT tN_parent", "FK CONSTRAINT public%.tN tN_parent" },
  { "ALTER TABLE tN DROP CONSTRAINT tN_parent, ADD CONSTRAINT tN_parent FOREIGN KEY (parent) " ..
    "REFERENCES tN NOT VALID", "FK CONSTRAINT public%.tN tN_parent" },
  { "ALTER TABLE tN ALTER a DROP NOT NULL", "TABLE public%.tN" },
  { "ALTER TABLE tN ALTER n SET DEFAULT 8", "tN" },
  { "ALTER TABLE tN ADD extra int", "TABLE public%.tN" },
  { "ALTER TABLE tN ALTER a SET STORAGE EXTERNAL", "TABLE public%.tN" },
  { "ALTER TABLE tN SET (fillfactor = 77)", "TABLE public%.tN" },
  { "ALTER TABLE tN REPLICA IDENTITY FULL", "TABLE public%.tN" },
  { "COMMENT ON TABLE tN IS 'changed'", "COMMENT public%.TABLE tN" },
  { "GRANT UPDATE ON tN TO reader", "ACL public%.TABLE tN" },
  { "REVOKE SELECT ON tN FROM reader", "ACL public%.TABLE tN" },
  { "ALTER TABLE tN OWNER TO reader", "TABLE public%.tN" },
  { "ALTER TABLE tN DISABLE TRIGGER trN", "TRIGGER public%.tN trN" },
  { "DROP TRIGGER trN ON tN", "TRIGGER public%.tN trN" },
  { "CREATE OR REPLACE VIEW vN AS SELECT id, a FROM tN WHERE id > 77", "VIEW public%.vN" },
  { "CREATE OR REPLACE FUNCTION fN() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
    "FUNCTION public%.fN" },
  { "DROP POLICY pN ON tN", "POLICY public%.tN pN" },
  { "ALTER TABLE tN DISABLE ROW LEVEL SECURITY", "ROW SECURITY public%.tN" },
  { "DROP STATISTICS stN", "STATISTICS public%.stN" },
  { "SELECT lo_put(9000 + N, 3, 'X')", "large objects" },
  { "SELECT lo_unlink(9000 + N)", "large objects" },
  { "ALTER LARGE OBJECT 900N OWNER TO reader", "BLOB" },
  { "ALTER TYPE mood ADD VALUE 'wild'", "TYPE public%.mood" },
  { "ALTER DATABASE M SET work_mem = '9MB'", "setting" },
  { "ALTER ROLE reader IN DATABASE M SET work_mem = '9MB'", "setting" },
  { "ALTER DATABASE M CONNECTION LIMIT 9", "connection_limit" },
  { "COMMENT ON DATABASE M IS 'mine'", "comment" },
  { "GRANT CREATE ON DATABASE M TO reader", "grant" },
  { "DROP EXTENSION tablefunc", "EXTENSION tablefunc" },
}

describe("a comparison", function()
  local here, there, dir

  setup(function()
    here, there = mk.pg.scratch(), mk.pg.scratch()
    dir = mk.fs.tempdir()
    for _, cluster in ipairs { here, there } do
      local admin <close> = cluster:database("postgres"):connect()
      admin:query "CREATE ROLE reader"
    end
    local c <close> = here:create_database("app"):connect()
    c:query "CREATE TYPE mood AS ENUM ('calm', 'cross'); CREATE EXTENSION tablefunc"
    for i = 1, N_TABLES do
      c:query(table_sql(i))
    end
    c:query [[CREATE TABLE parts (id int, v text) PARTITION BY HASH (id);
      CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
      CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
      INSERT INTO parts SELECT i, 'v' || i FROM generate_series(1, 100) i]]
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "n", dump = {}, verify = "stored",
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("disk", "file://%s/store") },
        run = function(ctx)
          ctx:restore(ctx:backup(), { into = mk.pg { host = %q, user = "postgres" },
            database = "restored" })
        end }]]):format(here.folder, dir.path, there.folder))
    assert.equal(0, run.code, run.stderr)
  end)
  teardown(function()
    here:close()
    there:close()
    dir:close()
  end)

  local function connection(cluster, name)
    return ("host=%s user=postgres dbname=%s"):format(cluster.folder, name)
  end

  local function compare(first, second, ...)
    return support.start(dir.path, { "compare", first, second, "--from", "file://" .. dir.path ..
      "/store", ... }):finish()
  end

  -- Backs app up, into a store of that name.
  local function backup(name, dump)
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = %q, dump = { %s }, verify = "stored",
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("disk", "file://%s/%s") } }]]):format(name, dump, here.folder, dir.path,
      name))
    assert.equal(0, run.code, run.stderr)
  end

  it("finds a restored database the same as its source, and as its backup", function()
    for _, first in ipairs { connection(here, "app"), "latest" } do
      local run = compare(first, connection(there, "restored"))
      assert.equal(0, run.code, run.stdout .. run.stderr)
      assert.matches("is the same as .*: %d+ objects, 1300 rows of 7 tables", run.stdout)
    end
  end)

  it("is of no use with a stream of pg_dump's, and says what to do", function()
    backup("streams", 'format = "custom"')
    local run = support.start(dir.path, { "compare", "latest", connection(here, "app"), "--from",
      "file://" .. dir.path .. "/streams" }):finish()
    assert.equal(1, run.code)
    assert.matches("does not say what rows it has", run.stderr)
    assert.matches("restore it, and compare the database", run.stderr)
  end)

  it("names the first keys that differ", function()
    local admin <close> = there:database("postgres"):connect()
    admin:query "CREATE DATABASE keyed TEMPLATE restored"
    local c <close> = there:database("keyed"):connect()
    c:query [[UPDATE t1 SET a = 'x' WHERE id = 5; DELETE FROM t1 WHERE id = 7;
      INSERT INTO t1 VALUES (777, 'y')]]
    local run = compare(connection(here, "app"), connection(there, "keyed"))
    assert.equal(1, run.code)
    assert.matches("rows public.t1: the same number of rows %(200%), but other values %(first: " ..
      "%(5%) differs; %(7%) is missing in the second; %(777%) is only in the second%)", run.stdout)
    assert.matches("DIFFERENT .*: 1 difference\n", run.stdout)
  end)

  it("sees that only one of the two has rows, and tells names with dots apart", function()
    local admin <close> = there:database("postgres"):connect()
    admin:query "CREATE DATABASE dotted TEMPLATE restored"
    local c <close> = there:database("dotted"):connect()
    local tables = [[CREATE SCHEMA "a.b"; CREATE SCHEMA a; CREATE TABLE "a.b".c (i int);
      CREATE TABLE a."b.c" (i int);]]
    c:query(tables .. [[INSERT INTO "a.b".c VALUES (1); INSERT INTO a."b.c" VALUES (2)]])
    admin:query "CREATE DATABASE other TEMPLATE restored"
    local d <close> = there:database("other"):connect()
    d:query(tables .. [[INSERT INTO "a.b".c VALUES (2); INSERT INTO a."b.c" VALUES (1)]])
    local run = compare(connection(there, "dotted"), connection(there, "other"))
    assert.matches('rows "a"."b.c": the same number', run.stdout)
    assert.matches('rows "a.b"."c": the same number', run.stdout)
    backup("less", 'exclude_table_data = "t1"')
    run = support.start(dir.path, { "compare", "latest", connection(here, "app"), "--from",
      "file://" .. dir.path .. "/less" }):finish()
    assert.equal(1, run.code)
    assert.matches("rows public.t1: the first has none of its rows\n$", run.stdout)
  end)

  it("sees the attributes of roles", function()
    local admin <close> = there:database("postgres"):connect()
    admin:query "ALTER ROLE reader CREATEDB VALID UNTIL '2030-01-01'"
    local run = compare(connection(here, "app"), connection(there, "restored"))
    admin:query "ALTER ROLE reader NOCREATEDB VALID UNTIL 'infinity'"
    assert.equal(1, run.code)
    assert.matches("role reader: valid_until is not set, in the second 2030", run.stdout)
    assert.matches("role reader: createdb is false, in the second true", run.stdout)
  end)

  it("names whatever single thing was changed", function()
    local seed = tonumber(os.getenv "MOONKEEP_SEED") or os.time()
    math.randomseed(seed)
    local admin <close> = there:database("postgres"):connect()
    for round = 1, ROUNDS do
      local change = CHANGES[(round - 1) % #CHANGES + 1]
      local n, k = tostring(math.random(N_TABLES)), tostring(math.random(200))
      local function fill(text)
        return number(text:gsub("%f[%w]M%f[%W]", "changed"):gsub("%f[%w]K%f[%W]", k), n)
      end
      admin:query "DROP DATABASE IF EXISTS changed WITH (FORCE)"
      admin:query "CREATE DATABASE changed TEMPLATE restored"
      do
        local c <close> = there:database("changed"):connect()
        c:query(fill(change[1]))
      end
      local run = compare(connection(here, "app"), connection(there, "changed"), "--json")
      local told = json.decode(run.stdout)
      local names = {}
      for i, difference in ipairs(told.differences) do
        names[i] = difference.name
      end
      local all = table.concat(names, "\n")
      assert.is_true(run.code == 1 and all:find(fill(change[2])) ~= nil,
        ("seed %d: %s: %s"):format(seed, fill(change[1]), all))
    end
  end)
end)
