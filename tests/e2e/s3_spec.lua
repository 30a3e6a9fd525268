-- Stores in buckets, against Ceph's S3 gateway, which checks signatures.
local fingerprint = require "fingerprint"
local layout = require "moonkeep.store.layout"
local mk = require "moonkeep"
local servers = require "servers"
local suite = require "store_suite"
local support = require "support"
local verify = require "moonkeep.verify"

describe("a store in a bucket", function()
  local rgw, n = nil, 0

  setup(function() rgw = servers.rgw(true) end)
  teardown(function() getmetatable(rgw).__close() end)

  local function bucket(options)
    n = n + 1
    local name = "bucket" .. n
    rgw.driver(name).client:call { method = "PUT" }
    return rgw.driver(name .. "/some prefix", options), name
  end

  local function uploads(driver)
    local count = 0
    driver.client:list_uploads("", function() count = count + 1 end)
    return count
  end

  suite(it, function()
    local driver = bucket()
    return driver, function() return uploads(driver) end
  end)

  local function refused(options, hint)
    local driver = rgw.driver("bucket1", options)
    local err = support.caught(driver.names, driver, "")
    assert.matches(hint, err.hint or "no hint")
    return err
  end

  it("that does not let us in says why", function()
    bucket()
    local err = refused({ secret_key = "wrong" }, "secret key does not belong to the access key")
    assert.equal("PERMISSION_DENIED", err.code)
    assert.matches("^GET s3://bucket1/: it answered 403, SignatureDoesNotMatch", err.message)
    err = refused({ access_key = "nobody" }, "does not know this access key")
    assert.equal("PERMISSION_DENIED", err.code)
    local driver = rgw.driver "nowhere"
    err = support.caught(driver.write, driver, "a", "b")
    assert.equal("NOT_FOUND", err.code)
    assert.equal("there is no bucket nowhere: create it, or correct the store's URL", err.hint)
  end)

  it("is reached by TLS, whose certificate is verified", function()
    local driver = bucket { endpoint = rgw.tls_url, ca = rgw.ca }
    driver:write("a", "b")
    assert.equal("b", driver:read "a")
    driver = bucket { endpoint = rgw.tls_url, retries = 0 }
    assert.equal("TLS", support.caught(driver.read, driver, "a").code)
  end)

  it("can have its name in the host's", function()
    local _, name = bucket()
    local driver = rgw.driver(name, { path_style = false, endpoint = rgw.url:gsub("127.0.0.1",
      "localhost") })
    driver:write("a", "b")
    assert.equal("b", driver:read "a")
  end)

  it("that is full says so", function()
    local driver = bucket()
    rgw.admin("quota", "set", "--quota-scope=user", "--uid=t", "--max-size=1")
    rgw.admin("quota", "enable", "--quota-scope=user", "--uid=t")
    local ok, err = pcall(function()
      for _ = 1, 100 do
        driver:write("a", ("x"):rep(100000))
      end
    end)
    rgw.admin("quota", "disable", "--quota-scope=user", "--uid=t")
    assert.is_false(ok)
    assert.equal("DISK_FULL", err.code)
    assert.matches("quota", err.hint)
  end)

  it("keeps objects that only our key opens", function()
    local key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    local driver, name = bucket { encryption_key = key }
    for _, size in ipairs { 1000, 20000000 } do -- one request, and parts
      local digest = { kind = "sha256", label = "sum" }
      local sum = mk.flow.run({ { kind = "process", argv = { "head", "-c", tostring(size),
        "/dev/zero" } }, { kind = "tee", { driver:sink "a" }, { digest } } }).sum.result
      assert.equal(sum, mk.flow.run({ driver:source "a", digest }).sum.result)
      assert.equal(size, driver:stat("a").size)
      local other = rgw.driver(name .. "/some prefix")
      assert.is_false(pcall(mk.flow.run, { other:source "a", { kind = "null" } }))
    end
    driver:write("b", "text")
    assert.equal("text", driver:read "b")
    local short = rgw.driver(name .. "/some prefix", { encryption_key = "c2hvcnQ=" })
    assert.matches("openssl rand %-base64 32", support.caught(short.read, short, "b").hint)
  end)

  it("is never given a key that others could read", function()
    local made, why = require("moonkeep.store.s3").new("bucket", rgw.options { encryption_key = "x",
      endpoint = "http://s3.example.org" })
    assert.is_nil(made)
    assert.matches("would be sent without encryption", why)
  end)

  it("keeps objects with tags, and locked", function()
    n = n + 1
    local name = "locked" .. n
    rgw.driver(name).client:call { method = "PUT", headers = {
      ["x-amz-bucket-object-lock-enabled"] = "true" } }
    local driver = rgw.driver(name, { tags = { team = "dba & co", stage = "prod" }, lock = "1d",
      checksums = false })
    driver:write("a", "text")
    local client = driver.client
    local tags = client:call({ method = "GET", key = "a", query = { tagging = "" } }).body
    assert.matches("<Key>stage</Key><Value>prod</Value>", tags)
    assert.matches("<Value>dba &amp; co</Value>", tags)
    local head = client:call({ method = "HEAD", key = "a" }).headers
    assert.equal("GOVERNANCE", head["x-amz-object-lock-mode"])
    local err = support.caught(client.call, client, { method = "DELETE", key = "a", query = {
      versionId = head["x-amz-version-id"] } })
    assert.equal("PERMISSION_DENIED", err.code)
    local lock = assert(driver:hold "lock") -- what marks a run as alive is not locked
    lock:close()
    assert.is_nil(driver:stat "lock")
  end)

  it("may keep old versions of everything", function()
    local driver, name = bucket()
    rgw.driver(name).client:call { method = "PUT", query = { versioning = "" }, body = "<Versioning" ..
      "Configuration><Status>Enabled</Status></VersioningConfiguration>" }
    assert.matches("keeps old versions", driver:remarks()[1])
    assert.same({}, bucket():remarks())
    local st = layout.new("s", driver)
    do
      local session <close> = st:begin("job", "app", "20261122T020000Z-000001")
      session:put("1.dat", "x") -- and given up
    end
    assert.same({}, st:list("job", "app"))
    assert.same({}, driver:names "job/app/")
    do
      local session <close> = st:begin("job", "app", "20261122T020000Z-000002")
      session:put("1.dat", "y")
      session:publish(mk.json.encode { format = 1 })
    end
    assert.same({ "20261122T020000Z-000002" }, st:list("job", "app"))
    assert.equal("y", driver:read "job/app/20261122T020000Z-000002/1.dat")
  end)

  it("is read and written by other programs", function()
    local driver, name = bucket()
    local dir <close> = mk.fs.tempdir()
    mk.process.run { argv = { "bash", "-c", "head -c 40000000 /dev/urandom > a; head -c 5000000 a > b" },
      cwd = dir.path }
    local env = { AWS_ACCESS_KEY_ID = rgw.id, AWS_SECRET_ACCESS_KEY = rgw.secret, AWS_CA_BUNDLE = false,
      AWS_DEFAULT_REGION = "us-east-1", AWS_EC2_METADATA_DISABLED = "true",
      RCLONE_CONFIG_R_TYPE = "s3", RCLONE_CONFIG_R_PROVIDER = "Ceph", RCLONE_CONFIG_R_ENDPOINT = rgw.url,
      RCLONE_CONFIG_R_ENV_AUTH = "true" }
    local function run(...)
      mk.process.run { argv = { ... }, cwd = dir.path, env = env }
    end
    local place = ("s3://%s/some prefix/"):format(name)
    for _, file in ipairs { "a", "b" } do -- ours, read by theirs
      mk.flow.run { { kind = "file", path = dir.path .. "/" .. file }, driver:sink(file) }
      run("aws", "--endpoint-url", rgw.url, "s3", "cp", "--no-progress", place .. file, "by aws")
      run("cmp", file, "by aws")
      run("rclone", "copyto", ("r:%s/some prefix/%s"):format(name, file), "by rclone")
      run("cmp", file, "by rclone")
    end
    run("aws", "--endpoint-url", rgw.url, "s3", "cp", "--no-progress", "a", place .. "by aws")
    run("rclone", "copyto", "a", ("r:%s/some prefix/by rclone"):format(name))
    for _, key in ipairs { "by aws", "by rclone" } do -- theirs, read by ours
      mk.flow.run { driver:source(key), { kind = "file", path = dir.path .. "/ours " .. key } }
      run("cmp", "a", "ours " .. key)
    end
  end)

  it("is cleared of what a dead run has left, when its lease has run out", function()
    local driver = bucket { lease = "2s" }
    local st, id = layout.new("s", driver), "20261122T020000Z-3f9a2c"
    local alive = st:begin("job", "app", id)
    alive:put("1.dat", "x")
    local upload = driver.client:call { method = "POST", query = { uploads = "" },
      key = ("some prefix/job/app/%s/2.dat"):format(id) }
    assert.equal(200, upload.status)
    mk.sleep "3s" -- the lease is renewed in the meantime
    do
      local other <close> = st:begin("job", "app", "20261122T030000Z-000000")
      assert.truthy(other)
    end
    assert.equal("x", driver:read(("job/app/%s/1.dat"):format(id)))
    assert.equal(1, uploads(driver))
    alive.lock.scope:cancel(require("moonkeep.errors").new("CANCELED", "killed")) -- and left
    mk.sleep "4s"
    do
      local other <close> = st:begin("job", "app", "20261122T030000Z-000001")
      assert.truthy(other)
    end
    assert.same({}, driver:names "job/app/")
    assert.equal(0, uploads(driver))
    assert.equal("BUSY", support.caught(alive.publish, alive, "{}").code)
  end)

  it("is not what a run may finish that was taken for dead, and has come back", function()
    local driver = bucket { lease = "1s" }
    local st, id = layout.new("s", driver), "20261122T020000Z-3f9a2c"
    local slept = st:begin("job", "app", id)
    slept:put("1.dat", "old")
    slept.lock.scope:cancel(require("moonkeep.errors").new("CANCELED", "asleep"))
    mk.sleep "2s"
    do
      local other <close> = st:begin("job", "app", id)
      other:put("1.dat", "new")
      other:publish(mk.json.encode { format = 1 })
    end
    -- it wakes up, and renews its lease, as if nothing had been
    local lease = slept.lock
    pcall(function()
      driver.client:put(driver.prefix .. lease.key, "{}")
      lease.scope = require("moonkeep.core.task").scope()
    end)
    assert.equal("BUSY", support.caught(slept.publish, slept, "{}").code)
    slept:close()
    assert.same({ id }, st:list("job", "app"))
    assert.equal("new", driver:read(("job/app/%s/1.dat"):format(id)))
  end)

  -- ---- whole runs ---------------------------------------------------------------------------------

  describe("gets a backup", function()
    local cluster, dir

    setup(function()
      cluster, dir = support.cluster_with("app", support.SMALL .. support.BIG), mk.fs.tempdir()
    end)
    teardown(function()
      cluster:close()
      dir:close()
    end)

    local function recipe(name, more)
      return ([[
        local mk = require "moonkeep"
        return mk.job { name = "s3", dump = { jobs = 2 }, verify = "decoded", compress = "none",
          source = mk.pg { host = %q, user = "postgres", dbname = "app" },
          upload = { mk.store("s3", "s3://%s/app", { endpoint = %q, access_key = %q,
            secret_key = mk.secret.env "S3_SECRET"%s }) } }]]):format(cluster.folder, name, rgw.url,
        rgw.id, more or "")
    end

    local function env()
      return { S3_SECRET = rgw.secret }
    end

    it("from which it is restored, by what says how to reach it", function()
      local _, name = bucket()
      local run = support.run_recipe(dir.path, recipe(name), { env = env() })
      assert.equal(0, run.code, run.stderr)
      for _, arguments in ipairs { { "restore", "latest", "--from", run.path, "--into",
        ("host=%s user=postgres"):format(cluster.folder), "--database", "copy" },
        { "verify", "latest", "--from", run.path, "--level=read" }, { "list", "--from", run.path } } do
        local done = support.start(dir.path, arguments, env()):finish()
        assert.equal(0, done.code, done.stderr)
        assert.is_nil((done.stdout .. done.stderr):find(rgw.secret, 1, true))
      end
      local tables = fingerprint.compare(fingerprint.of(cluster:database "app"),
        fingerprint.of(cluster:database "copy"))
      assert.equal(3, tables)
    end)

    it("in pieces, none of which is larger than it may be", function()
      local _, name = bucket()
      local text = recipe(name):gsub('verify =', 'piece_size = "16MiB", verify =')
      local run = support.run_recipe(dir.path, text, { env = env() })
      assert.equal(0, run.code, run.stderr)
      local driver, sizes = rgw.driver(name .. "/app"), {}
      driver.client:list("", function(key, size)
        sizes[key:match "[^/]+$"] = size
        assert.is_true(size <= 16 << 20, key)
      end)
      local store = layout.new("s", driver)
      local backup = store:latest("s3", "app")
      local large = backup.manifest.objects[1]
      assert.equal(16 << 20, large.piece_size)
      assert.equal(16 << 20, sizes[large.name])
      assert.equal(16 << 20, sizes[large.name .. ".2"])
      assert.equal(large.size - (32 << 20), sizes[large.name .. ".3"])
      driver:remove { ("s3/app/%s/%s.2"):format(backup.id, large.name) }
      local err = support.caught(verify.stored, backup, store)
      assert.matches(large.name .. ": it is not there", err.message, 1, true)
      assert.equal("CORRUPT", support.caught(verify.read, backup, store).code)
    end)

    it("encrypted and signed, passwords of roles and all, of which other keys can be given later",
      function()
        local _, name = bucket()
        local function command(...)
          local done = support.start(dir.path, { ... }, env()):finish()
          return done, (done.stdout .. done.stderr)
        end
        local keys = {}
        for i, arguments in ipairs { {}, {}, { "--sign" } } do
          keys[i] = { path = ("%s/key%d"):format(dir.path, i) }
          keys[i].public = command("keygen", keys[i].path, table.unpack(arguments)).stdout:match "^%S+"
        end
        local text = recipe(name):gsub("dump = {", ([[sign = mk.secret.file %q, trust = %q,
          encrypt = { recipients = %q }, dump = { globals = true,]]):format(keys[3].path, keys[3].public,
          keys[1].public)):gsub('verify = "decoded"', 'verify = "read"')
        local run = support.run_recipe(dir.path, text, { env = env() })
        assert.equal(0, run.code, run.stderr)
        local store = layout.new("s", rgw.driver(name .. "/app"))
        assert.is_true(store:latest("s3", "_globals").manifest.dump.passwords)
        local done, all = command("verify", "--all", "--from", run.path, "--identity", keys[1].path)
        assert.equal(0, done.code, all)
        done, all = command("rekey", "--all", "--from", run.path, "--identity", keys[1].path,
          "--recipient", keys[2].public)
        assert.equal(0, done.code, all)
        assert.matches("2 copies sealed anew", all)
        for _, level in ipairs { "stored", "read" } do
          assert.equal(0, command("verify", "--all", "--from", run.path, "--level", level).code)
        end
        local into = { "restore", "latest", "--from", run.path, "--into",
          ("host=%s user=postgres"):format(cluster.folder), "--database", "opened", "--identity" }
        into[#into + 1] = keys[1].path
        assert.equal(1, command(table.unpack(into)).code)
        into[#into] = keys[2].path
        done, all = command(table.unpack(into))
        assert.equal(0, done.code, all)
        assert.equal(3, fingerprint.compare(fingerprint.of(cluster:database "app"),
          fingerprint.of(cluster:database "opened")))
      end)

    it("by credentials that may only write", function()
      local _, name = bucket()
      rgw.admin("user", "create", "--uid=writer", "--display-name=w", "--access-key=wkey",
        "--secret-key=wsecret")
      local function allow(actions, denied)
        local statements = {}
        for effect, list in pairs { Allow = actions, Deny = denied } do
          table.insert(statements, { Effect = effect, Action = list, Principal = { AWS = {
            "arn:aws:iam:::user/writer" } }, Resource = { ("arn:aws:s3:::%s/*"):format(name),
            "arn:aws:s3:::" .. name } })
        end
        rgw.driver(name).client:call { method = "PUT", query = { policy = "" }, body = mk.json.encode {
          Version = "2012-10-17", Statement = statements } }
      end
      allow({ "s3:PutObject", "s3:AbortMultipartUpload" }, { "s3:GetObject" })
      local text = recipe(name):gsub('"testkey"', '"wkey"')
        :gsub('verify = "decoded"', 'verify = "stored"')
      for _ = 1, 2 do
        local run = support.run_recipe(dir.path, text, { env = { S3_SECRET = "wsecret" } })
        assert.equal(0, run.code, run.stderr)
        assert.matches("what killed runs have left there stays", run.stderr)
        assert.matches("all that is known of .* is that it has acknowledged each object", run.stderr)
      end
      local read = support.run_recipe(dir.path, text:gsub('verify = "stored"', 'verify = "read"'), {
        env = { S3_SECRET = "wsecret" } })
      assert.equal(1, read.code)
      assert.equal("PERMISSION_DENIED", read.result.error.code)
      assert.matches("the credentials may not do that", read.result.error.hint)
      local doctor = support.start(dir.path, { "doctor", read.path }, { S3_SECRET = "wsecret" }):finish()
      assert.equal(3, doctor.code, doctor.stderr)
      assert.matches("may not read: nothing can be verified", doctor.stdout)
      assert.matches("may not list: what killed runs have left stays", doctor.stdout)
      assert.matches("can be written\n", doctor.stdout)
      allow({ "s3:*" }, { "s3:PutObject" })
      local st = layout.new("s", rgw.driver(name .. "/app", { access_key = "wkey",
        secret_key = "wsecret" }))
      assert.is_true(#st:list("s3", "app") >= 2)
      verify.read(assert(st:latest("s3", "app")), st)
    end)

    it("while its credentials are replaced", function()
      n = n + 1
      local name = "rotated" .. n
      rgw.admin("user", "create", "--uid=rotated", "--display-name=r", "--access-key=first",
        "--secret-key=secret1")
      rgw.driver(name, { access_key = "first", secret_key = "secret1" }).client:call { method = "PUT" }
      local file = dir.path .. "/credentials"
      local function use(id, key)
        mk.fs.write(file, ("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n"):format(id,
          key))
      end
      use("first", "secret1")
      local text = recipe(name):gsub("access_key = .-env \"S3_SECRET\"", "retries = 2")
        :gsub("dump = {", 'dump = { throttle = "12MiB",')
      local run = support.start_recipe(dir.path, text, { env = { AWS_SHARED_CREDENTIALS_FILE = file,
        AWS_EC2_METADATA_DISABLED = "true" } })
      local function parts()
        return rgw.driver(name, { access_key = "first", secret_key = "secret1" })
      end
      support.eventually("something is being uploaded", function() return uploads(parts()) > 0 end)
      local function signal(name_of_it) -- what makes keys is slow
        mk.process.run { argv = { "kill", "-" .. name_of_it, tostring(run:worker_pid()) } }
      end
      signal "STOP"
      rgw.admin("key", "create", "--uid=rotated", "--key-type=s3", "--access-key=second",
        "--secret-key=secret2")
      use("second", "secret2")
      rgw.admin("key", "rm", "--uid=rotated", "--key-type=s3", "--access-key=first")
      assert.is_true(run.child:running(), "it was too fast for this")
      signal "CONT"
      assert.equal(0, run:finish().code, run.stderr)
      local st = layout.new("s", rgw.driver(name .. "/app", { access_key = "second",
        secret_key = "secret2" }))
      verify.read(assert(st:latest("s3", "app")), st)
    end)

    it("is looked for in a URL with the credentials of the environment", function()
      local _, name = bucket()
      assert.equal(0, support.run_recipe(dir.path, recipe(name), { env = env() }).code)
      local list = support.start(dir.path, { "list", "--from", ("s3://%s/app"):format(name) }, {
        AWS_ENDPOINT_URL_S3 = rgw.url, AWS_ACCESS_KEY_ID = rgw.id, AWS_SECRET_ACCESS_KEY = rgw.secret })
      list:finish()
      assert.equal(0, list.code, list.stderr)
      assert.matches("1 backup", list.stdout)
    end)

    it("that is nowhere when its run was killed, and cleared away when its lease has run out", function()
      local _, name = bucket()
      local driver = rgw.driver(name .. "/app")
      local run = support.start_recipe(dir.path, recipe(name, ', lease = "2s"'), { env = env() })
      support.eventually("something is being uploaded", function()
        return uploads(driver) > 0
      end)
      mk.process.run { argv = { "kill", "-KILL", tostring(run:worker_pid()) } }
      run:finish()
      assert.equal(1, run.code)
      local st = layout.new("s", driver)
      assert.same({}, st:list("s3", "app"))
      mk.sleep "2s"
      local again = support.run_recipe(dir.path, recipe(name, ', lease = "2s"'), { env = env() })
      assert.equal(0, again.code, again.stderr)
      assert.equal(1, #st:list("s3", "app"))
      assert.equal(3, #driver:names "s3/app/") -- manifest, folder, and what has been proved
      assert.equal(0, uploads(driver))
    end)

    it("that fails leaves nothing, and tells why", function()
      local driver, name = bucket()
      local run = support.run_recipe(dir.path, recipe(name):gsub(name, "nowhere"), { env = env() })
      assert.equal(1, run.code)
      assert.equal("NOT_FOUND", run.result.error.code)
      assert.matches("there is no bucket nowhere", run.result.error.hint)
      run = support.run_recipe(dir.path, recipe(name):gsub("dump = {", 'dump = { table = "none",'), {
        env = env() })
      assert.equal(1, run.code)
      assert.same({}, driver:names "s3/app/")
    end)

    it("as docs/guide/buckets.md says", function()
      local page = mk.fs.read "docs/guide/buckets.md"
      local function here(text)
        return (text:gsub("/var/backups/app", dir.path .. "/disk"):gsub("/mnt/", dir.path .. "/")
          :gsub("host=db2", "host=" .. cluster.folder):gsub("nightly.lua", dir.path .. "/nightly.lua"))
      end
      local recipes = {}
      for text in page:gmatch "```lua\n(.-)```" do
        recipes[#recipes + 1] = here(text)
      end
      local makes_bucket = recipes[1]:match "^(.-)\nreturn"
      rgw.driver("acme-backups").client:call { method = "PUT" }
      local variables = { PGHOST = cluster.folder, PGUSER = "postgres", AWS_ENDPOINT_URL_S3 = rgw.url,
        AWS_ACCESS_KEY_ID = rgw.id, AWS_SECRET_ACCESS_KEY = rgw.secret }
      for _, text in ipairs { recipes[1], makes_bucket .. recipes[3] } do
        local run = support.run_recipe(dir.path, text, { env = variables,
          path = dir.path .. "/nightly.lua" })
        assert.equal(0, run.code, run.stderr)
      end
      local commands = 0
      for line in page:gmatch "\n(moonkeep [^\n]+)" do
        local words = {}
        for word in here(line):gmatch "%S+" do
          words[#words + 1] = word
        end
        local run = support.start(dir.path, { table.unpack(words, 2) }, variables):finish()
        assert.equal(0, run.code, line .. run.stderr)
        commands = commands + 1
      end
      assert.equal(5, commands)
      local driver = rgw.driver "acme-backups/app"
      local id = layout.new("s", driver):latest("nightly", "app").id
      local command = page:match "\n(aws [^\n]+)":gsub("20261122T020000Z%-3f9a2c", id)
      variables.AWS_CA_BUNDLE, variables.AWS_DEFAULT_REGION = false, "us-east-1"
      mk.fs.mkdir(dir.path .. "/got")
      command = command:gsub("^aws ", "aws --endpoint-url " .. rgw.url .. " ") ..
        " --no-progress >log"
      mk.process.run { argv = { "bash", "-c", command }, cwd = dir.path .. "/got", env = variables }
      support.restore_by_text(cluster, dir.path .. "/got", "by_text")
      assert.equal(3, (fingerprint.compare(fingerprint.of(cluster:database "app"),
        fingerprint.of(cluster:database "by_text"))))
    end)

    it("is damaged there, and that is found", function()
      local _, name = bucket()
      local driver = rgw.driver(name .. "/app")
      assert.equal(0, support.run_recipe(dir.path, recipe(name), { env = env() }).code)
      local st = layout.new("s", driver)
      local backup = assert(st:latest("s3", "app"))
      local object
      for _, one in ipairs(backup.manifest.objects) do
        object = one.size > 1000000 and one or object
      end
      local key = ("s3/app/%s/%s"):format(backup.id, object.name)
      mk.flow.run { driver:source(key), { kind = "file", path = dir.path .. "/object" } }
      mk.process.run { cwd = dir.path, argv = { "bash", "-c",
        "printf X | dd of=object bs=1 seek=500000 conv=notrunc status=none" } }
      mk.flow.run { { kind = "file", path = dir.path .. "/object" }, driver:sink(key) }
      local err = support.caught(verify.read, backup, st)
      assert.equal("CORRUPT", err.code)
      assert.truthy(err.message:find(object.name, 1, true))
      driver:remove { key }
      err = support.caught(verify.read, backup, st)
      assert.equal("CORRUPT", err.code)
    end)
  end)
end)

local describe_moto = servers.has_moto() and describe or pending

describe_moto("a store in a bucket of moto", function()
  local moto, n = nil, 0

  setup(function() moto = servers.moto() end)
  teardown(function() getmetatable(moto).__close() end)

  suite(it, function()
    n = n + 1
    local driver = moto.driver(("bucket%d/prefix"):format(n))
    driver.client:call { method = "PUT" }
    return driver, function()
      local count = 0
      driver.client:list_uploads("", function() count = count + 1 end)
      return count
    end
  end)

  it("knows the checksum of an object, and says so", function()
    n = n + 1
    moto.driver("bucket" .. n).client:call { method = "PUT" }
    local driver = moto.driver("bucket" .. n, { checksums = true })
    local st, digest = layout.new("s", driver), { kind = "sha256", label = "sum" }
    local sums, objects = {}, {}
    local id = "20261122T020000Z-3f9a2c"
    do
      local session <close> = st:begin("job", "app", id)
      for i, size in ipairs { 100, 20000000 } do -- one request, and parts
        sums[i] = mk.flow.run({ { kind = "process", argv = { "head", "-c", tostring(size),
          "/dev/urandom" } }, { kind = "tee", { session:sink(i .. ".dat") }, { digest } } }).sum.result
        objects[i] = { name = i .. ".dat", size = size, sha256 = sums[i] }
      end
      session:publish "{}"
    end
    local backup = { id = id, job = "job", series = "app", manifest = { objects = objects } }
    assert.equal(sums[1], st:stat(backup, objects[1]).sha256)
    verify.stored(backup, st)
    driver:write("job/app/" .. id .. "/1.dat", ("x"):rep(100)) -- as long as before
    local err = support.caught(verify.stored, backup, st)
    assert.equal("CORRUPT", err.code)
    assert.matches("1.dat: its SHA%-256 is not the recorded one", err.message)
    driver:remove { "job/app/" .. id .. "/1.dat" }
    assert.matches("1.dat: it is not there", support.caught(verify.stored, backup, st).message)
  end)
end)
