-- What `doctor` finds on servers that are not plain: a standby, a pooler, one that is in use.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

describe("the doctor", function()
  local cluster, dir

  setup(function()
    cluster = mk.pg.scratch()
    dir = mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query(support.SMALL)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- The findings of one check, in order, and the exit code.
  local function findings(check, folder, conninfo)
    local run = support.start(dir.path, { "doctor", "--source",
      ("host=%s user=postgres dbname=app %s"):format(folder, conninfo or ""), "--to",
      dir.path .. "/store", "--json" }):finish()
    local found = {}
    for _, finding in ipairs(json.decode(run.stdout).jobs[1].findings) do
      found[#found + 1] = finding.check == check and finding or nil
    end
    return found, run.code
  end

  it("warns that a standby may cancel the dump, and is content when its fix is followed", function()
    local standby <close> = support.standby(cluster)
    local found, code = findings("standby", standby.folder)
    assert.equal(3, code)
    assert.same({ "ok", "warn" }, { found[1].level, found[2].level })
    assert.matches("this is a standby; its last replayed transaction is .+ old", found[1].text)
    assert.equal("replay may cancel the dump after 30s", found[2].text)
    assert.matches("ALTER SYSTEM SET hot_standby_feedback = on", found[2].fix)
    local c <close> = standby.source:connect()
    c:query "ALTER SYSTEM SET hot_standby_feedback = on"
    c:query "SELECT pg_reload_conf()"
    support.eventually("the standby has read its settings", function()
      return c:value "SHOW hot_standby_feedback" == "on"
    end)
    assert.equal(1, #findings("standby", standby.folder))
    standby.promote()
    assert.same({}, (findings("standby", standby.folder)))
  end)

  it("finds a pooler between itself and the server", function()
    local bouncer <close> = support.pooler(cluster, "transaction")
    local found, code = findings("pooler", bouncer.folder)
    assert.equal(1, code)
    assert.equal("error", found[1].level)
    assert.matches("connection pooler stands between", found[1].text)
    assert.matches("connect to the server itself", found[1].fix)
    assert.same({}, (findings("pooler", cluster.folder)))
  end)

  it("names who holds a lock that a dump would wait for", function()
    local c <close> = cluster:database("app"):connect()
    c:query "BEGIN"
    c:query "LOCK TABLE fruit IN ACCESS EXCLUSIVE MODE"
    local found, code = findings("locks", cluster.folder)
    assert.equal(3, code)
    assert.equal(("process %d holds or wants an exclusive lock on fruit: a dump would wait for it")
      :format(c:value "SELECT pg_backend_pid()"), found[1].text)
    c:query "COMMIT"
    assert.equal("ok", findings("locks", cluster.folder)[1].level)
  end)

  it("tells of extensions that a restore needs", function()
    local c <close> = cluster:database("app"):connect()
    c:query "CREATE EXTENSION pg_trgm"
    assert.matches("a restore needs: pg_trgm %d", findings("extensions", cluster.folder)[1].text)
    c:query "DROP EXTENSION pg_trgm"
  end)
end)
