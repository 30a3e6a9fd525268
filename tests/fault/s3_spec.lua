-- A bucket behind a network that fails, and a service that does not answer.
local layout = require "moonkeep.store.layout"
local mk = require "moonkeep"
local servers = require "servers"
local support = require "support"
local verify = require "moonkeep.verify"

describe("a bucket", function()
  local rgw, proxy, cluster, dir

  setup(function()
    rgw = servers.rgw()
    proxy = servers.proxy(tonumber(rgw.url:match "%d+$"))
    cluster, dir = support.cluster_with("app", support.SMALL .. support.BIG), mk.fs.tempdir()
    rgw.driver("faults").client:call { method = "PUT" }
    -- the first upload in parts makes the gateway create a pool, which takes a second
    rgw.driver("faults").client:call { method = "POST", key = "warm", query = { uploads = "" } }
    rgw.driver("faults"):remove_folder "warm"
  end)
  teardown(function()
    cluster:close()
    dir:close()
    getmetatable(proxy).__close()
    getmetatable(rgw).__close()
  end)

  local n = 0

  -- A backup through the proxy, and the driver that sees its place without it.
  local function back_up(mode, more)
    n = n + 1
    local place = "faults/" .. n
    proxy.set(mode)
    local run = support.start_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "j", dump = { jobs = 2 }, verify = "stored", compress = "none",
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("s3", "s3://%s", { endpoint = %q, access_key = %q,
          secret_key = mk.secret.env "S3_SECRET", stall = "1s"%s }) } }]]):format(cluster.folder, place,
      proxy.url, rgw.id, more or ""), { env = { S3_SECRET = rgw.secret } })
    return run, rgw.driver(place)
  end

  -- Whether it is there, whole, seen without the proxy.
  local function check_whole(driver)
    local store = layout.new("s", driver)
    verify.read(assert(store:latest("j", "app")), store)
  end

  local function uploads(driver)
    local count = 0
    driver.client:list_uploads(driver.prefix, function() count = count + 1 end)
    return count
  end

  it("that asks to be slower, again and again, gets its backup", function()
    local run, driver = back_up "busy 6"
    run:finish()
    assert.equal(0, run.code, run.stderr)
    check_whole(driver)
  end)

  it("gets it over connections that are reset in the middle of parts", function()
    for _, bytes in ipairs { 300, 9000000 } do
      local run, driver = back_up("sometimes " .. bytes)
      run:finish()
      assert.equal(0, run.code, run.stderr)
      check_whole(driver)
      assert.equal(0, uploads(driver))
    end
  end)

  it("that cannot be reached any more fails the run, and shows nothing of it", function()
    for _, mode in ipairs { "reset 100000", "stall 100000" } do
      local run, driver = back_up(mode, ", retries = 1")
      run:finish()
      assert.equal(1, run.code, mode)
      assert.truthy(({ NETWORK = true, TIMEOUT = true })[run.result.error.code], run.stderr)
      assert.matches("PUT http://127.0.0.1:%d+/faults/", run.result.error.message)
      assert.same({}, layout.new("s", driver):list("j", "app"))
    end
  end)

  it("whose answers are cut off is read to the end", function()
    local run, driver = back_up "pass"
    assert.equal(0, run:finish().code, run.stderr)
    local store = layout.new("s", driver)
    local backup = assert(store:latest("j", "app"))
    for _, bytes in ipairs { 9000000 } do
      proxy.set("cut " .. bytes)
      verify.read(backup, layout.new("s", rgw.driver("faults/" .. n, { endpoint = proxy.url })))
    end
    proxy.set "cut 20"
    local err = support.caught(verify.read, backup, layout.new("s", rgw.driver("faults/" .. n, {
      endpoint = proxy.url, retries = 1 })))
    assert.equal("NETWORK", err.code)
  end)

  -- A backup into a folder, and through the proxy into a bucket that may be left behind. Returns the
  -- run, the folder, the driver that sees the bucket without the proxy.
  local function back_up_into_two(mode, stall)
    n = n + 1
    local place, folder = "faults/" .. n, dir.path .. "/folder" .. n
    proxy.set(mode)
    local run = support.start_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "j", dump = { jobs = 2 }, compress = "none", piece_size = "16MiB",
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("disk", "file://%s"), mk.store("s3", "s3://%s", { endpoint = %q,
          access_key = %q, secret_key = mk.secret.env "S3_SECRET", stall = %q }) } }]]):format(
      cluster.folder, folder, place, proxy.url, rgw.id, stall), { env = { S3_SECRET = rgw.secret } })
    return run, folder, rgw.driver(place)
  end

  local function check_same(folder, driver)
    local disk, bucket = mk.store("disk", "file://" .. folder), layout.new("s", driver)
    local backup = assert(disk:latest("j", "app"))
    assert.equal(disk:manifest_text("j", "app", backup.id), bucket:manifest_text("j", "app", backup.id))
    verify.read(backup, bucket)
    assert.equal(disk:text(backup, "RESTORE.txt"), bucket:text(backup, "RESTORE.txt"))
    assert.equal(0, uploads(driver))
  end

  it("that stalls is left behind by the dump, and gets its copy from the other store", function()
    -- it stalls in the middle of a part; later the mode is another
    local run, folder, driver = back_up_into_two("stall 9000000", "700ms")
    support.eventually("it is left behind", function()
      return mk.fs.exists(run.err) and
        mk.fs.read(run.err):find "store s3 is left behind: TIMEOUT"
    end)
    proxy.set "pass"
    run:finish()
    assert.equal(0, run.code, run.stderr)
    assert.matches("completing the copy of [%w-]+ in s3 from disk", run.stderr)
    check_same(folder, driver)
  end)

  it("that is dead leaves a degraded backup, and copy completes it later", function()
    local run, folder, driver = back_up_into_two("reset 0", "1s")
    run:finish()
    assert.equal(3, run.code, run.stderr)
    assert.matches("has 1 copy of 2; store s3: NETWORK", run.result.problems[1])
    assert.same({}, layout.new("s", driver):list("j", "app"))
    proxy.set "pass"
    local copy = support.start(dir.path, { "copy", "--all", "--from", run.path }, {
      S3_SECRET = rgw.secret }):finish()
    assert.equal(0, copy.code, copy.stderr)
    check_same(folder, driver)
  end)

  it("whose service stands still for a while gets its backup all the same", function()
    local pid = mk.fs.read(rgw.folder .. "/client.rgw.a.pid"):match "%d+"
    local run, driver = back_up("pass", ', retries = 9')
    support.eventually("something is being uploaded", function() return uploads(driver) > 0 end)
    mk.process.run { argv = { "kill", "-STOP", pid } }
    -- in the soak for as long as a connection is given before it is given up, and more
    mk.sleep(os.getenv "MOONKEEP_ROUNDS" == "all" and "70s" or "3s")
    mk.process.run { argv = { "kill", "-CONT", pid } }
    assert.equal(0, run:finish().code, run.stderr)
    check_whole(driver)
  end)

  it("shows nothing or a whole backup of a run that was killed at any step", function()
    local path = dir.path .. "/count"
    local function killed_at(step)
      n = n + 1
      local place = "faults/" .. n
      proxy.set "pass"
      local run = support.run_recipe(dir.path, ([[
        local mk = require "moonkeep"
        return mk.job { name = "j", dump = { table = "fruit" }, verify = "stored",
          source = mk.pg { host = %q, user = "postgres", dbname = "app" },
          upload = { mk.store("s3", "s3://%s", { endpoint = %q, access_key = %q,
            secret_key = mk.secret.env "S3_SECRET", lease = "1s" }) } }]]):format(cluster.folder, place,
        rgw.url, rgw.id), { env = { S3_SECRET = rgw.secret, LD_PRELOAD = support.INJECT,
        MK_INJECT = step, MK_INJECT_COUNT = path, MOONKEEP_STATE = dir.path .. "/state" .. n } })
      return run, rgw.driver(place, { lease = "1s" })
    end
    assert.equal(0, killed_at("worker:count:0").code)
    local steps = tonumber(mk.fs.read(path):match "%d+ (%d+)")
    local rounds = support.rounds("steps at which a backup into a bucket is killed", 12, steps)
    local drivers = {}
    for i, step in ipairs(support.spread(rounds, steps)) do
      local at = "worker:kill:" .. step
      local _, driver = killed_at(at)
      local store = layout.new("s", driver)
      for _, id in ipairs(store:list("j", "app")) do
        verify.read(store:backup("j", "app", id), store)
        assert.truthy(store:text(store:backup("j", "app", id), "RESTORE.txt"), at)
      end
      drivers[i] = driver
    end
    mk.sleep "1100ms" -- until all leases have run out
    for i, driver in ipairs(drivers) do
      local store = layout.new("s", driver)
      local n_published = #store:list("j", "app")
      do
        local session <close> = store:begin("j", "app", "20301122T020000Z-000000") -- sweeps
        assert.truthy(session)
      end
      assert.equal(n_published, #store:list("j", "app"), i)
      local n_names = 0
      for _, name in ipairs(driver:names "j/app/") do
        n_names = n_names + (name:find "%.proof%-stored$" and 0 or 1)
      end
      assert.equal(2 * n_published, n_names, i) -- manifests and folders, no more
      assert.equal(0, uploads(driver), i)
    end
  end)

  it("notices that the clock of this machine is wrong", function()
    proxy.set "pass"
    local list = mk.process.spawn { argv = { "sh", "-c", 'exec faketime -f +2h "$@" 2>"$ERR"', "sh",
      support.binary, "list", "--from", "s3://faults/1" }, env = { AWS_ENDPOINT_URL_S3 = rgw.url,
        AWS_ACCESS_KEY_ID = rgw.id, AWS_SECRET_ACCESS_KEY = rgw.secret, ERR = dir.path .. "/err",
        MOONKEEP_STATE = dir.path .. "/state" } }
    assert.equal(1, (list:wait()))
    local text = mk.fs.read(dir.path .. "/err")
    assert.matches("RequestTimeTooSkewed", text)
    assert.matches("clock is wrong", text)
  end)
end)
