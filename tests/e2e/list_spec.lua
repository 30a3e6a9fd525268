-- moonkeep list: backups of several series in several stores. Their manifests are made from one that is
-- kept; there is no data, for list reads none.
local json = require "moonkeep.core.json"
local merge = require "moonkeep.merge"
local mk = require "moonkeep"
local support = require "support"

describe("list", function()
  local dir, manifest

  setup(function()
    dir = mk.fs.tempdir()
    local folder = "tests/golden/backups/directory_zstd/app/"
    for _, name in ipairs(mk.fs.list(folder)) do
      manifest = name:match "%.json$" and json.decode(mk.fs.read(folder .. name)) or manifest
    end
    mk.fs.write(dir.path .. "/job.lua", ([[
      local mk = require "moonkeep"
      return mk.job { name = "j", source = mk.pg { dbname = "app" }, upload = {
        mk.store("one", "file://%s/one"), mk.store("two", "file://%s/two") } }]]):format(dir.path,
      dir.path))
  end)
  teardown(function() dir:close() end)

  local function put(store, series, id, ...)
    local folder = ("%s/%s/j/%s/"):format(dir.path, store, series)
    mk.fs.mkdir(folder .. id)
    mk.fs.write(folder .. id .. ".json", json.encode(merge(manifest, { id = id, job = "j",
      series = series, created_at = "2026-11-23T05:00:00Z" }))) -- later: of no interest
    for _, mark in ipairs { ... } do
      mk.fs.write(folder .. id .. "." .. mark, "{}")
    end
  end

  local function start(...)
    return support.start(dir.path, { "list", "--from", dir.path .. "/job.lua", ... }, {
      MOONKEEP_STATE = dir.path .. "/state" }):finish()
  end

  local function list(...)
    local run = start(...)
    assert.equal(0, run.code, run.stderr)
    return run.stdout
  end

  it("has each backup once, in the order of time and then of series, with all its stores", function()
    assert.equal("no backup yet\n", list())
    put("one", "b", "20261101T020000Z-000001", "proof-read")
    put("one", "b", "20261103T020000Z-000003", "proof-read", "damaged")
    put("one", "a", "20261101T020000Z-ffffff", "hold")
    put("one", "a", "20261102T020000Z-000002")
    put("two", "b", "20261031T020000Z-000000")
    put("two", "b", "20261103T020000Z-000003", "proof-decoded")
    put("two", "b", "20261104T020000Z-000004")
    mk.fs.write(dir.path .. "/two/j/b/20261104T020000Z-000004.json", "{")
    local lines = {}
    for line in list():gmatch "[^\n]+" do
      lines[#lines + 1] = line:gsub("%d+d.- ago", "AGE"):gsub("[%d.]+ KiB", "SIZE"):gsub("  +", "  ")
    end
    assert.matches("^6 backups, ", table.remove(lines))
    assert.same({
      "ID  CREATED  AGE  JOB  DATABASE  SIZE  PROOF  STORES",
      "000000  2026-10-31T02:00:00Z  AGE  j  b  SIZE  stored  two",
      "ffffff  2026-11-01T02:00:00Z  AGE  j  a  SIZE  stored, held  one",
      "000001  2026-11-01T02:00:00Z  AGE  j  b  SIZE  read  one",
      "000002  2026-11-02T02:00:00Z  AGE  j  a  SIZE  stored  one",
      "000003  2026-11-03T02:00:00Z  AGE  j  b  SIZE  decoded, damaged in one  one, two",
      "000004  2026-11-04T02:00:00Z  AGE  j  b  ?  damaged  two",
    }, lines)
  end)

  it("says the same as JSON, with URLs", function()
    local all = json.decode(list "--json").backups
    assert.equal(6, #all)
    local held, damaged, broken = all[2], all[5], all[6]
    assert.same({ "20261101T020000Z-ffffff", "a", true, "stored" }, { held.id, held.series, held.held,
      held.proof })
    assert.same({ { "one" }, "decoded", { ("file://%s/one"):format(dir.path),
      ("file://%s/two"):format(dir.path) } }, { damaged.damaged_in, damaged.proof, damaged.stores })
    assert.is_nil(damaged.error)
    assert.matches("20261104T020000Z%-000004", broken.error)
    assert.equal(2, #json.decode(list("--json", "--series", "a", "--store", "one")).backups)
  end)

  it("does not need the catalog", function()
    local before = list()
    mk.fs.remove(dir.path .. "/state")
    assert.equal(before, list())
  end)

  it("takes no backup for damaged whose manifest its store does not give", function()
    mk.fs.mkdir(dir.path .. "/three/j/b/")
    local path = dir.path .. "/three/j/b/20261101T020000Z-000001.json"
    mk.process.run { argv = { "ln", "-s", path, path } } -- a loop
    mk.fs.write(path:gsub("json$", "proof-read"), "{}")
    local run = support.start(dir.path, { "list", "--from", "file://" .. dir.path .. "/three" }, {
      MOONKEEP_STATE = dir.path .. "/state" }):finish()
    assert.equal(1, run.code)
    assert.matches("000001 .* %? +read +store", run.stdout)
    assert.matches("Too many levels of symbolic links", run.stderr)
  end)

  it("has what other stores have when one cannot be read, which it tells", function()
    mk.fs.remove(dir.path .. "/two/j")
    mk.process.run { argv = { "ln", "-s", "j", dir.path .. "/two/j" } } -- a loop
    local run = start()
    assert.equal(1, run.code)
    assert.matches("4 backups, ", run.stdout)
    assert.matches("j in store two", run.stderr)
    run = start "--json"
    assert.equal(1, run.code)
    local document = json.decode(run.stdout)
    assert.equal(4, #document.backups)
    assert.same({ "file://" .. dir.path .. "/two", "j" }, { document.left_out[1].store,
      document.left_out[1].job })
    assert.matches("Too many levels of symbolic links", document.left_out[1].error.message)
    run = start("--store", "two")
    assert.equal(1, run.code)
    assert.equal("", run.stdout)
    assert.matches("store two", start("--series", "none").stderr)
    assert.matches("no backup in the stores that could be read", start("--series", "none").stdout)
  end)
end)
