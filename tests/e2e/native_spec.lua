-- The native dump engine: what it writes is what pg_dump writes, whoever restores it.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"
local toc = require "moonkeep.pg.toc"
local tools = require "moonkeep.pg.tools"

-- pg_dump's SQL of a database, as a file, without the random keys of \restrict.
local function sql_of(cluster, name, path)
  mk.process.run { argv = { "sh", "-c", [["$0" --host="$1" --username=postgres --dbname="$2" |
    grep -v '^\\\(un\)\?restrict ' >"$3"]], tools.find("pg_dump", cluster.major), cluster.folder, name,
    path }, env = { PGTZ = "UTC" } }
end

support.each_major(describe, pending, { 13, 15, 17, 18 }, "a native dump of PostgreSQL %d",
  function(major)
  local cluster, dir

  setup(function()
    cluster = mk.pg.scratch { major = major, settings = { lc_monetary = "C" } }
    dir = mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query(support.SMALL)
    c:query [[
      CREATE TABLE big AS SELECT i, md5(i::text) AS a, repeat(md5(i::text), 20) AS b
      FROM generate_series(1, 30000) i;
      ALTER TABLE big ADD PRIMARY KEY (i);
      CREATE TABLE refers (i int REFERENCES big, b text);
      INSERT INTO refers SELECT i, 'x' || i FROM generate_series(1, 1000) i;
      CREATE TABLE nothing (); INSERT INTO nothing SELECT FROM generate_series(1, 5);
      CREATE TABLE "T (a) FROM stdin;" ("a) FROM stdin;" text, "\" int GENERATED ALWAYS AS (7) STORED);
      INSERT INTO "T (a) FROM stdin;" VALUES (E'\\.'), (NULL), (''), (E'\n\t\\');
      ALTER TABLE refers DROP COLUMN b;
      SELECT lo_from_bytea(4242, 'hello'), lo_create(77), lo_put(77, 10000, 'after a hole'),
        lo_from_bytea(4294967290, decode(repeat('0123456789abcdef', 1200000), 'hex'));
    ]]
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- Backs up with these keys of `dump` and returns the folder and its manifest.
  local function backup(name, dump, keys)
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = %q, verify = "decoded", dump = { %s }, %s
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("disk", "file://%s/store") } }]]):format(name, dump or "", keys or "",
      cluster.folder, dir.path))
    assert.equal(0, run.code, run.stderr)
    local folder = ("%s/store/%s/app/%s"):format(dir.path, name, run.result.text:match "^%S+")
    return folder, json.decode(mk.fs.read(folder .. ".json")), run
  end

  -- Restores by RESTORE.txt, with so many jobs, and compares pg_dump's SQL of both.
  local function restores_to_the_same(folder, target, jobs)
    support.restore_by_text(cluster, folder, target, jobs)
    sql_of(cluster, "app", dir.path .. "/source.sql")
    sql_of(cluster, target, dir.path .. "/restored.sql")
    mk.process.run { argv = { "diff", dir.path .. "/source.sql", dir.path .. "/restored.sql" } }
  end

  for _, codec in ipairs { "zstd:1", "gzip:1", "lz4:1", "none" } do
    it("restores to the same by the commands of its RESTORE.txt: " .. codec, function()
      local folder = backup("stock", "", ("compress = %q,"):format(codec))
      restores_to_the_same(folder, "stock_" .. codec:gsub("%W", "_"), codec == "gzip:1" and 4 or 1)
    end)
  end

  -- By itself pg_restore 16 and newer loads less, in silence, from a .zst that ends after a block.
  it("is not restored in part: RESTORE.txt stops at a file that was cut or changed", function()
    local folder, manifest = backup("damaged", 'range_size = "1MiB"')
    for i, object in ipairs(manifest.objects) do
      local file = folder .. "/" .. object.name
      local text = mk.fs.read(file)
      local at = #text // 2
      local changed = text:sub(1, at) .. string.char(text:byte(at + 1) ~ 1) .. text:sub(at + 2)
      for _, bad in ipairs { text:sub(1, at), changed, "" } do
        mk.fs.write(file, bad)
        local ok, err = pcall(support.restore_by_text, cluster, folder, "cut" .. i)
        assert.is_false(ok, object.name)
        assert.matches("did NOT match", err.detail)
      end
      mk.fs.write(file, text)
    end
    local c <close> = cluster:database("postgres"):connect()
    assert.equal(0, c:value "SELECT count(*) FROM pg_database WHERE datname LIKE 'cut%'")
  end)

  it("is what pg_dump writes into a directory, but for the names of files", function()
    local folder = backup("same", "", 'compress = "none",')
    local made = toc.read(mk.fs.read(folder .. "/toc.dat"))
    mk.process.run { argv = { tools.find("pg_dump", major), "--format=directory",
      "--compress=0", "--host=" .. cluster.folder, "--username=postgres", "--file=" .. dir.path ..
      "/theirs", "app" }, env = { PGTZ = "UTC" } }
    local theirs = toc.read(mk.fs.read(dir.path .. "/theirs/toc.dat"))
    assert.equal(#theirs.entries, #made.entries)
    for i, entry in ipairs(theirs.entries) do
      local ours = made.entries[i]
      if entry.kind == "TABLE DATA" then
        local path = mk.fs.exists(folder .. "/" .. ours.file) and folder or dir.path
        if path == dir.path then
          mk.process.run { argv = { "tar", "--extract", "--directory=" .. dir.path,
            "--file=" .. folder .. "/pack-1.tar", ours.file } }
        end
        mk.process.run { argv = { "cmp", path .. "/" .. ours.file, dir.path .. "/theirs/" ..
          entry.file } }
      end
      entry.file, ours.file = nil, nil
      assert.same(entry, ours)
    end
  end)

  it("tells rows, bytes and hashes of every table, and the sum of the large objects", function()
    local _, manifest = backup("sums")
    local by_name = {}
    for _, known in ipairs(manifest.tables) do
      by_name[known.name] = known
    end
    assert.equal(30000, by_name.big.rows)
    assert.equal(5, by_name.nothing.rows)
    assert.equal(5, by_name.nothing.bytes)
    assert.equal(500, by_name.fruit.rows)
    assert.matches("^%x+$", by_name.fruit.hash)
    assert.equal(3, manifest.large_objects.count)
    assert.equal(5 + 10012 + 9600000, manifest.large_objects.bytes)
    assert.matches("^%x+/%x+$", manifest.dump.lsn)
  end)

  it("is restored by moonkeep, whole and in parts", function()
    local folder = backup "again"
    local id = folder:match "[^/]+$"
    local function restore(...)
      local run = support.start(dir.path, { "restore", id, "--from", "file://" .. dir.path ..
        "/store", "--into", "host=" .. cluster.folder .. " user=postgres", ... }):finish()
      assert.equal(0, run.code, run.stderr)
    end
    restore("--database", "again", "--set", "jobs=2")
    sql_of(cluster, "app", dir.path .. "/source.sql")
    sql_of(cluster, "again", dir.path .. "/restored.sql")
    mk.process.run { argv = { "diff", dir.path .. "/source.sql", dir.path .. "/restored.sql" } }
    restore("--database", "part", "--set", "table=refers", "--set", "dependencies=true")
    local c <close> = cluster:database("part"):connect()
    assert.equal(1000, c:value "SELECT count(*) FROM refers")
    assert.is_nil(c:value "SELECT to_regclass('fruit')")
  end)
end)
