local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

describe("a backup", function()
  local cluster, dir, app

  setup(function()
    cluster = mk.pg.scratch()
    dir = mk.fs.tempdir()
    app = cluster:create_database "app"
    local c <close> = app:connect()
    c:query(support.SMALL)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- A recipe with the source and a store in its first lines.
  local function recipe(store, rest, dbname)
    return ([[
      local mk = require "moonkeep"
      local app = mk.pg { host = %q, user = "postgres", dbname = %q }
      local disk = mk.store("disk", "file://%s")
      %s]]):format(cluster.folder, dbname or "app", store, rest)
  end

  local function backup_of(store, series)
    local ids = mk.store("disk", "file://" .. store):list("nightly", series or "app")
    return ids[#ids]
  end

  for _, codec in ipairs { "none", "gzip:1", "gzip:6", "lz4:1", "zstd:1" } do
    it("is made, verified, restored and equal: " .. codec, function()
      local store = dir.path .. "/store-" .. codec:gsub(":", "")
      local target = "back_" .. codec:gsub(":", "_")
      local run = support.run_recipe(dir.path, recipe(store, ([[
        return mk.job { name = "nightly", source = app, compress = %q, upload = { disk },
          verify = "decoded",
          run = function(ctx)
            local backup = ctx:backup()
            local restored = ctx:restore(backup, { into = app, database = %q })
            ctx:show("%%d tables, %%d rows", ctx:compare(app, restored))
          end }]]):format(codec, target)))
      assert.equal(0, run.code, run.stderr)
      assert.equal("2 tables, 502 rows\n", run.stdout)
      assert.equal("ok", run.result.status)
      local c <close> = cluster:database(target):connect()
      assert.equal(150, c:value "SELECT count(*) FROM heavy")
    end)
  end

  it("needs no code at all", function()
    local store = dir.path .. "/plain"
    local run = support.run_recipe(dir.path, recipe(store, [[
      return mk.job { name = "nightly", source = app, upload = { disk } }]]))
    assert.equal(0, run.code, run.stderr)
    assert.equal("", run.stdout)
    assert.matches("%(read%)", run.result.text)
    assert.equal(1, #support.manifests(store))
  end)

  it("is private, and holds only what its manifest tells and how to restore it", function()
    local store = dir.path .. "/private"
    support.run_recipe(dir.path, recipe(store, [[
      return mk.job { name = "nightly", source = app, upload = { disk } }]]))
    local id = backup_of(store)
    assert.same({ ("nightly/app/%s.json"):format(id), ("nightly/app/%s/RESTORE.txt"):format(id),
      ("nightly/app/%s/database.sql"):format(id), ("nightly/app/%s/pack-1.tar.zst"):format(id),
      ("nightly/app/%s/toc.dat"):format(id) }, support.backup_files(store))
    for _, file in ipairs(support.files(store)) do
      assert.equal(384, mk.fs.stat(store .. "/" .. file).mode) -- 0600
    end
    for _, folder in ipairs { "", "/nightly", "/nightly/app", "/nightly/app/" .. id } do
      assert.equal(448, mk.fs.stat(store .. folder).mode) -- 0700
    end
    local manifest = json.decode(mk.fs.read(("%s/nightly/app/%s.json"):format(store, id)))
    assert.equal(1, manifest.format)
    assert.equal("app", manifest.source.database)
    assert.equal("UTF8", manifest.source.encoding)
    assert.matches("^%d+$", manifest.system_identifier)
    local data = manifest.objects[1]
    local path = ("%s/nightly/app/%s/%s"):format(store, id, data.name)
    assert.equal(mk.fs.stat(path).size, data.size)
    assert.equal(data.sha256, mk.process.run({ argv = { "sha256sum", path } }):match "%x+")
  end)

  -- The promise of no lock-in: the commands of RESTORE.txt, run as they stand.
  for _, codec in ipairs { "none", "gzip:6", "lz4:9", "zstd:3" } do
    it("of one stream restores without moonkeep by the commands of its RESTORE.txt: " .. codec,
      function()
      local store = dir.path .. "/stock-" .. codec:gsub(":", "")
      support.run_recipe(dir.path, recipe(store, ([[
        return mk.job { name = "nightly", source = app, upload = { disk }, compress = %q,
          dump = { format = "custom" } }]]):format(codec)))
      local folder = ("%s/nightly/app/%s"):format(store, backup_of(store))
      assert.equal(6, #support.restore_commands(folder))
      local target = "stock_" .. codec:gsub(":", "_")
      support.restore_by_text(cluster, folder, target)
      local fingerprint = require "fingerprint"
      assert.equal(2, (fingerprint.compare(fingerprint.of(app),
        fingerprint.of(cluster:database(target)))))
    end)
  end

  it("of a database with any name is kept under a safe one", function()
    local name = "über/../we\"ird 'db"
    local odd = cluster:create_database(name)
    local c <close> = odd:connect()
    c:query "CREATE TABLE t AS SELECT 1 AS i"
    local store = dir.path .. "/odd"
    local run = support.run_recipe(dir.path, recipe(store, [[
      return mk.job { name = "nightly", source = app, upload = { disk }, verify = "decoded",
        run = function(ctx)
          local restored = ctx:restore(ctx:backup(), { into = app, database = "o'd\"d" })
          ctx:show("%d", ctx:compare(app, restored))
        end }]], name))
    assert.equal(0, run.code, run.stderr)
    assert.equal("1\n", run.stdout)
    local series = mk.fs.list(store .. "/nightly")
    assert.same({ "%C3%BCber%2F%2E%2E%2Fwe%22ird%20%27db", "job.json" }, series)
  end)

  it("goes into several stores in one pass, the same bytes in each", function()
    local store = dir.path .. "/several"
    local run = support.run_recipe(dir.path, recipe(store .. "/one", ([[
      local two = mk.store("two", "file://%s/two")
      return mk.job { name = "nightly", source = app, upload = { disk, two } }]]):format(store)))
    assert.equal(0, run.code, run.stderr)
    support.same_stores(store .. "/one", store .. "/two")
  end)

  it("is made of verbs that can be used one by one", function()
    local store = dir.path .. "/verbs"
    local run = support.run_recipe(dir.path, recipe(store, [[
      return mk.job { name = "nightly", run = function(ctx)
        local stream = ctx:compress(ctx:dump { source = app }, "gzip:1")
        local backup = ctx:upload(stream, { disk })
        ctx:verify(backup, "decoded")
        ctx:check("size", backup.manifest.objects[1].size, ">", 100)
        ctx:show(backup.proof)
      end }]]))
    assert.equal(0, run.code, run.stderr)
    assert.equal("decoded\n", run.stdout)
  end)

  it("is not restored over a database that exists", function()
    local run = support.run_recipe(dir.path, recipe(dir.path .. "/over", [[
      return mk.job { name = "nightly", source = app, upload = { disk }, run = function(ctx)
        ctx:restore(ctx:backup(), { into = app, database = "app" })
      end }]]))
    assert.equal(1, run.code)
    assert.equal("NOT_EMPTY", run.result.error.code)
    local c <close> = app:connect()
    assert.equal(500, c:value "SELECT count(*) FROM fruit")
  end)

  it("that fails to restore leaves no database behind", function()
    local c <close> = app:connect()
    local before = c:value "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database"
    c:query [[CREATE ROLE passing; CREATE MATERIALIZED VIEW of_passing AS
      SELECT 1 / (SELECT count(*) FROM pg_roles WHERE rolname = 'passing')]]
    local run = support.run_recipe(dir.path, recipe(dir.path .. "/role", [[
      return mk.job { name = "nightly", source = app, upload = { disk }, run = function(ctx)
        local backup = ctx:backup()
        local c <close> = app:connect()
        c:query "DROP MATERIALIZED VIEW of_passing; DROP ROLE passing"
        ctx:restore(backup, { into = app, database = "never" })
      end }]]))
    assert.equal(1, run.code)
    assert.equal("RESTORE_FAILED", run.result.error.code)
    assert.matches("division by zero", run.result.error.detail)
    assert.matches("published before the failure", run.result.error.left)
    assert.equal(before,
      c:value "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database")
  end)

  it("fails a check that does not hold, with both values", function()
    local run = support.run_recipe(dir.path, recipe(dir.path .. "/check", [[
      return mk.job { name = "nightly", run = function(ctx)
        ctx:check("orders", 5, ">", 1000)
      end }]]))
    assert.equal(1, run.code)
    assert.equal("CHECK_FAILED", run.result.error.code)
    assert.equal("orders: 5 > 1000 does not hold", run.result.error.message)
  end)

  it("that differs after a restore is told table by table", function()
    local run = support.run_recipe(dir.path, recipe(dir.path .. "/differs", [[
      return mk.job { name = "nightly", source = app, upload = { disk }, run = function(ctx)
        local restored = ctx:restore(ctx:backup(), { into = app, database = "differs" })
        local c <close> = restored:connect()
        c:query "UPDATE fruit SET fresh = NOT fresh WHERE id = 7"
        c:query "DELETE FROM \"odd \"\"name\" WHERE v IS NULL"
        ctx:compare(app, restored)
      end }]]))
    assert.equal(1, run.code)
    assert.equal("DIFFERENT", run.result.error.code)
    assert.equal("rows public.fruit: the same number of rows (500), but other values (first: (7) " ..
      'differs)\nrows public.odd "name: 2 rows, in the second 1', run.result.error.detail)
  end)

  it("is compared by whole rows, whatever the columns are called", function()
    local fingerprint = require "fingerprint"
    local names = { "t", "x", "row", "moonkeep" }
    for i, source in ipairs { cluster:create_database "left", cluster:create_database "right" } do
      local c <close> = source:connect()
      for _, name in ipairs(names) do
        c:query(('CREATE TABLE "of_%s" ("%s" int, v text)'):format(name, name))
        c:query(("INSERT INTO \"of_%s\" VALUES (1, 'side %d')"):format(name, i))
      end
    end
    local n, differences = fingerprint.compare(fingerprint.of(cluster:database "left"),
      fingerprint.of(cluster:database "right"))
    assert.is_nil(n)
    assert.equal(#names, #differences)
  end)

  it("restores a database of another encoding and locale, also by RESTORE.txt", function()
    local admin <close> = cluster:database("postgres"):connect()
    admin:query [[CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C'
      LC_CTYPE 'C']]
    admin:query [[CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de']]
    for _, name in ipairs { "latin", "icu" } do
      local c <close> = cluster:database(name):connect()
      c:query "CREATE TABLE t AS SELECT 'größer'::text AS v"
      c:close()
      local store = dir.path .. "/of-" .. name
      local run = support.run_recipe(dir.path, recipe(store, ([[
        return mk.job { name = "nightly", source = app, upload = { disk }, run = function(ctx)
          ctx:compare(app, ctx:restore(ctx:backup(), { into = app, database = "%s_back" }))
        end }]]):format(name), name))
      assert.equal(0, run.code, run.stderr)
      local folder = ("%s/nightly/%s/%s"):format(store, name, backup_of(store, name))
      local commands = {}
      for command in mk.fs.read(folder .. "/RESTORE.txt"):gmatch "\n    ([^\n]+)" do
        commands[#commands + 1] = command
      end
      mk.process.run { argv = { "bash", "-c", table.concat(commands, "\n") }, cwd = folder,
        env = { NEWDB = name .. "_stock", PGHOST = cluster.folder, PGUSER = "postgres" } }
      local kinds = admin:query([[SELECT DISTINCT pg_encoding_to_char(encoding) AS e, datcollate,
        datlocprovider::text, daticulocale FROM pg_database WHERE datname LIKE $1]], name .. "%")
      assert.equal(1, #kinds)
    end
  end)

  it("keeps a password out of arguments and logs, also one in a URI in dbname", function()
    local c <close> = app:connect()
    c:query "CREATE ROLE reader LOGIN SUPERUSER PASSWORD 'Hunter2pw'"
    local uri = ("postgresql://reader:Hunter2pw@%s/app"):format(cluster.folder:gsub("/", "%%2F"))
    for _, source in ipairs { ("mk.pg { dbname = %q }"):format(uri), ("mk.pg %q"):format(uri) } do
      local store = dir.path .. "/secret"
      local run = support.start_recipe(dir.path, recipe(store, ([[
        return mk.job { name = "nightly", source = %s, upload = { disk }, compress = "zstd:1" }]])
        :format(source)), { flags = { "-v" } })
      local seen = {}
      while run.child:running() do
        for _, line in ipairs(support.processes "Hunter2pw") do
          seen[#seen + 1] = line
        end
        mk.sleep "1ms"
      end
      run:finish()
      assert.equal(0, run.code, run.stderr)
      assert.same({}, seen)
      assert.is_nil(run.stderr:find("Hunter2pw", 1, true))
      for _, file in ipairs(support.files(store)) do
        assert.is_nil(mk.fs.read(store .. "/" .. file):find("Hunter2pw", 1, true))
      end
      mk.fs.remove(store)
    end
  end)

  it("is found again as the latest", function()
    local store = mk.store("disk", "file://" .. dir.path .. "/private")
    assert.equal(backup_of(dir.path .. "/private"), store:latest("nightly", "app").id)
    local none, why = store:latest("nightly", "other")
    assert.is_nil(none)
    assert.matches("no backup of other by job nightly", why)
  end)

  for format, data_name in pairs { native = "pack-1.tar.zst", custom = "data.dump.zst" } do
  describe("with a damaged artifact: " .. format, function()
    local store, data_path, original

    setup(function()
      store = dir.path .. "/damage-" .. format
      support.run_recipe(dir.path, recipe(store, ([[
        return mk.job { name = "nightly", source = app, upload = { disk }, dump = { %s } }]])
        :format(format == "native" and "" or ("format = %q"):format(format))))
      data_path = ("%s/nightly/app/%s/%s"):format(store, backup_of(store), data_name)
      original = mk.fs.read(data_path)
    end)

    local function verify(level)
      return support.run_recipe(dir.path, recipe(store, ([[
        return mk.job { name = "v", run = function(ctx)
          local id = disk:list("nightly", "app")[1]
          ctx:verify(disk:backup("nightly", "app", id), %q)
        end }]]):format(level)))
    end

    for _, level in ipairs { "read", "decoded" } do
      it("notices a bit that flipped: " .. level, function()
        local at = #original // 2
        mk.fs.write(data_path, original:sub(1, at) ..
          string.char(original:byte(at + 1) ~ 4) .. original:sub(at + 2))
        local run = verify(level)
        assert.equal(1, run.code)
        assert.equal("CORRUPT", run.result.error.code)
        assert.matches("must not be relied on", run.result.error.hint)
      end)

      it("notices a missing end: " .. level, function()
        for _, missing in ipairs { 1, 100, #original } do
          mk.fs.write(data_path, original:sub(1, -missing - 1))
          local run = verify(level)
          assert.equal(1, run.code)
          assert.equal("CORRUPT", run.result.error.code)
        end
      end)
    end

    it("is verified again when it is whole again", function()
      mk.fs.write(data_path, original)
      assert.equal(0, verify("decoded").code)
    end)

    it("is not restored, and leaves no database", function()
      mk.fs.write(data_path, original:sub(1, -20))
      local run = support.run_recipe(dir.path, recipe(store, [[
        return mk.job { name = "r", run = function(ctx)
          local id = disk:list("nightly", "app")[1]
          ctx:restore({ id = id, job = "nightly", series = "app", stores = { disk },
            manifest = disk:manifest("nightly", "app", id) }, { into = app, database = "half" })
        end }]]))
      assert.equal(1, run.code)
      mk.fs.write(data_path, original)
      local c <close> = app:connect()
      assert.equal(0, c:value "SELECT count(*) FROM pg_database WHERE datname LIKE 'half%'")
    end)

    it("has a manifest in which no name is trusted as a path", function()
      local id = backup_of(store)
      local path = ("%s/nightly/app/%s.json"):format(store, id)
      local text = mk.fs.read(path)
      mk.fs.write(path, (text:gsub('"' .. data_name:gsub("%p", "%%%0") .. '"',
        '"../../../../etc/passwd"')))
      local run = verify "read"
      assert.equal(1, run.code)
      assert.matches("no proper name", run.result.error.message)
      for _, piece_size in ipairs { "0", "1e9", '"1"', "-5" } do
        mk.fs.write(path, (text:gsub('"size"', '"piece_size": ' .. piece_size .. ', "size"', 1)))
        run = verify "read"
        assert.equal("CORRUPT", run.result.error.code)
        assert.matches("lies in no pieces that can be", run.result.error.message)
      end
      mk.fs.write(path, (text:gsub('"size": *%d+', '"piece_size": 1, "size": 9000000000000000000', 1)))
      assert.matches("lies in no pieces that can be", verify("read").result.error.message)
      mk.fs.write(path, '{"format": 99}')
      assert.equal("UNSUPPORTED", verify("read").result.error.code)
      mk.fs.write(path, text:sub(1, 50))
      assert.equal("CORRUPT", verify("read").result.error.code)
      mk.fs.write(path, text)
    end)
  end)
  end
end)
