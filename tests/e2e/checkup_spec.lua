-- moonkeep checkup: what a database has, how recent it is, and what in it is not sound.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

describe("moonkeep checkup", function()
  local cluster, dir

  setup(function()
    cluster, dir = mk.pg.scratch(), mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query [[
      CREATE TABLE scan_runs (id serial PRIMARY KEY, updated_at timestamptz, created_at timestamptz);
      INSERT INTO scan_runs (created_at) SELECT '2026-11-01 02:00+00'::timestamptz + i * interval '1 day'
        FROM generate_series(0, 9) i;
      CREATE TABLE findings (id int PRIMARY KEY, detected_at date);
      INSERT INTO findings VALUES (1, '2026-11-20'), (2, '2026-11-02');
      CREATE TABLE parts (i int) PARTITION BY RANGE (i);
      CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
      INSERT INTO parts VALUES (1), (2);
      CREATE TABLE "no Time" (at text)]]
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "n", verify = "stored", upload = { mk.store("disk", "file://%s/store") },
        source = mk.pg { host = %q, user = "postgres", dbname = "app" } }]]):format(dir.path,
      cluster.folder))
    assert.equal(0, run.code, run.stderr)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function connection(name)
    return ("host=%s user=postgres dbname=%s"):format(cluster.folder, name)
  end

  local function checkup(name, ...)
    return support.start(dir.path, { "checkup", connection(name), ... }):finish()
  end

  local function copy(name, sql)
    do
      local c <close> = cluster:database("postgres"):connect()
      c:query(("CREATE DATABASE %s TEMPLATE app"):format(name))
    end
    local c <close> = cluster:database(name):connect()
    c:query(sql)
  end

  it("counts rows and finds the latest, and compares with a backup when it is told one", function()
    local run = checkup("app", "--json")
    assert.equal(0, run.code, run.stderr)
    local report, latest = json.decode(run.stdout), {}
    for _, t in ipairs(report.tables) do
      latest[t.name] = { t.rows, t.latest }
    end
    assert.same({ scan_runs = { 10, "2026-11-10 02:00:00+00" }, findings = { 2, "2026-11-20" },
      parts = { 2 }, ["no Time"] = { 0 } }, latest)
    run = checkup("app", "--backup", "latest", "--from", "file://" .. dir.path .. "/store")
    assert.equal(0, run.code, run.stderr)
    assert.matches("ROWS  BACKUP  LATEST +TABLE\n", run.stdout)
    assert.matches("10 +same  2026%-11%-10 02:00:00%+00  public.scan_runs", run.stdout)
    assert.matches("OK  app on .*: 4 tables, 14 rows", run.stdout)
  end)

  it("names what is not there, and what is not sound, with what to do", function()
    copy("lost", [[DELETE FROM scan_runs WHERE id = 3; DROP TABLE findings;
      SELECT setval('scan_runs_id_seq', 5);
      CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
      CREATE TRIGGER quiet BEFORE INSERT ON scan_runs FOR EACH ROW EXECUTE FUNCTION f();
      ALTER TABLE scan_runs DISABLE TRIGGER quiet;
      ALTER TABLE scan_runs ADD CONSTRAINT positive CHECK (id > 0) NOT VALID;
      CREATE MATERIALIZED VIEW m AS SELECT 1 WITH NO DATA;
      UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'scan_runs_pkey'::regclass]])
    local run = checkup("lost", "--backup", "latest", "--from", "file://" .. dir.path .. "/store",
      "--json")
    assert.equal(1, run.code)
    assert.same({ "index public.scan_runs_pkey is not valid: REINDEX INDEX public.scan_runs_pkey",
      "constraint positive of public.scan_runs has not been checked: ALTER TABLE public.scan_runs " ..
        "VALIDATE CONSTRAINT positive", "trigger quiet of public.scan_runs is off",
      "materialized view public.m has no rows: REFRESH MATERIALIZED VIEW public.m",
      "sequence public.scan_runs_id_seq gives 6 next, but public.scan_runs.id has 10: " ..
        "SELECT setval('public.scan_runs_id_seq', 10)",
      "public.scan_runs has 9 rows, the backup has 10",
      "public.findings is missing, of which the backup has 2 rows" }, json.decode(run.stdout).problems)
    run = checkup "lost"
    assert.equal(1, run.code)
    assert.matches("problem  trigger quiet", run.stdout)
    assert.matches("NOT OK  lost on .*, 5 problems", run.stdout)
  end)

  it("ends the recovery drill, which says how long it took and how recent the rows are", function()
    local run = support.start(dir.path, { "run", "recipes/recovery-drill.lua", "-s",
      "store=" .. dir.path .. "/store", "-s", "job=n" }):finish()
    assert.equal(0, run.code, run.stderr)
    assert.matches("public.scan_runs: 10 rows, the latest of 2026%-11%-10 02:00:00%+00", run.stdout)
    assert.matches("restores: 14 rows of 4 tables, in 0%.%d minutes", run.stdout)
    -- and that is known of the backup from then on
    run = support.start(dir.path, { "list", "--from", dir.path .. "/store", "--json" }):finish()
    assert.equal("checked", json.decode(run.stdout).backups[1].proof)
  end)

  it("proves no more than it has done: a part is nothing, a check that fails no check", function()
    local function proof_after(body)
      mk.process.run { argv = { "sh", "-c", 'rm -f "$0"/n/*/*.proof-checked "$0"/n/*/*.proof-restored',
        dir.path .. "/store" } }
      support.run_recipe(dir.path, ([[
        local mk = require "moonkeep"
        return mk.task { name = "drill", run = function(ctx)
          local backup = mk.store("store", "file://%s/store"):latest("n", "app")
          local server <close> = mk.pg.scratch()
          local into = { into = server:database "postgres", no_owner = true, no_privileges = true,
            no_tablespaces = true, database = "drill" }
          %s
        end }]]):format(dir.path, body))
      local done = support.start(dir.path, { "list", "--from", dir.path .. "/store", "--json" }):finish()
      return json.decode(done.stdout).backups[1].proof
    end
    assert.equal("restored", proof_after "ctx:restore(backup, into)")
    assert.equal("checked", proof_after [[ctx:restore(backup, into) ctx:check("one", 1, "==", 1)]])
    assert.equal("restored", proof_after [[ctx:check("one", 1, "==", 1) ctx:restore(backup, into)]])
    local before = proof_after ""
    assert.equal("restored", proof_after [[ctx:restore(backup, into) ctx:check("one", 1, "==", 2)]])
    assert.equal(before, proof_after [[into.schema_only = true ctx:restore(backup, into)]])
  end)

  it("counts what inherits by itself, and takes a sequence that was set back for what it is", function()
    copy("inherits", [[CREATE TABLE child () INHERITS (findings); INSERT INTO child VALUES (3);
      SELECT setval('scan_runs_id_seq', 11, false)]])
    local run = checkup("inherits", "--json")
    assert.equal(0, run.code, run.stdout)
    assert.equal(15, json.decode(run.stdout).rows)
  end)

  it("says which table it may not count, and compares with no stream", function()
    do
      local c <close> = cluster:database("app"):connect()
      c:query "CREATE ROLE looker LOGIN; GRANT SELECT ON findings TO looker"
    end
    local run = support.start(dir.path, { "checkup", ("host=%s user=looker dbname=app"):format(
      cluster.folder) }):finish()
    assert.equal(1, run.code)
    assert.matches("public.scan_runs cannot be counted: .*permission denied", run.stdout)
    local made = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "stream", verify = "stored", dump = { format = "custom" },
        upload = { mk.store("disk", "file://%s/store") },
        source = mk.pg { host = %q, user = "postgres", dbname = "app" } }]]):format(dir.path,
      cluster.folder))
    assert.equal(0, made.code, made.stderr)
    run = checkup("app", "--backup", "latest", "--job", "stream", "--from", "file://" .. dir.path ..
      "/store")
    assert.matches("does not say what rows it has", run.stderr)
  end)

  it("is a verb of recipes, which fails their run", function()
    local function run(name)
      return support.run_recipe(dir.path, ([[
        local mk = require "moonkeep"
        return mk.task { name = "drill", run = function(ctx)
          local source = mk.pg { host = %q, user = "postgres", dbname = %q }
          local report = ctx:checkup(source, { jobs = 3 })
          ctx:show("%%d rows", report.rows)
        end }]]):format(cluster.folder, name))
    end
    local good = run "app"
    assert.equal(0, good.code, good.stderr)
    assert.equal("14 rows\n", good.stdout)
    copy("bad", "ALTER TABLE scan_runs ADD CONSTRAINT positive CHECK (id > 0) NOT VALID")
    local bad = run "bad"
    assert.equal("CHECK_FAILED", bad.result.error.code)
    assert.matches("constraint positive", bad.result.error.detail)
  end)
end)
