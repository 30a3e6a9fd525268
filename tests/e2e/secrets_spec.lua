-- Planted secrets must turn up nowhere: not in argument lists (sampled while runs go on), not in the
-- environment of children that don't need them, not in logs, JSON, manifests or the state folder.
local mk = require "moonkeep"
local support = require "support"

local PLANTED = { "planted-in-the-role", "planted-in-a-variable", "planted-in-a-file",
  "planted-in-a-uri" }

describe("a planted secret", function()
  local cluster, dir, port = nil, nil, 5433 + mk.process.pid() % 1000

  setup(function()
    dir = mk.fs.tempdir()
    cluster = mk.pg.scratch { settings = { listen_addresses = "127.0.0.1", port = port } }
    local c <close> = cluster:create_database("app"):connect()
    c:query "CREATE TABLE t AS SELECT i, sha512(i::text::bytea) AS a FROM generate_series(1, 60000) i"
    c:query "CREATE ROLE keeper LOGIN PASSWORD 'planted-in-the-role'; GRANT pg_read_all_data TO keeper"
    mk.fs.write(cluster.folder .. "/data/pg_hba.conf",
      "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    c:query "SELECT pg_reload_conf()"
    mk.fs.chown(cluster.folder .. "/data/pg_hba.conf", "postgres")
    c:query "SELECT pg_reload_conf()"
    mk.fs.write(dir.path .. "/password", "planted-in-the-role\n")
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function sample(found)
    for _, pid in ipairs(mk.fs.list "/proc") do
      local is_pid, cmdline = pid:match "^%d+$", nil
      for _, name in ipairs(is_pid and { "cmdline", "environ" } or {}) do
        local ok, text = pcall(mk.fs.read, ("/proc/%s/%s"):format(pid, name))
        text = ok and text or ""
        cmdline = name == "cmdline" and text or cmdline
        for _, secret in ipairs(PLANTED) do
          -- Who has to log in is told the password, and nobody else is told anything.
          local may = name == "environ" and secret == "planted-in-the-role" and
            (cmdline:find("pg_dump", 1, true) or cmdline:find("pg_dumpall", 1, true))
          local is_ours = cmdline:find("pg_dump", 1, true) or cmdline:find("pg_restore", 1, true) or
            cmdline:find("tail", 1, true) or cmdline:find("sleep", 1, true) or name == "cmdline"
          if is_ours and not may and text:find(secret, 1, true) then
            found[("%s of %s"):format(name, cmdline:gsub("%z", " "):sub(1, 80))] = secret
          end
        end
      end
    end
  end

  local function nowhere(folder)
    for _, file in ipairs(support.files(folder)) do
      if not file:match "^password$" and not file:match "recipe%d+%.lua$" then
        local text = mk.fs.read(folder .. "/" .. file)
        for _, secret in ipairs(PLANTED) do
          assert.is_nil(text:find(secret, 1, true), file .. " has " .. secret)
        end
      end
    end
  end

  it("is nowhere: in no argument list, no foreign environment, no log, no manifest", function()
    local run = support.start_recipe(dir.path, ([[
      local mk = require "moonkeep"
      local variable, file = mk.secret.env "PLANTED", mk.secret.file "%s/other"
      local app = mk.pg { host = "127.0.0.1", port = %d, user = "keeper", dbname = "app",
        password = mk.secret.file "%s/password" }
      return mk.job { name = "j", source = app, compress = "zstd:6", dump = { globals = true },
        upload = { mk.store("disk", "file://%s/store") }, verify = "decoded",
        run = function(ctx)
          ctx:show("%%s %%s %%s", tostring(variable), tostring(file), mk.json.encode { file })
          mk.process.run { argv = { "sh", "-c", "test ${#X} = 21" }, -- its length
            env = { X = variable } }
          mk.process.run { argv = { "sleep", "0.3" } }
          ctx:backup()
          local c <close> = app:connect()
          pcall(c.query, c, "SELECT 'planted-in-the-role'::int")
          mk.log.warn("the password is %%s", "planted-in-the-role")
          c:query "SELECT 'planted-in-the-role'::int"
        end }]]):format(dir.path, port, dir.path, dir.path),
      { env = { PLANTED = "planted-in-a-variable" }, flags = { "-v" } })
    mk.fs.write(dir.path .. "/other", "planted-in-a-file")
    local found, rounds = {}, 0
    while run.child:running() do
      sample(found)
      rounds = rounds + 1
    end
    run:finish()
    mk.fs.remove(dir.path .. "/other")
    assert.is_true(rounds > 5)
    assert.same({}, found)
    assert.equal(1, run.code)
    assert.equal("PG_ERROR", run.result.error.code, run.stderr)
    assert.matches("the password is %[redacted%]", run.stderr)
    assert.equal(2, #support.manifests(dir.path .. "/store"))
    nowhere(dir.path)
  end)

  it("in a URI of the command line reaches no child, log or state", function()
    local run = support.start(dir.path, { "run", "--source",
      ("postgresql://keeper:planted-in-a-uri@127.0.0.1:%d/app"):format(port), "--to",
      dir.path .. "/store2" }):finish()
    assert.equal(1, run.code)
    assert.equal("PG_AUTH", run.result.error.fault)
    nowhere(dir.path)
  end)

  it("is taken out of the environment before any child is started", function()
    local run = support.run_recipe(dir.path, [[
      local mk = require "moonkeep"
      local planted = mk.secret.env "PLANTED"
      return mk.task { name = "t", run = function(ctx)
        ctx:show("%s", mk.process.run { argv = { "env" } })
      end }]], { env = { PLANTED = "planted-in-a-variable", PGPASSWORD = "planted-in-the-role" } })
    assert.equal(0, run.code, run.stderr)
    assert.is_nil(run.stdout:find("planted", 1, true))
  end)
end)
