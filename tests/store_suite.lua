--- What every kind of store must do, whatever it is: `suite(it, make)` makes the tests with busted's
--- `it`; `make()` gives a driver of an empty place, and a function that counts what failed uploads
--- have left there.
local assert = require "luassert"
local core_task = require "moonkeep.core.task"
local flow = require "moonkeep.flow"
local layout = require "moonkeep.store.layout"
local mk = require "moonkeep"
local pieces = require "moonkeep.store.pieces"
local support = require "support"

local SIZES = { 0, 1, 1000000, (16 << 20) - 1, 16 << 20, (16 << 20) + 1, 40000000 }

local function code_of(fn, ...)
  return support.caught(fn, ...).code
end

local function sorted(list)
  table.sort(list)
  return list
end

local function file_of(dir, size)
  local path = ("%s/%d"):format(dir.path, size)
  if not mk.fs.exists(path) then
    mk.process.run { argv = { "bash", "-c", ("head -c %d /dev/urandom > %s"):format(size, path) } }
  end
  return path
end

local function store(driver, key, path, piece_bytes)
  return flow.run { { kind = "file", path = path }, { kind = "tee",
    { { kind = "sha256", label = "sum" } }, { driver:sink(key, piece_bytes) } } }
end

local function sum_of(driver, key, n_pieces)
  local report = flow.run { driver:source(key, n_pieces), { kind = "sha256", label = "sum" } }
  return report.sum.result, report.source.bytes_out
end

