-- What there is in several stores, some of which cannot be read.
local mk = require "moonkeep"
local support = require "support"
local surveys = require "moonkeep.surveys"

describe("surveys of several stores", function()
  local dir

  setup(function()
    dir = mk.fs.tempdir()
    for _, path in ipairs { "one/a/x", "one/b/x", "one/b/y", "two/a/x" } do
      mk.fs.mkdir(dir.path .. "/" .. path)
      mk.fs.write(("%s/%s/20261101T020000Z-000001.json"):format(dir.path, path), "{}")
    end
    mk.process.run { argv = { "ln", "-s", "c", dir.path .. "/one/c" } } -- a loop: it cannot be read
  end)
  teardown(function() dir:close() end)

  local function store(name)
    return mk.store(name, ("file://%s/%s"):format(dir.path, name))
  end

  local function names(found)
    local list = {}
    surveys.each(found, function(of, id)
      list[#list + 1] = ("%s/%s/%s/%s"):format(of.store.name, of.job, of.series, id:sub(-1))
    end)
    return list
  end

  it("have all series of all places, in their order, or those that are wanted", function()
    local one, two = store "one", store "two"
    local places = { { store = one, job = "b" }, { store = two }, { store = one, job = "a" } }
    local found, left_out, read = surveys.of(places)
    assert.same({ "one/b/x/1", "one/b/y/1", "two/a/x/1", "one/a/x/1" }, names(found))
    assert.same({ {}, 3 }, { left_out, #read })
    assert.equal(places[2], found[3].place)
    assert.same({ "one/b/y/1" }, names((surveys.of(places, function(series)
      return series == "y"
    end))))
  end)

  it("leave out a job that cannot be read, and not the others of its store", function()
    local one = store "one"
    local found, left_out, read = surveys.of { { store = one, job = "c" }, { store = one, job = "a" } }
    assert.same({ "one/a/x/1" }, names(found))
    assert.same({ 1, "c", one, 1, "a" }, { #left_out, left_out[1].job, left_out[1].store, #read,
      read[1].job })
    local err = surveys.errors_of(left_out)[1]
    assert.matches("^store one cannot be read: .*c: Too many levels of symbolic links", err.message)
    assert.equal(left_out[1].error.code, err.code)
  end)

  it("ask a store where nobody answers no more", function()
    mk.fs.write(dir.path .. "/secret", "secret")
    local dead = mk.store("dead", "s3://bucket/x", { endpoint = "http://127.0.0.1:1", region = "r",
      access_key = "key", secret_key = mk.secret.file(dir.path .. "/secret") })
    local places = {}
    for i = 1, 12 do
      places[i] = { store = dead, job = "job" .. i }
    end
    places[13] = { store = store "two" }
    local found, left_out, read = surveys.of(places)
    assert.same({ "two/a/x/1" }, names(found))
    assert.equal(1, #read)
    assert.equal("NETWORK", left_out[1].error.code)
    assert.is_true(#left_out <= 3) -- those that had begun
  end)

  it("end when they are stopped", function()
    local err = support.caught(mk.timeout, "1ms", function()
      while true do
        surveys.of { { store = store "one" }, { store = store "two" } }
      end
    end)
    assert.equal("TIMEOUT", err.code)
  end)
end)
