-- How sizes and durations have gone, and what is told to be unusual.
local history = require "moonkeep.cli.history"
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"
local usual = require "moonkeep.usual"

describe("the history", function()
  local cluster, dir

  setup(function()
    cluster, dir = support.cluster_with("app", support.SMALL), mk.fs.tempdir()
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- A store with a backup for each size (in hundreds of bytes) and duration (seconds).
  local function store_of(name, sizes, seconds, keys)
    local recipe = ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", %s
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("disk", "file://%s/%s") } }]]):format(keys or "", cluster.folder, dir.path,
      name)
    local run = support.run_recipe(dir.path, recipe, { path = ("%s/%s.lua"):format(dir.path, name) })
    assert.equal(0, run.code, run.stderr)
    local folder = ("%s/%s/nightly/app/"):format(dir.path, name)
    local id = run.result.backups[1].id
    local text = mk.fs.read(folder .. id .. ".json")
    for i, size in ipairs(sizes) do
      local manifest = json.decode(text)
      manifest.id = ("202611%02dT020000Z-000001"):format(i)
      manifest.objects = { manifest.objects[1] }
      manifest.objects[1].size, manifest.run.seconds = size * 100, seconds[i]
      mk.fs.write(folder .. manifest.id .. ".json", json.encode(manifest))
    end
    mk.fs.remove(folder .. id .. ".json")
    return run.path
  end

  local function show(path, ...)
    local done = support.start(dir.path, { "history", "--from", path, ... }):finish()
    assert.equal(0, done.code, done.stderr)
    return done.stdout
  end

  it("is a row of bars for each series, beside what is usual", function()
    local path = store_of("plain", { 10, 11, 10, 12, 11, 10, 11, 40, 11 },
      { 60, 61, 60, 62, 61, 60, 61, 90, 65 })
    assert.equal([[
nightly  app  9 backups, the last of 2026-11-09
  size      ▂▃▂▃▃▂▃█▃  1.1 KiB, usually 1.1 KiB (+0 %)
  duration  ▆▆▆▆▆▆▆█▆  1m 5s, usually 1m 1s (+7 %)
  UNUSUAL  000001: the size of app, 3.9 KiB, is far from the usual 1.1 KiB
]], show(path))
    local shown = json.decode(show(path, "--json", "--count", "2")).series[1]
    assert.same({ 4000, 1100 }, { shown.backups[1].size, shown.backups[2].size })
    assert.equal(1, #shown.backups[1].problems)
    assert.equal(1100, shown.backups[1].usual.size)
  end)

  it("is of what can be read, and tells of what cannot", function()
    local path = store_of("half", { 10, 11 }, { 60, 61 })
    local recipe = mk.fs.read(path):gsub("upload = {", "%0 mk.store(\"lost\", \"file://" .. dir.path ..
      "/lost\"),")
    mk.fs.write(path, recipe)
    mk.fs.mkdir(dir.path .. "/lost")
    mk.process.run { argv = { "ln", "-s", "nightly", dir.path .. "/lost/nightly" } } -- a loop
    local done = support.start(dir.path, { "history", "--from", path, "--json" }):finish()
    assert.equal(1, done.code)
    local document = json.decode(done.stdout)
    assert.same({ 2, "file://" .. dir.path .. "/lost" }, { #document.series[1].backups,
      document.left_out[1].store })
    assert.matches("nightly in store lost", done.stderr)
  end)

  it("goes by the thresholds of the job", function()
    local path = store_of("own", { 10, 11, 10, 12, 11, 14 }, { 60, 61, 60, 62, 61, 100 },
      "unusual = { above = 120, slower = 150 },")
    local text = show(path)
    assert.matches("the size of app, 1.4 KiB, is far from the usual 1.1 KiB", text)
    assert.matches("the dump of app took 1m 40s, usually 1m 1s", text)
  end)

  it("knows what is usual from three on, the last seven", function()
    assert.is_nil(usual.median { 1, 2 })
    assert.equal(2, usual.median { 3, 1, 2 })
    assert.equal(4, usual.median { 1, 2, 3, 4, 5, 6, 7, 100, 100, 100, 100, 100 })
    assert.same({}, usual.problems({ database = "a", size = 51 }, { size = 100 }))
    assert.equal(1, #usual.problems({ database = "a", size = 49 }, { size = 100 }))
    assert.equal(0, #usual.problems({ database = "a", size = 49 }, { size = 100 }, { below = 40 }))
    assert.equal(0, #usual.problems({ database = "a", size = 49 }, nil))
  end)

  it("draws values from nothing to the largest", function()
    assert.equal("▁▄█", history.sparkline({ 0, 50, 100 }, 3))
    assert.equal("·█", history.sparkline({ nil, 1 }, 2))
    assert.equal("▁▁", history.sparkline({ 0, 0 }, 2))
  end)
end)
