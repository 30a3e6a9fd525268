-- Stores in buckets, against Ceph's S3 gateway, which checks signatures.
local core_task = require "moonkeep.core.task"
local layout = require "moonkeep.store.layout"
local mk = require "moonkeep"
local servers = require "servers"
local suite = require "store_suite"
local support = require "support"

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
    assert.equal("PERMISSION_DENIED", refused({ access_key = "nobody" }, "does not know this access key").code)
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
    core_task.sleep(1)
  end)
end)
