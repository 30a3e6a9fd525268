-- COPY as the ends of flows, on real servers: what arrives, and what becomes of both sides when
-- something goes wrong. Numbers are those of the traps that others have met.
local host = require "moonkeep.core.host"
local mk = require "moonkeep"
local support = require "support"

local caught = support.caught

-- Reads all it gets after a pause, so that a COPY is still under way meanwhile.
local SLOW = { kind = "process", argv = { "sh", "-c", "sleep 0.3; cat >/dev/null" } }
local ENDLESS = "COPY (SELECT generate_series(1, 1000000000), repeat('x', 1000)) TO STDOUT"

describe("COPY", function()
  local cluster, db, dir

  setup(function()
    cluster = mk.pg.scratch()
    db = cluster:create_database "specs"
    dir = mk.fs.tempdir()
    local c <close> = db:connect()
    c:query [[
      CREATE TABLE t AS SELECT i, md5(i::text) AS m, i % 7 = 0 AS b
        FROM generate_series(1, 200000) i;
      CREATE TABLE nothing (); CREATE TABLE empty (i int)]]
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function out(connection, sql, sink)
    return mk.flow.run { { kind = "copy", connection = connection, sql = sql, hash = true },
      sink or { kind = "null", label = "out" } }
  end

  -- The connection is as good as new, and no query of ours is left on the server.
  local function is_usable(connection)
    assert.equal(1, connection:value "SELECT 1")
    local other <close> = db:connect()
    support.eventually("no COPY is left", function()
      return other:value [[SELECT count(*) FROM pg_stat_activity
        WHERE query ILIKE 'copy%' AND state = 'active']] == 0
    end)
  end

  it("gives what psql gives, with rows and a content hash", function()
    local c <close> = db:connect()
    local report = out(c, "COPY t TO STDOUT", { kind = "sha256", label = "out" })
    assert.matches("^" .. report.out.result, mk.process.run { argv = { "sh", "-c",
      ("psql -XAtq -h %s -U postgres specs -c 'COPY t TO STDOUT' | sha256sum"):format(
        cluster.folder) } })
    assert.matches("^%d+:200000:%x+$", report.source.result)
    -- another order, the same content
    assert.equal(report.source.result,
      out(c, "COPY (SELECT * FROM t ORDER BY m) TO STDOUT").source.result)
    assert.are_not.equal(report.source.result,
      out(c, "COPY (SELECT i, m, NOT b FROM t) TO STDOUT").source.result)
  end)

  it("goes from one connection into another", function()
    local a <close> = db:connect()
    local b <close> = db:connect()
    b:query "CREATE TEMP TABLE copy_of (LIKE t)"
    local report = mk.flow.run { { kind = "copy", connection = a, sql = "COPY t TO STDOUT",
      hash = true }, { kind = "copy", connection = b, sql = "COPY copy_of FROM STDIN",
      label = "into" } }
    assert.equal("200000", report.into.result)
    assert.equal(report.source.result, out(b, "COPY copy_of TO STDOUT").source.result)
  end)

  it("is fine with no rows and with no columns", function()
    local c <close> = db:connect()
    assert.equal("0:0:" .. ("0"):rep(32), out(c, "COPY empty TO STDOUT").source.result)
    c:query "INSERT INTO nothing SELECT FROM generate_series(1, 3)"
    assert.equal(3, out(c, "COPY nothing TO STDOUT").out.bytes_in)
    local report = mk.flow.run { { kind = "memory", text = "" },
      { kind = "copy", connection = c, sql = "COPY empty FROM STDIN", label = "into" } }
    assert.equal("0", report.into.result)
  end)

  it("runs on many connections at once", function()
    local ranges = {}
    for i = 1, 8 do
      ranges[i] = (i - 1) * 25000
    end
    local rows = 0
    mk.each(ranges, { parallel = 8 }, function(from)
      local c <close> = db:connect()
      local report = out(c, ("COPY (SELECT * FROM t WHERE i > %d AND i <= %d) TO STDOUT"):format(
        from, from + 25000))
      rows = rows + report.source.result:match ":(%d+):"
    end)
    assert.equal(200000, rows)
  end)

  it("carries a row of 100 MB both ways (20)", function()
    local a <close> = db:connect()
    local b <close> = db:connect()
    b:query "CREATE TEMP TABLE huge (v text)"
    local report = mk.flow.run { { kind = "copy", connection = a,
      sql = "COPY (SELECT repeat('0123456789', 10000000)) TO STDOUT" },
      { kind = "copy", connection = b, sql = "COPY huge FROM STDIN" } }
    assert.equal(100000001, report.source.bytes_out)
    assert.equal(100000000, b:value "SELECT length(v) FROM huge")
  end)

  it("refuses hash with the binary format, and SQL of another kind", function()
    local c <close> = db:connect()
    assert.matches("text format only", caught(out, c, "COPY t TO STDOUT (FORMAT binary)").hint)
    assert.matches("not a COPY %.%.%. TO STDOUT", caught(out, c, "SELECT 1").message)
    assert.matches("not a COPY %.%.%. TO STDOUT", caught(out, c, "COPY t FROM STDIN").message)
    assert.equal("42P01", caught(out, c, "COPY nope TO STDOUT").sqlstate)
    is_usable(c)
    assert.matches("connection must be a connection", tostring(caught(out, "c", "COPY t")))
    local err = caught(mk.flow.run, { { kind = "memory", text = "" }, { kind = "copy",
      connection = c, sql = "COPY t TO STDOUT" } })
    assert.matches("not a COPY %.%.%. FROM STDIN", err.message)
    assert.is_false(c.native:is_open()) -- its rows may have no end
  end)

  it("keeps its connection busy, and only its own", function()
    local c <close> = db:connect()
    mk.timeout("30s", function()
      local err = caught(mk.all, {
        function() out(c, ENDLESS, SLOW) end,
        function() mk.sleep "50ms" c:query "SELECT 1" end,
      })
      assert.equal("BUSY", err.code)
      assert.matches("another COPY", err.message)
    end)
    is_usable(c)
  end)

  it("fails with the server's error in the middle, and publishes nothing", function()
    local c <close> = db:connect()
    local path = dir.path .. "/half"
    local err = caught(out, c, "COPY (SELECT 1 / (150000 - i) FROM t) TO STDOUT",
      { kind = "file", path = path })
    assert.equal("PG_ERROR", err.code)
    assert.equal("22012", err.sqlstate)
    assert.is_false(mk.fs.exists(path))
    is_usable(c)
  end)

  it("keeps no row when the data is bad, and tells the line", function()
    local c <close> = db:connect()
    local err = caught(mk.flow.run, { { kind = "memory", text = "1\n2\nthree\n4\n" },
      { kind = "copy", connection = c, sql = "COPY empty FROM STDIN" } })
    assert.equal("22P02", err.sqlstate)
    assert.matches("COPY empty, line 3", err.detail)
    assert.equal(0, c:value "SELECT count(*) FROM empty")
    is_usable(c)
  end)

  it("keeps no row when the source fails", function()
    local c <close> = db:connect()
    local err = caught(mk.flow.run, {
      { kind = "process", argv = { "sh", "-c", "seq 1 500000; exit 7" } },
      { kind = "copy", connection = c, sql = "COPY empty FROM STDIN" } })
    assert.equal("PROCESS_FAILED", err.code)
    assert.equal(0, c:value "SELECT count(*) FROM empty")
    is_usable(c)
  end)

  it("is cancelled with its task, in both directions, and its connection can be used again (22)",
    function()
      local c <close> = db:connect()
      assert.equal("TIMEOUT", caught(mk.timeout, "100ms", out, c, ENDLESS).code)
      is_usable(c)
      assert.equal("TIMEOUT", caught(mk.timeout, "100ms", out, c, ENDLESS, SLOW).code)
      is_usable(c)
      assert.equal("TIMEOUT", caught(mk.timeout, "100ms", mk.flow.run, {
        { kind = "process", argv = { "sh", "-c", "seq 1 1000000; exec sleep 60" } },
        { kind = "copy", connection = c, sql = "COPY empty FROM STDIN" } }).code)
      assert.equal(0, c:value "SELECT count(*) FROM empty")
      is_usable(c)
      -- a server that is busy with what it has got, and reads no more
      c:query [[CREATE FUNCTION pg_temp.slow() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
        CREATE TRIGGER slow BEFORE INSERT ON empty FOR EACH ROW EXECUTE FUNCTION pg_temp.slow()]]
      assert.equal("TIMEOUT", caught(mk.timeout, "100ms", mk.flow.run, {
        { kind = "process", argv = { "seq", "1", "3000000" } },
        { kind = "copy", connection = c, sql = "COPY empty FROM STDIN" } }).code)
      c:query "DROP TRIGGER slow ON empty"
      is_usable(c)
    end)

  it("is told as lost when its backend is ended, in both directions (22)", function()
    local killer <close> = db:connect()
    local flows = {
      function(c) out(c, ENDLESS) end,
      function(c)
        mk.flow.run { { kind = "process", argv = { "sh", "-c", "while :; do seq 1 1000; done" } },
          { kind = "copy", connection = c, sql = "COPY empty FROM STDIN" } }
      end,
    }
    for _, flow in ipairs(flows) do
      local c <close> = db:connect()
      local pid = c:value "SELECT pg_backend_pid()"
      local err = caught(mk.all, {
        function() flow(c) end,
        function()
          mk.sleep "100ms"
          killer:query("SELECT pg_terminate_backend($1)", pid)
          mk.sleep "20s"
        end,
      })
      assert.equal("PG_CONNECTION_LOST", err.code)
      assert.equal("PG_CONNECTION_LOST", caught(c.query, c, "SELECT 1").code)
    end
  end)

  it("ends when its connection is closed or collected under it", function()
    local c = db:connect()
    local err = caught(mk.all, {
      function() out(c, ENDLESS) end,
      function() mk.sleep "50ms" c:close() mk.sleep "20s" end,
    })
    assert.equal("PG_CONNECTION_LOST", err.code)
    assert.matches("it was closed", err.message)
    c = db:connect()
    local core = require "moonkeep.core.flow"
    local flow = core.new { { kind = "copy", connection = c, sql = "COPY t TO STDOUT" },
      { kind = "null" } }
    c:close()
    assert.equal("PG_CONNECTION_LOST", caught(flow.run, flow).code)
    assert.equal("TIMEOUT", caught(mk.timeout, "50ms", function()
      local connection = db:connect()
      out(connection, ENDLESS)
    end).code)
    collectgarbage()
    collectgarbage()
  end)

  it("survives a storm of notices from a trigger (21)", function()
    local c <close> = db:connect()
    c:query [[CREATE TEMP TABLE noisy (i int);
      CREATE FUNCTION pg_temp.noise() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE NOTICE '%', repeat('n', 300); RETURN NEW; END$$;
      CREATE TRIGGER noise BEFORE INSERT ON noisy FOR EACH ROW EXECUTE FUNCTION pg_temp.noise()]]
    local report = mk.flow.run { { kind = "process", argv = { "seq", "1", "50000" } },
      { kind = "copy", connection = c, sql = "COPY noisy FROM STDIN", label = "into" } }
    assert.equal("50000", report.into.result)
    is_usable(c)
  end)

  it("gives up a server that does not react to a cancel", function()
    local c <close> = db:connect()
    local pid = tostring(c:value "SELECT pg_backend_pid()")
    local began = host.monotonic()
    local err = caught(mk.timeout, "200ms", mk.all, {
      function() out(c, ENDLESS) end,
      function() mk.sleep "50ms" mk.process.run { argv = { "kill", "-STOP", pid } } end,
    })
    mk.process.run { argv = { "kill", "-CONT", pid } }
    assert.equal("TIMEOUT", err.code)
    assert.is_true(host.monotonic() - began >= 5000)
    assert.equal("PG_CONNECTION_LOST", caught(c.query, c, "SELECT 1").code)
  end)

  it("is lost in a crash of the server, whose next connection works", function()
    local other <close> = mk.pg.scratch()
    local source = other:database "postgres"
    local c <close> = source:connect()
    local victim <close> = source:connect()
    local pid = tostring(victim:value "SELECT pg_backend_pid()")
    local err = caught(mk.all, {
      function() out(c, ENDLESS) end,
      function()
        mk.sleep "100ms"
        mk.process.run { argv = { "kill", "-9", pid } }
        mk.sleep "20s"
      end,
    })
    assert.equal("PG_CONNECTION_LOST", err.code)
    local again <close> = support.eventually("the server has recovered", function()
      local ok, connection = pcall(source.connect, source)
      return ok and connection
    end)
    assert.equal(1, again:value "SELECT 1")
  end)
end)
