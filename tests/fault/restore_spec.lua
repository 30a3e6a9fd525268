-- What can happen to a restore: nothing wrong is ever committed, no database has the name before it
-- is whole, and the next restore works.
local fingerprint = require "fingerprint"
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

local ROUNDS = support.rounds("kills in the middle of a restore", 4, 50)

describe("a native restore", function()
  local cluster, dir, store, manifest

  setup(function()
    cluster = mk.pg.scratch { settings = { max_connections = "60" } }
    dir = mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query(support.SMALL)
    c:query [[
      CREATE TABLE one AS SELECT i, md5(i::text) AS a
        FROM generate_series(1, 300000) i;
      CREATE TABLE two AS SELECT i, md5(i::text) AS a FROM generate_series(1, 200000) i;
      ALTER TABLE one ADD PRIMARY KEY (i);
      ALTER TABLE two ADD FOREIGN KEY (i) REFERENCES one;
      CREATE INDEX ON two (a);
      SELECT lo_from_bytea(4711, 'a large object')]]
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "n", dump = {}, compress = "none", verify = "stored",
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("disk", "file://%s/store") } }]]):format(cluster.folder, dir.path))
    assert.equal(0, run.code, run.stderr)
    store = dir.path .. "/store"
    manifest = json.decode(mk.fs.read(("%s/n/app/%s.json"):format(store, run.result.text:match "^%S+")))
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function start(target, from, server, env)
    return support.start(dir.path, { "restore", "latest", "--from", "file://" .. (from or store),
      "--into", ("host=%s user=postgres"):format((server or cluster).folder), "--database", target },
      env)
  end

  local function databases(like, server)
    local c <close> = (server or cluster):database("postgres"):connect()
    return c:value("SELECT count(*) FROM pg_database WHERE datname LIKE $1", like)
  end

  local function is_the_same(target)
    local n, differences = fingerprint.compare(fingerprint.of(cluster:database("app")),
      fingerprint.of(cluster:database(target)))
    assert.equal(4, n, table.concat(n and {} or differences, "\n"))
  end

  -- The pid of a backend that is taking rows for a database.
  local function loading(target)
    local c <close> = cluster:database("postgres"):connect()
    return support.eventually("rows are loaded", function()
      return c:value([[SELECT pid FROM pg_stat_activity WHERE datname LIKE $1 || '_restoring_%'
        AND query LIKE 'COPY %FROM STDIN%' AND state = 'active' LIMIT 1]], target)
    end)
  end

  it("loads an object again when its connection was lost", function()
    local run = start "lost"
    local pid = loading "lost"
    do
      local c <close> = cluster:database("postgres"):connect()
      c:query("SELECT pg_terminate_backend($1)", tostring(pid))
    end
    run:finish()
    assert.equal(0, run.code, run.stderr)
    assert.matches("was lost: loading it again", run.stderr)
    is_the_same "lost"
  end)

  it("fails when the server crashes, even if that is up again at once", function()
    local run = start "crashed"
    mk.process.run { argv = { "kill", "-KILL", tostring(loading "crashed") } }
    run:finish()
    assert.equal(1, run.code)
    assert.equal("PG_CONNECTION_LOST", run.result.error.code)
    support.eventually("the server is up", function() return pcall(databases, "x") end)
    assert.equal(0, databases "crashed")
    assert.equal(1, databases "crashed%")
    local again = start("crashed"):finish()
    assert.equal(0, again.code, again.stderr)
    assert.matches("which an earlier restore had left", again.stderr)
    assert.equal(1, databases "crashed%")
    is_the_same "crashed"
  end)

  -- The backup in a store of its own, changed by fn(folder).
  local function changed(name, fn)
    local copy = dir.path .. "/" .. name
    mk.process.run { argv = { "cp", "-a", store, copy } }
    fn(("%s/n/app/%s"):format(copy, manifest.id))
    return copy
  end

  local function is_refused(name, copy, server)
    local run = start(name, copy, server):finish()
    assert.equal(1, run.code, run.stderr)
    assert.equal(0, databases(name .. "%", server))
    mk.fs.remove(copy)
    return run.result.error
  end

  it("commits nothing of a file that was changed, cut or is missing, and says which", function()
    local DAMAGES = {
      changed = function(path)
        local text = mk.fs.read(path)
        local at = #text // 2
        mk.fs.write(path, text:sub(1, at) .. string.char(text:byte(at + 1) ~ 1) .. text:sub(at + 2))
      end,
      cut = function(path)
        local text = mk.fs.read(path)
        mk.fs.write(path, text:sub(1, #text - 100))
      end,
      missing = mk.fs.remove,
    }
    local USED = { data = true, pack = true, objects = true, contents = true }
    for _, object in ipairs(manifest.objects) do
      for how, damage in pairs(USED[object.role] and DAMAGES or {}) do
        local err = is_refused("damaged", changed("damaged", function(folder)
          damage(folder .. "/" .. object.name)
        end))
        assert.equal("CORRUPT", err.code, object.name .. how)
        assert.matches(object.name, err.message, 1, true)
        if object.role == "data" then
          assert.matches("^public%.%a+: ", err.message)
        end
      end
    end
  end)

  it("ends when it is told to while the store hangs, and the next one takes away what is left",
    function()
      local library = dir.path .. "/stall.so"
      mk.process.run { argv = { "gcc", "-shared", "-fPIC", "-O2", "-o", library,
        "tests/fault/stall/stall.c", "-ldl" } }
      local stalled
      for _, object in ipairs(manifest.objects) do
        stalled = stalled or object.role == "data" and object.name
      end
      local run = start("stalled", nil, nil, { LD_PRELOAD = library, STALL_FILE = "/" .. stalled })
      support.eventually("it waits for the store", function()
        local c <close> = cluster:database("postgres"):connect()
        return c:value [[SELECT pid FROM pg_stat_activity WHERE datname LIKE 'stalled_restoring_%'
          AND query LIKE 'COPY %']]
      end)
      mk.sleep "300ms"
      run.child:kill "TERM"
      run:finish()
      assert.equal(128 + 15, run.code, run.stderr)
      assert.equal("CANCELED", run.result.error.code)
      assert.equal(0, databases "stalled")
      local again = start("stalled"):finish()
      assert.equal(0, again.code, again.stderr)
      assert.equal(1, databases "stalled%")
    end)

  -- A file whose checksum was made to fit: only rows and hashes tell.
  local function forged(edit)
    return changed("forged", function(folder)
      local forgery = json.decode(mk.fs.read(folder .. ".json"))
      for _, object in ipairs(forgery.objects) do
        local path = folder .. "/" .. object.name
        local text = object.role == "data" and mk.fs.read(path)
        if text and text:find("\n77\t", 1, true) then
          mk.fs.write(path, edit(text))
          object.size = mk.fs.stat(path).size
          object.decoded_size = object.size
          object.sha256 = mk.process.run({ argv = { "sha256sum", path } }):match "^%x+"
          break
        end
      end
      mk.fs.write(folder .. ".json", json.encode(forgery))
    end)
  end

  it("commits nothing of rows that are not those that were dumped", function()
    local err = is_refused("fewer", forged(function(text)
      return (text:gsub("\n77\t[^\n]*", "", 1))
    end))
    assert.equal("CORRUPT", err.code)
    assert.matches("took 299999 rows, not the 300000 of public.one", err.message)
    err = is_refused("other", forged(function(text)
      return (text:gsub("\n77\t%x%x", "\n77\t00", 1))
    end))
    assert.matches("the rows are not those of public.one", err.message)
    err = is_refused("ended", forged(function(text) -- the server would ignore the rest
      return (text:gsub("\n77\t", "\n\\.\n77\t", 1))
    end))
    assert.equal("CORRUPT", err.code)
  end)

  if mk.process.uid() == 0 then
    it("is ended by a full disk of the server, by name, and leaves nothing there", function()
      local space, other = dir.path .. "/space", mk.pg.scratch()
      mk.fs.mkdir(space)
      mk.process.run { argv = { "mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", space } }
      local ok, err = pcall(function()
        mk.process.run { argv = { "chown", "--reference=" .. other.folder .. "/data", space } }
        mk.process.run { argv = { "chmod", "755", dir.path } }
        local c <close> = other:database("postgres"):connect()
        c:query(("CREATE TABLESPACE tight LOCATION '%s'"):format(space))
        local copy = changed("tight", function(folder)
          local text = mk.fs.read(folder .. ".json")
          text = text:gsub('("tablespace": *)"pg_default"', '%1"tight"')
          mk.fs.write(folder .. ".json", text)
        end)
        local told = is_refused("full", copy, other)
        assert.matches("^public%..+: could not extend file", told.message)
        -- "No space left on device", or "wrote only 4096 of 8192 bytes": as the last block falls.
        assert.matches("the database server's disk is full", told.hint)
        c:query "DROP TABLESPACE tight" -- which is empty, then
      end)
      other:close() -- before its tablespace goes
      mk.process.run { argv = { "umount", space } }
      assert.is_true(ok, tostring(err))
    end)
  end

  it("killed at any moment leaves no database of the name, and the next one none of its", function()
    for round = 1, ROUNDS do
      local run = start "killed"
      mk.sleep(("%dms"):format(200 + 1800 * round // ROUNDS))
      run.child:kill "KILL"
      run:finish()
      if databases "killed" == 1 then -- it was faster
        is_the_same "killed"
        local c <close> = cluster:database("postgres"):connect()
        c:query "DROP DATABASE killed"
      end
    end
    local run = start("killed"):finish()
    assert.equal(0, run.code, run.stderr)
    is_the_same "killed"
    assert.equal(1, databases "killed%")
  end)
end)
