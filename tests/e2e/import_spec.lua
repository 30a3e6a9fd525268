-- Dumps that others have made are taken over, whole or not at all.
local fingerprint = require "fingerprint"
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"
local tools = require "moonkeep.pg.tools"

describe("moonkeep import", function()
  local cluster, dir, store, n = nil, nil, nil, 0

  local function sh(text, ...)
    mk.process.run { argv = { "bash", "-c", "set -eo pipefail; " .. text:format(...) } }
  end

  -- A dump of the database app, by a shell command.
  local function dump(name, options, filter)
    local path = dir.path .. "/" .. name
    local program = ("%s -h %s -U postgres %s app"):format(tools.find("pg_dump", cluster.major),
      cluster.folder, options)
    sh(filter and "%s | %s >%s" or "%s >%s", program, filter or path, path)
    return path
  end

  setup(function()
    cluster, dir = mk.pg.scratch { major = 15 }, mk.fs.tempdir()
    store = dir.path .. "/store"
    do
      local c <close> = cluster:database("postgres"):connect()
      c:query "CREATE ROLE owner"
      c:query "CREATE DATABASE app OWNER owner TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
      c:query "COMMENT ON DATABASE app IS 'it''s ours'"
      c:query [[ALTER DATABASE app SET search_path TO "$user", public, 'o dd']]
      c:query "ALTER DATABASE app SET my.thing TO 'a;b'"
      c:query "ALTER ROLE owner IN DATABASE app SET work_mem TO '8MB'"
    end
    local c <close> = cluster:database("app"):connect()
    c:query(support.SMALL)
    c:query "CREATE ROLE reporting; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reporting"
    c:query [[CREATE TABLE times AS SELECT now() AS at; CREATE TABLE e (i int);
      CREATE EXTENSION citext; SELECT lo_from_bytea(4711, 'a large object')]]
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function import(path, ...)
    n = n + 1
    return support.start(dir.path, { "import", path, "--to", store, "--job", "j" .. n, "--json", ... })
      :finish()
  end

  -- The manifest of what was imported last.
  local function manifest()
    local id = mk.fs.list(("%s/j%d/app"):format(store, n))
    table.sort(id)
    return json.decode(mk.fs.read(("%s/j%d/app/%s.json"):format(store, n, id[#id]:match "^[^.]+")))
  end

  local function restores()
    local target = "restored" .. n
    local run = support.start(dir.path, { "restore", "latest", "--from", "file://" .. store, "--job",
      "j" .. n, "--into", ("host=%s user=postgres"):format(cluster.folder), "-d", target }):finish()
    assert.equal(0, run.code, run.stderr)
    local same, differences = fingerprint.compare(fingerprint.of(cluster:database("app")),
      fingerprint.of(cluster:database(target)))
    assert.equal(4, same, table.concat(same and {} or differences, "\n"))
    local c = cluster:database(target):connect()
    assert.equal("a large object", c:value "SELECT convert_from(lo_get(4711), 'UTF8')")
    return c
  end

  it("takes over archives and SQL of every kind, which then restore", function()
    dump("app.dump", "-Fc")
    dump("app.dump.gz", "-Fc -Z0", "gzip")
    dump("app.tar", "-Ft")
    dump("app.tar.lz4", "-Ft", "lz4")
    for name, format in pairs { ["app.dump"] = "custom", ["app.dump.gz"] = "custom", ["app.tar"] = "tar",
      ["app.tar.lz4"] = "tar" } do
      local run = import(dir.path .. "/" .. name)
      assert.equal(0, run.code, run.stderr)
      local result = json.decode(run.stdout)
      assert.same({ "app", format, "decoded" }, { result.database, result.format, result.proof })
      local c <close> = restores()
      assert.equal("C", c:value [[SELECT datcollate FROM pg_database
        WHERE datname = current_database()]])
      assert.equal("owner", c:value [[SELECT pg_get_userbyid(datdba) FROM pg_database
        WHERE datname = current_database()]])
      assert.equal("it's ours", c:value [[SELECT shobj_description(oid, 'pg_database') FROM pg_database
        WHERE datname = current_database()]])
      assert.equal("a;b", c:value "SHOW my.thing")
      assert.equal([["$user", public, "o dd"]], c:value "SHOW search_path")
    end
    dump("app.sql.gz", "", "gzip")
    dump("app.sql.zst", "", "zstd -q")
    dump("app.sql", "")
    for _, name in ipairs { "app.sql.gz", "app.sql.zst", "app.sql" } do
      assert.equal("USAGE", json.decode(import(dir.path .. "/" .. name).stdout).error.code)
      local run = import(dir.path .. "/" .. name, "--database", "app")
      assert.equal(0, run.code, run.stderr)
      restores():close()
    end
  end)

  it("makes a directory a backup of its own kind, with rows and hashes", function()
    for name, options in pairs { gzip = "", none = "-Z0" } do
      local path = dir.path .. "/app." .. name
      dump("log", ("-Fd %s -f %s"):format(options, path))
      local run = import(path)
      assert.equal(0, run.code, run.stderr)
      local imported = manifest()
      assert.equal("directory", imported.dump.format)
      assert.equal(1, imported.large_objects.count)
      assert.same({ "zstd:1", "app." .. name }, { imported.objects[1].codec, imported.imported.file })
      restores():close()
      run = support.start(dir.path, { "cat", "latest", "times", "--from", "file://" .. store, "--job",
        "j" .. n }):finish()
      assert.equal(0, run.code, run.stderr)
      assert.matches("^%d%d%d%d%-", run.stdout)
      local compared = support.start(dir.path, { "compare", "latest", "--from", "file://" .. store,
        "--job", "j" .. n, ("host=%s user=postgres dbname=app"):format(cluster.folder) }):finish()
      assert.matches("was imported, and its values may be written in another way", compared.stderr)
    end
  end)

  it("proves it by a restore into a server of its own when that is asked for", function()
    local run = import(dump("proved.dump", "-Fc"), "--level", "restored")
    assert.equal(0, run.code, run.stderr)
    assert.equal("restored", json.decode(run.stdout).proof)
  end)

  it("keeps the time at which a dump was made, so that latest stays the newest", function()
    local path = dump("old.dump", "-Fc")
    assert.equal(0, import(path).code)
    n = n - 1
    assert.equal(0, import(path, "--at", "2020-02-29T12:00:00Z").code)
    local run = support.start(dir.path, { "list", "--from", "file://" .. store, "--job", "j" .. n,
      "--json" }):finish()
    local backups = json.decode(run.stdout).backups
    assert.equal("2020-02-29T12:00:00Z", backups[1].created_at)
    assert.matches("^20200229T120000Z%-", backups[1].id)
    assert.equal(2, #backups)
  end)

  local function refused(path, code, message, hint)
    local run = import(path, "--database", "app")
    assert.equal(1, run.code, run.stdout)
    local err = json.decode(run.stdout).error
    assert.equal(code, err.code, err.message)
    assert.matches(message, err.message)
    assert.matches(hint or "", err.hint or "")
    assert.is_false(mk.fs.exists(("%s/j%d/app"):format(store, n)) and
      #mk.fs.list(("%s/j%d/app"):format(store, n)) > 0)
  end

  local function cut(path, keep)
    local copy = path .. ".cut"
    sh("head --bytes=%d %s >%s", keep, path, copy)
    return copy
  end

  it("refuses what was cut, and takes nothing of it over", function()
    for _, options in ipairs { "-Fc", "-Fc -Z0", "-Ft" } do
      local path = dump("whole", options)
      local size = mk.fs.stat(path).size
      for _, keep in ipairs { 300, size // 2, size - (options == "-Ft" and 3000 or 30) } do
        refused(cut(path, keep), "CORRUPT", "")
      end
    end
    local sql = dump("whole.sql", "")
    refused(cut(sql, mk.fs.stat(sql).size // 2), "CORRUPT", "does not end with the line")
    local zipped = dump("whole.gz", "", "gzip")
    refused(cut(zipped, mk.fs.stat(zipped).size - 9), "CORRUPT", "")
  end)

  it("refuses a directory that lacks a file, or names one outside of it", function()
    local path = dir.path .. "/lacking"
    dump("log", "-Fd -f " .. path)
    local data
    for _, name in ipairs(mk.fs.list(path)) do
      data = name:match "^%d+%.dat%.gz$" or data
    end
    mk.fs.remove(path .. "/" .. data)
    refused(path, "CORRUPT", "it has no file " .. data:match "^%d+%.dat")
    local contents = mk.fs.read(path .. "/toc.dat")
    local number = data:match "^%d+"
    local evil = ("../%s.dat"):format(("x"):rep(#number)):sub(1, #number + 4)
    mk.fs.write(path .. "/toc.dat", (contents:gsub(number .. "%.dat", evil)))
    refused(path, "CORRUPT", "it has no file ..", "nothing was taken over")
  end)

  it("says what to do about what it cannot take over", function()
    local text = dir.path .. "/notes"
    mk.fs.write(text, "-- my notes\nSELECT 1;\n")
    refused(text, "UNSUPPORTED", "is no dump of pg_dump's")
    mk.fs.write(text, "")
    refused(text, "CORRUPT", "is empty")
    refused(dir.path .. "/absent", "NOT_FOUND", "there is no")
    mk.fs.write(text, "BZh91AY&SY" .. ("\0"):rep(600))
    refused(text, "UNSUPPORTED", "by bzip2", "undo that first: bunzip2")
    refused(dump("cleaning.sql", "--clean"), "UNSUPPORTED", "was made with %-%-clean")
    refused(dump("creating.sql", "--create"), "UNSUPPORTED", "creates databases itself")
    refused(dir.path, "UNSUPPORTED", "has no toc.dat")
  end)
end)
