-- moonkeep cat: the rows of a table of a backup, as PostgreSQL itself would write them.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

describe("moonkeep cat", function()
  local cluster, dir, store

  setup(function()
    cluster, dir = mk.pg.scratch(), mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query [[
      CREATE TABLE "Odd ""t" (id int PRIMARY KEY, "a, ""b" text, n numeric);
      INSERT INTO "Odd ""t" VALUES (1, 'plain', 1.50), (2, NULL, NULL), (3, '', 0),
        (4, E'two\nlines', 4),
        (5, E'tab\there', 5), (6, 'back\slash', 6), (7, 'a,"q"', 7), (8, E'\r', 8), (9, '\.', 9),
        (10, 'ümläut', 10), (11, E'\b\f\v', 11), (12, '\N', 12);
      CREATE TABLE big AS SELECT i, md5(i::text) AS a FROM generate_series(1, 200000) i;
      CREATE TABLE parts (k int, v text, PRIMARY KEY (k)) PARTITION BY RANGE (k);
      CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
      CREATE TABLE part_2 PARTITION OF parts FOR VALUES FROM (10) TO (20) PARTITION BY LIST (k);
      CREATE TABLE part_2_1 PARTITION OF part_2 DEFAULT;
      INSERT INTO parts SELECT i, 'v' || i FROM generate_series(0, 19) i;
      CREATE TABLE "Sales (2023)" (id int PRIMARY KEY, n int);
      INSERT INTO "Sales (2023)" VALUES (42, 7), (43, 8);
      CREATE TABLE made (a int, id int GENERATED ALWAYS AS (a + 1) STORED PRIMARY KEY);
      INSERT INTO made VALUES (1), (2);
      CREATE SCHEMA other; CREATE TABLE other.big (x int); CREATE TABLE nothing ()]]
    for _, codec in ipairs { "none", "gzip", "zstd:1" } do
      local run = support.run_recipe(dir.path, ([[
        local mk = require "moonkeep"
        return mk.job { name = %q, dump = { range_size = "2MiB" }, compress = %q, verify = "stored",
          source = mk.pg { host = %q, user = "postgres", dbname = "app" },
          upload = { mk.store("disk", "file://%s/store") } }]]):format(codec:gsub(":", ""), codec,
        cluster.folder, dir.path))
      assert.equal(0, run.code, run.stderr)
    end
    store = dir.path .. "/store"
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function cat(job, ...)
    return support.start(dir.path, { "cat", "latest", "--from", "file://" .. store, "--job", job, ... })
      :finish()
  end

  local function psql(sql)
    local path = dir.path .. "/psql"
    mk.process.run { argv = { "psql", "-X", "-h", cluster.folder, "-U", "postgres", "-d", "app", "-o",
      path, "-c", sql } }
    return mk.fs.read(path)
  end

  it("writes the text that COPY writes, of one file, of a pack and of ranges", function()
    for _, job in ipairs { "none", "gzip", "zstd1" } do
      local run = cat(job, 'Odd "t')
      assert.equal(0, run.code, run.stderr)
      assert.equal(psql [[COPY "Odd ""t" TO STDOUT]], run.stdout)
      run = cat(job, "public.big")
      assert.equal(0, run.code, run.stderr)
      assert.is_true(psql "COPY public.big TO STDOUT" == run.stdout)
    end
  end)

  it("writes the CSV that COPY writes", function()
    local run = cat("zstd1", 'Odd "t', "--csv")
    local expected = psql [[COPY "Odd ""t" TO STDOUT (FORMAT csv, HEADER)]]
    assert.equal(expected, run.stdout)
    assert.is_true(psql "COPY big TO STDOUT CSV HEADER" ==
      cat("zstd1", "public.big", "--csv").stdout)
  end)

  it("finds rows by their key, or by any column", function()
    assert.equal("4\ttwo\\nlines\t4\n", cat("zstd1", 'Odd "t', "--where-key", "4").stdout)
    assert.equal("4\ttwo\\nlines\t4\n", cat("zstd1", 'Odd "t', "--where-key", 'a, "b=two\nlines').stdout)
    assert.equal("", cat("zstd1", 'Odd "t', "--where-key", "4", "--where-key", "n=5").stdout)
    assert.equal("3\t\t0\n", cat("zstd1", 'Odd "t', "--where-key", 'a, "b=').stdout)
    assert.equal("42\t7\n", cat("zstd1", "Sales (2023)", "--where-key", "42").stdout)
    local run = cat("none", "public.big", "--where-key", "i=4711")
    assert.equal(psql "COPY (SELECT * FROM big WHERE i = 4711) TO STDOUT", run.stdout)
  end)

  it("writes the rows of all partitions of a table, and finds them", function()
    local run = cat("zstd1", "parts")
    assert.equal(0, run.code, run.stderr)
    local _, n = run.stdout:gsub("\n", "")
    assert.equal(20, n)
    assert.equal("15\tv15\n", cat("zstd1", "parts", "--where-key", "15").stdout)
    _, n = cat("zstd1", "part_2").stdout:gsub("\n", "")
    assert.equal(10, n)
  end)

  it("writes nothing of a table that has nothing", function()
    assert.equal("", cat("zstd1", "nothing").stdout)
    assert.equal("x\n", cat("zstd1", "other.big", "--csv").stdout)
  end)

  it("says which table or column there is, when the one that is asked for is not", function()
    local function said(...)
      local run = cat("zstd1", ...)
      assert.is_true(run.code > 0)
      assert.equal("", run.stdout)
      return run.stderr
    end
    assert.matches('no table "bgi".*did you mean', said "bgi")
    assert.matches("several tables.*other%.big, public%.big", said "big")
    assert.matches('no column "j".*it has i, a', said("public.big", "--where-key", "j=1"))
    assert.matches('no column "emial"', said("Sales (2023)", "--where-key", "emial=x"))
    assert.matches("it is generated", said("made", "--where-key", "2"))
    assert.matches("no primary key of one column.*COLUMN=7", said("public.big", "--where-key", "7"))
  end)

  it("tells of damage, after what it has written", function()
    local id = support.start(dir.path, { "list", "--from", "file://" .. store, "--job", "none",
      "--json" }):finish()
    id = json.decode(id.stdout).backups[1].id
    local folder = ("%s/none/app/%s"):format(store, id)
    local manifest = json.decode(mk.fs.read(folder .. ".json"))
    for _, object in ipairs(manifest.objects) do
      local path = folder .. "/" .. object.name
      local text = mk.fs.read(path)
      if text:find("\n77\t", 1, true) then
        mk.fs.write(path, (text:gsub("\n77\t%x", "\n77\tX", 1)))
      end
    end
    local run = cat("none", "public.big")
    assert.equal(1, run.code)
    assert.matches("its SHA%-256 is not the recorded one", run.stderr)
  end)
end)