return function(it, make)
  it("keeps small objects", function()
    local driver = make()
    driver:make_folder "a/"
    driver:write("a/b", "first")
    assert.equal("first", driver:read "a/b")
    assert.equal(5, driver:stat("a/b").size)
    assert.equal("NOT_FOUND", code_of(driver.read, driver, "a/none"))
    assert.is_nil(driver:stat "a/none")
  end)

  it("does not replace what is there when it is not to", function()
    local driver = make()
    driver:write("x", "first", true)
    assert.equal("ALREADY_EXISTS", code_of(driver.write, driver, "x", "second", true))
    assert.equal("first", driver:read "x")
  end)

  it("gives back what it was given, of any size", function()
    local driver <const>, dir <close> = make(), mk.fs.tempdir()
    driver:make_folder "a/"
    for _, size in ipairs(SIZES) do
      local key = "a/" .. size
      local report = store(driver, key, file_of(dir, size))
      local sum, bytes = sum_of(driver, key)
      assert.same({ size, report.sum.result, size }, { size, sum, bytes })
      assert.equal(size, driver:stat(key).size)
    end
  end)

  it("keeps what is larger than a piece in several", function()
    local driver <const>, dir <close> = make(), mk.fs.tempdir()
    for _, case in ipairs { { 1000000, 300000 }, { 0, 300000 }, { 300000, 300000 }, { 600000, 300000 },
      { 40000000, 16 << 20 }, { 32 << 20, 16 << 20 }, { 80000000, 32 << 20 } } do
      local size, piece_bytes = case[1], case[2]
      local object = { name = "1.dat", size = size, piece_size = piece_bytes }
      local folder = ("%d-%d/"):format(size, piece_bytes)
      driver:make_folder(folder)
      local report = store(driver, folder .. object.name, file_of(dir, size), piece_bytes)
      local names, left = pieces.names(object), size
      assert.same(names, sorted(driver:names(folder)))
      for _, name in ipairs(names) do
        assert.equal(math.min(left, piece_bytes), driver:stat(folder .. name).size)
        left = left - piece_bytes
      end
      assert.same({ report.sum.result, size }, { sum_of(driver, folder .. object.name, #names) })
    end
  end)

  it("takes pieces whose object is not whole away", function()
    local driver, leftovers = make()
    for _, piece_bytes in ipairs { 1000000, 16 << 20, 32 << 20 } do
      driver:make_folder "a/"
      assert.equal("PROCESS_FAILED", code_of(flow.run, { { kind = "process", argv = { "sh", "-c",
        "head -c 80000000 /dev/zero; exit 1" } }, driver:sink("a/x", piece_bytes) }))
      assert.is_true(#driver:names "a/" <= 1) -- what was on its way may still arrive at a service...
      support.eventually("all of it is gone", function() -- ...and goes with the rest
        driver:remove_folder "a/"
        mk.sleep "100ms"
        return #driver:names "a/" == 0
      end)
      assert.equal(0, leftovers())
    end
  end)

  it("shows nothing of an object that is not whole", function()
    local driver, leftovers = make()
    driver:make_folder "a/"
    for _, bytes in ipairs { 0, 40000000 } do
      local command = ("head -c %d /dev/zero; exit 1"):format(bytes)
      assert.equal("PROCESS_FAILED", code_of(flow.run, {
        { kind = "process", argv = { "sh", "-c", command } }, driver:sink "a/x" }))
    end
    local scope <close> = core_task.scope()
    scope:spawn(function() -- one that is cut off by its own side
      pcall(mk.timeout, "500ms", flow.run, { { kind = "process", argv = { "sh", "-c",
        "head -c 40000000 /dev/zero; sleep 10" } }, driver:sink "a/y" })
    end)
    scope:join()
    assert.same({}, driver:names "a/")
    assert.equal(0, leftovers())
  end)

  it("tells what is missing by its name", function()
    local driver = make()
    local err = support.caught(flow.run, { driver:source "a/none", { kind = "null" } })
    assert.equal("NOT_FOUND", err.code)
    assert.matches("a/none", err.message)
  end)

  it("lists what is directly below a folder", function()
    local driver = make()
    for _, folder in ipairs { "job/", "job/a/", "job/a/x/", "job/a%2Fb/", "other/" } do
      driver:make_folder(folder)
    end
    for _, key in ipairs { "job/a/1", "job/a/2.json", "job/a/x/3", "job/a%2Fb/4", "other/5",
      "job/.lock" } do
      driver:write(key, key)
    end
    assert.same({ "job", "other" }, sorted(driver:folders ""))
    assert.same({ "a", "a%2Fb" }, sorted(driver:folders "job/"))
    assert.same({ ".lock", "a", "a%2Fb" }, sorted(driver:names "job/"))
    assert.same({ "1", "2.json", "x" }, sorted(driver:names "job/a/"))
    assert.same({ "4" }, driver:names "job/a%2Fb/")
    assert.same({}, driver:names "none/")
    assert.equal("job/a%2Fb/4", driver:read "job/a%2Fb/4")
  end)

  it("lists and removes more than fit in an answer", function()
    local driver, list = make(), {}
    driver:make_folder "many/"
    driver:make_folder "kept/"
    for i = 1, 1101 do
      list[i] = ("many/%04d"):format(i)
    end
    mk.each(list, { parallel = 16 }, function(key) driver:write(key, "") end)
    driver:write("kept/1", "")
    assert.equal(1101, #driver:names "many/")
    driver:remove(list)
    assert.same({}, driver:names "many/")
    mk.each(list, { parallel = 16 }, function(key) driver:write(key, "") end)
    driver:remove_folder "many/"
    assert.same({}, driver:names "many/")
    assert.same({ "1" }, driver:names "kept/")
  end)

  it("removes what is not there", function()
    local driver = make()
    driver:remove { "none", "a&b<c>'\"" }
    driver:remove_folder "none/"
    driver:remove {}
  end)

  it("lets one hold a lock at a time", function()
    local driver = make()
    local lock = assert(driver:hold "lock")
    assert.is_nil(driver:hold "lock")
    lock:check()
    lock:close()
    local again <close> = assert(driver:hold "lock")
    assert.truthy(again)
  end)

  -- ---- backups ------------------------------------------------------------------------------------

  local ID = "20261122T020000Z-3f9a2c"
  local MANIFEST = mk.json.encode { format = require("moonkeep.manifest").FORMAT }

  it("has a backup from when its manifest is there", function()
    local driver = make()
    local st = layout.new("s", driver)
    do
      local session <close> = st:begin("job", "app", ID)
      flow.run { { kind = "memory", text = "bytes" }, session:sink "1.dat" }
      session:put("RESTORE.txt", "text")
      assert.same({}, st:list("job", "app"))
      assert.equal("ALREADY_EXISTS", code_of(session.put, session, "RESTORE.txt", "other"))
      session:publish(MANIFEST)
    end
    assert.same({ ID }, st:list("job", "app"))
    assert.same({ "job" }, st:jobs())
    assert.same({ "app" }, st:series "job")
    assert.same(sorted { ID, ID .. ".json" }, sorted(driver:names "job/app/"))
    assert.equal("bytes", driver:read(("job/app/%s/1.dat"):format(ID)))
  end)

  it("has nothing of a backup that was given up", function()
    local driver = make()
    local st = layout.new("s", driver)
    do
      local session <close> = st:begin("job", "app", ID)
      session:put("1.dat", "x")
      session:clear()
      session:put("1.dat", "y")
    end
    assert.same({}, driver:names "job/app/")
  end)

  it("does not touch a backup that is there, whoever begins it again", function()
    local driver = make()
    local st = layout.new("s", driver)
    do
      local session <close> = st:begin("job", "app", ID)
      session:put("1.dat", "good")
      session:publish(MANIFEST)
    end
    assert.equal("ALREADY_EXISTS", code_of(st.begin, st, "job", "app", ID))
    assert.equal("good", driver:read(("job/app/%s/1.dat"):format(ID)))
    assert.same({ ID }, st:list("job", "app"))
    st:remove { job = "job", series = "app", id = ID }
    assert.same({}, driver:names "job/app/")
  end)

  it("leaves what another run is making alone", function()
    local driver = make()
    local st = layout.new("s", driver)
    local session <close> = st:begin("job", "app", ID)
    session:put("1.dat", "x")
    assert.equal("BUSY", code_of(st.begin, st, "job", "app", ID))
    local other <close> = st:begin("job", "app", "20261122T030000Z-000000")
    assert.truthy(other)
    assert.equal("x", driver:read(("job/app/%s/1.dat"):format(ID)))
  end)
end
