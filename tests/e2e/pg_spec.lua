local host = require "moonkeep.core.host"
local mk = require "moonkeep"
local pg = require "moonkeep.pg"
local support = require "support"

local caught = support.caught

describe("PostgreSQL", function()
  local cluster, db

  setup(function()
    cluster = mk.pg.scratch()
    db = cluster:create_database "specs"
  end)
  teardown(function()
    cluster:close()
  end)

  describe("a query", function()
    it("gives rows with Lua types where they are exact, and text elsewhere", function()
      local c <close> = db:connect()
      local rows = c:query [[
        SELECT true AS b, 9007199254740993::bigint AS i8, 7::smallint AS i2, 1.5::float8 AS f,
               1234567890.0123456789::numeric AS n, 'text'::text AS t, NULL::int AS nothing,
               '\xdead'::bytea AS bytes, '{"a":1}'::jsonb AS j]]
      assert.same({ b = true, i8 = 9007199254740993, i2 = 7, f = 1.5, n = "1234567890.0123456789",
        t = "text", bytes = "\\xdead", j = '{"a": 1}' }, rows[1])
      assert.equal("integer", math.type(rows[1].i8))
      assert.equal(1, #rows)
      assert.equal(1, rows.affected)
    end)

    it("takes parameters, which are never part of the SQL", function()
      local c <close> = db:connect()
      local nasty = "'; DROP TABLE x; -- \\ $1"
      assert.equal(nasty, c:value("SELECT $1::text", nasty))
      assert.equal(42, c:value("SELECT $1::int + $2", 40, 2))
      assert.equal(false, c:value("SELECT $1::bool", false))
      assert.is_nil(c:value("SELECT $1::text", nil))
      assert.is_true(c:value("SELECT $1::text IS NULL AND $2::int = 1", nil, 1))
    end)

    it("may be several statements without parameters", function()
      local c <close> = db:connect()
      assert.equal(3, c:value [[CREATE TEMP TABLE t (i int); INSERT INTO t VALUES (1), (2), (3);
        SELECT count(*) FROM t]])
      assert.equal(2, c:query("DELETE FROM t WHERE i < 3").affected)
    end)

    it("raises with SQLSTATE, detail, hint and the SQL", function()
      local c <close> = db:connect()
      c:query "CREATE TEMP TABLE u (i int PRIMARY KEY)"
      c:query "INSERT INTO u VALUES (1)"
      local err = caught(c.query, c, "INSERT INTO u VALUES (1)")
      assert.equal("PG_ERROR", err.code)
      assert.equal("23505", err.sqlstate)
      assert.equal("Key (i)=(1) already exists.", err.detail)
      assert.equal("INSERT INTO u VALUES (1)", err.query)
      err = caught(c.query, c, "SELECT lenght('x')")
      assert.equal("42883", err.sqlstate)
      assert.matches("No function matches", err.hint)
      assert.equal(1, c:value "SELECT 1") -- the connection is as good as new
    end)

    it("carries a value of many megabytes", function()
      local c <close> = db:connect()
      assert.equal(20000000, #c:value "SELECT repeat('x', 20000000)")
    end)

    it("survives a storm of notices", function()
      local c <close> = db:connect()
      c:query [[DO $$ BEGIN FOR i IN 1..5000 LOOP RAISE NOTICE '%', repeat('n', 500); END LOOP;
        END $$]]
      assert.equal(1, c:value "SELECT 1")
    end)

    it("refuses COPY, which is for flows", function()
      local c <close> = db:connect()
      assert.matches("COPY cannot be run", caught(c.query, c, "COPY (SELECT 1) TO STDOUT").message)
    end)

    it("is one at a time", function()
      local c <close> = db:connect()
      local err = caught(mk.all, {
        function() c:query "SELECT pg_sleep(5)" end,
        function() mk.sleep "20ms" c:query "SELECT 1" end,
      })
      assert.equal("BUSY", err.code)
    end)
  end)

  describe("cancelling", function()
    it("stops the server's work and keeps the connection", function()
      local c <close> = db:connect()
      local began = host.monotonic()
      assert.equal("TIMEOUT", caught(mk.timeout, "50ms", c.query, c, "SELECT pg_sleep(60)").code)
      assert.is_true(host.monotonic() - began < 20000)
      assert.equal(1, c:value "SELECT 1")
      local other <close> = db:connect()
      assert.equal(0, other:value [[SELECT count(*) FROM pg_stat_activity
        WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active']])
    end)
  end)

  describe("closing a connection", function()
    it("stops what the server does for it", function()
      local c = db:connect()
      local err = caught(mk.all, {
        function() c:query "SELECT pg_sleep(61)" end,
        function() mk.sleep "50ms" c:close() mk.sleep "20s" end,
      })
      assert.equal("PG_CONNECTION_LOST", err.code)
      local other <close> = db:connect()
      support.eventually("the server has stopped", function()
        return other:value [[SELECT count(*) FROM pg_stat_activity
          WHERE query = 'SELECT pg_sleep(61)' AND state = 'active']] == 0
      end)
    end)
  end)

  describe("a transaction", function()
    it("commits, and rolls back on any error", function()
      local c <close> = db:connect()
      c:query "CREATE TABLE tx (i int)"
      assert.equal("done", c:transaction(function()
        c:query "INSERT INTO tx VALUES (1)"
        return "done"
      end))
      local err = caught(c.transaction, c, function()
        c:query "INSERT INTO tx VALUES (2)"
        error "changed my mind"
      end)
      assert.matches("changed my mind", tostring(err))
      assert.equal(1, c:value "SELECT count(*) FROM tx")
      assert.equal("25006", caught(c.transaction, c, { read_only = true }, function()
        c:query "INSERT INTO tx VALUES (3)"
      end).sqlstate)
      assert.equal("repeatable read", c:transaction({ isolation = "repeatable read" }, function()
        return c:value "SHOW transaction_isolation"
      end))
      assert.equal("INVALID", caught(c.transaction, c, { isolation = "chaos" }, print).code)
    end)

    it("is rolled back when its task is stopped", function()
      local c <close> = db:connect()
      c:query "CREATE TABLE tx2 (i int)"
      caught(mk.timeout, "500ms", c.transaction, c, function()
        c:query "INSERT INTO tx2 VALUES (1)"
        mk.sleep "60s"
      end)
      assert.equal(0, c:value "SELECT count(*) FROM tx2")
    end)
  end)

  describe("a lost connection", function()
    it("is told as such, in the middle of a query and after", function()
      local c <close> = db:connect()
      local killer <close> = db:connect()
      local pid = c:value "SELECT pg_backend_pid()"
      assert.equal(pid, c.native:backend_pid())
      local err = caught(mk.all, {
        function() c:query "SELECT pg_sleep(60)" end,
        function()
          mk.sleep "50ms"
          killer:query("SELECT pg_terminate_backend($1)", pid)
          mk.sleep "5s"
        end,
      })
      assert.is_true(err.code == "PG_CONNECTION_LOST" or err.sqlstate == "57P01", tostring(err))
      assert.is_false(c.native:is_open() and pcall(c.query, c, "SELECT 1"))
      assert.equal("PG_CONNECTION_LOST", caught(c.query, c, "SELECT 1").code)
    end)
  end)

  describe("connecting", function()
    it("tells an unknown database and an unknown host by name", function()
      local err = caught(function() db:with({ dbname = "nope" }):connect() end)
      assert.equal("PG_CONNECT", err.code)
      assert.matches('database "nope" does not exist', err.message)
      assert.matches("psql %-l", err.hint)
      err = caught(function() mk.pg { host = "no-such-host.invalid" }:connect() end)
      assert.matches("could not translate host name", err.message)
      assert.matches("DNS", err.hint)
    end)

    it("goes on to the next host when the first is dead", function()
      local hosts = "/no/such/folder," .. cluster.folder
      local c <close> = mk.pg { host = hosts, user = "postgres", dbname = "specs" }:connect()
      assert.equal("specs", c:value "SELECT current_database()")
    end)

    it("goes on over TCP, when the first refuses and when it never answers (18, 19)", function()
      local dir <close> = mk.fs.tempdir()
      local tcp <close> = mk.pg.scratch { settings = { listen_addresses = "127.0.0.1",
        port = math.random(20000, 29999) } } -- below those that clients get
      local port = tcp:database("postgres"):connect():value "SHOW port"
      local silent <close> = mk.process.spawn { argv = { "/usr/bin/python3", "-c", [[
import os, socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(5)
open(sys.argv[1] + ".new", "w").write(str(s.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)]], dir.path .. "/port" } }
      local silent_port = support.eventually("it listens", function()
        return mk.fs.exists(dir.path .. "/port") and mk.fs.read(dir.path .. "/port")
      end)
      for _, first in ipairs { "1", silent_port } do
        local source = mk.pg { host = "127.0.0.1,127.0.0.1", port = first .. "," .. port,
          user = "postgres", dbname = "postgres" }
        local c <close> = source:connect { timeout = "6s" }
        assert.equal(port, c:value "SHOW port")
      end
      local alone = mk.pg { host = "127.0.0.1", port = silent_port }
      assert.equal("TIMEOUT", caught(alone.connect, alone, { timeout = "300ms" }).code)
      assert.is_true(silent:running())
    end)

    it("takes URIs and conninfo strings", function()
      local encoded = cluster.folder:gsub("/", "%%2F")
      local c <close> = mk.pg("postgresql://postgres@" .. encoded .. "/specs"):connect()
      assert.equal("specs", c:value "SELECT current_database()")
      local d <close> = mk.pg("host=" .. cluster.folder .. " user=postgres dbname=specs"):connect()
      assert.equal(cluster.major, d:major())
      assert.equal("INVALID", caught(mk.pg, "host='x").code)
    end)

    it("uses service files as libpq does", function()
      local dir <close> = mk.fs.tempdir()
      mk.fs.write(dir.path .. "/services", ("[app]\nhost=%s\nuser=postgres\ndbname=specs\n")
        :format(cluster.folder))
      local run = support.run_recipe(dir.path, [[
        local mk = require "moonkeep"
        local app = mk.pg { service = "app" }
        return mk.job { name = "x", run = function(ctx)
          local c <close> = app:connect()
          ctx:show(c:value "SELECT current_database()")
        end }]], { env = { PGSERVICEFILE = dir.path .. "/services" } })
      assert.equal("specs\n", run.stdout, run.stderr)
    end)

    it("uses .pgpass as libpq does", function()
      local dir <close> = mk.fs.tempdir()
      local admin <close> = db:connect()
      admin:query "CREATE ROLE locked LOGIN PASSWORD 'sesame'"
      local hba = cluster.folder .. "/data/pg_hba.conf"
      local before = mk.fs.read(hba)
      mk.process.run { argv = { "sh", "-c",
        ("printf 'local all locked scram-sha-256\\n%%s' \"$BEFORE\" >%s"):format(hba) },
        env = { BEFORE = before } }
      admin:query "SELECT pg_reload_conf()"
      local locked = db:with { user = "locked" }
      for _ = 1, 100 do -- until the reload has been seen
        local ok, connection = pcall(locked.connect, locked)
        if not ok then break end
        connection:close()
        mk.sleep "20ms"
      end
      local err = caught(locked.connect, locked)
      assert.matches("no password supplied", err.message)
      assert.matches("pgpass", err.hint)
      local wrong = locked:with { password = "open" }
      err = caught(wrong.connect, wrong)
      assert.matches("password authentication failed", err.message)
      assert.equal("PG_AUTH", err.fault)
      assert.matches("pgpass", err.hint)

      mk.fs.write(dir.path .. "/pgpass", "*:*:*:locked:sesame\n")
      local c <close> = locked:with({ passfile = dir.path .. "/pgpass" }):connect()
      assert.equal("locked", c:value "SELECT current_user")
      local d <close> = locked:with({ password = "sesame" }):connect()
      assert.equal("locked", d:value "SELECT current_user")
    end)

    it("refuses keys that libpq does not have", function()
      local err = caught(mk.pg, { hots = "x" })
      assert.matches('unknown key "hots", did you mean "host"', err.message)
    end)

    it("never puts the password into a program's arguments", function()
      local conninfo, env = pg.source({ host = "h'\\x", password = "sesame" }):for_program()
      assert.equal("host='h\\'\\\\x'", conninfo)
      assert.equal("sesame", env.PGPASSWORD)
      assert.is_nil(tostring(pg.source { host = "h", password = "sesame" }):find "sesame")
    end)

    it("refuses a server without TLS when it is told to use it", function()
      local err = caught(function() db:with({ sslmode = "require", host = "127.0.0.1",
        port = "1" }):connect() end)
      assert.equal("PG_CONNECT", err.code)
    end)
  end)

  describe("TLS", function()
    local dir, secure, tls

    setup(function()
      dir = mk.fs.tempdir()
      local key, cert = dir.path .. "/key.pem", dir.path .. "/cert.pem"
      mk.process.run { argv = { "openssl", "req", "-new", "-x509", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-newkey", "ec",
        "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-keyout", key, "-out", cert } }
      if mk.process.uid() == 0 then
        mk.fs.chown(key, "postgres")
        mk.process.run { argv = { "chmod", "755", dir.path } }
      end
      secure = mk.pg.scratch { settings = { ssl = "on", ssl_key_file = key, ssl_cert_file = cert,
        listen_addresses = "127.0.0.1", port = math.random(20000, 29999) } }
      tls = secure:database("postgres"):with { host = "localhost", hostaddr = "127.0.0.1",
        sslmode = "verify-full", sslrootcert = cert }
    end)
    teardown(function()
      secure:close()
      dir:close()
    end)

    it("carries values of every size around its record boundaries", function()
      local c <close> = tls:connect()
      assert.is_true(c:value "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
      for _, size in ipairs { 8192, 16384, 32768, 65536 } do
        for delta = -20, 20 do
          assert.equal(size + delta, #c:value("SELECT repeat('x', $1)", size + delta))
        end
      end
      assert.equal(20000000, #c:value "SELECT repeat('x', 20000000)")
    end)

    it("is read to the end of what OpenSSL holds, however records fall (20)", function()
      for _, unparsed in ipairs { 100, 5000, 8100 } do
        local port_file = ("%s/port%d"):format(dir.path, unparsed)
        local server <close> = mk.process.spawn { argv = { "/usr/bin/python3",
          "tests/e2e/tls_server.py", dir.path .. "/cert.pem", dir.path .. "/key.pem", port_file,
          tostring(unparsed) } }
        support.eventually("the server listens", function()
          assert.is_true(server:running())
          return mk.fs.exists(port_file)
        end)
        local c <close> = mk.pg { host = "127.0.0.1", port = mk.fs.read(port_file),
          user = "postgres", sslmode = "require" }:connect()
        assert.is_true(#mk.timeout("20s", c.query, c, "SELECT") > 3)
      end
    end)

    it("carries COPY in both directions around its record boundaries (20)", function()
      local a <close> = tls:connect()
      local b <close> = tls:connect()
      b:query "CREATE TEMP TABLE sizes (v text)"
      local sql = [[COPY (SELECT repeat('x', s + d) FROM (VALUES (8192), (16384), (32768), (65536))
        AS sizes(s), generate_series(-20, 20) d) TO STDOUT]]
      local report = mk.flow.run { { kind = "copy", connection = a, sql = sql, hash = true },
        { kind = "copy", connection = b, sql = "COPY sizes FROM STDIN" } }
      assert.equal(report.source.result, mk.flow.run({ { kind = "copy", connection = b,
        sql = "COPY sizes TO STDOUT", hash = true }, { kind = "null" } }).source.result)
      local ok, err = pcall(mk.timeout, "200ms", mk.flow.run, { { kind = "copy", connection = a,
        sql = "COPY (SELECT repeat('x', 1000), generate_series(1, 100000000)) TO STDOUT" },
        { kind = "null" } })
      assert.is_false(ok)
      assert.equal("TIMEOUT", err.code)
      assert.equal(1, a:value "SELECT 1")
    end)

    it("verifies the server's certificate and name", function()
      local name = tls:with { host = "127.0.0.1" }
      assert.matches("does not match host name", caught(name.connect, name).message)
      local other = tls:with { sslrootcert = "/etc/ssl/certs/ca-certificates.crt" }
      assert.equal("PG_CONNECT", caught(other.connect, other).code)
    end)
  end)

  describe("the collector", function()
    it("takes a connection that is open, busy, closed, lost or copying (8)", function()
      local states = {
        function() db:connect() end,
        function() db:connect():close() end,
        function()
          pcall(mk.timeout, "30ms", function() db:connect():query "SELECT pg_sleep(9)" end)
        end,
        function() pcall(mk.timeout, "1ms", function() db:connect() end) end,
        function()
          pcall(mk.timeout, "30ms", function()
            mk.flow.run { { kind = "copy", connection = db:connect(),
              sql = "COPY (SELECT pg_sleep(9)) TO STDOUT" }, { kind = "null" } }
          end)
        end,
        function()
          local c = db:connect()
          pcall(c.query, c, "SELECT pg_terminate_backend(pg_backend_pid())")
        end,
      }
      for _, state in ipairs(states) do
        for _ = 1, 3 do
          state()
          collectgarbage()
          collectgarbage()
        end
      end
      local c <close> = db:connect()
      support.eventually("no session but this one is left", function()
        return c:value [[SELECT count(*) FROM pg_stat_activity
          WHERE datname = 'specs' AND backend_type = 'client backend']] == 1
      end)
    end)
  end)

  describe("a scratch cluster", function()
    it("can be reached by its socket only, and is gone afterwards", function()
      local folder
      do
        local other <close> = mk.pg.scratch { settings = { work_mem = "7MB" } }
        folder = other.folder
        local c <close> = other:database("postgres"):connect()
        assert.equal("7MB", c:value "SHOW work_mem")
        assert.equal("", c:value "SHOW listen_addresses")
        assert.equal(448, mk.fs.stat(folder).mode)
      end
      assert.is_false(mk.fs.exists(folder))
    end)

    it("says why it did not start, and leaves nothing", function()
      local err = caught(mk.pg.scratch, { settings = { shared_buffers = "none" } })
      assert.equal("SCRATCH_FAILED", err.code)
      assert.matches("shared_buffers", err.detail)
      assert.equal("PG_VERSION_MISMATCH", caught(mk.pg.scratch, { major = 9 }).code)
    end)
  end)
end)
