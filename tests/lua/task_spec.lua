local core = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local mk = require "moonkeep"
local caught = require("support").caught

describe("tasks", function()
  it("run at once and give their results in order", function()
    local began = host.monotonic()
    local a, b, c = mk.all {
      function() mk.sleep "60ms" return 1 end,
      function() mk.sleep "20ms" return nil end,
      function() return 3 end,
    }
    assert.same({ 1, nil, 3 }, { a, b, c })
    assert.is_true(host.monotonic() - began < 1000)
  end)

  it("are limited by mk.each to the number asked for", function()
    local running, most = 0, 0
    local results = mk.each({ 5, 4, 3, 2, 1 }, { parallel = 2 }, function(item, index)
      running = running + 1
      most = math.max(most, running)
      mk.sleep "5ms"
      running = running - 1
      return item * 10 + index
    end)
    assert.same({ 51, 42, 33, 24, 15 }, results)
    assert.equal(2, most)
    assert.same({}, mk.each({}, { parallel = 3 }, error))
  end)

  it("cancel their siblings when one fails, and the first error is raised", function()
    local finished, cancelled = false, false
    local err = caught(mk.all, {
      function()
        local ok, why = pcall(mk.sleep, "10s")
        cancelled = not ok and why.code == "CANCELED"
        mk.sleep "10s"
        finished = true
      end,
      function() mk.sleep "10ms" error "boom" end,
    })
    assert.equal("LUA_ERROR", err.code)
    assert.equal("boom", err.message)
    assert.is_true(cancelled)
    assert.is_false(finished)
  end)

  it("keep what siblings raise on the way out as `also`", function()
    local err = caught(mk.all, {
      function()
        local _ <close> = setmetatable({}, { __close = function() error "closer" end })
        mk.sleep "10s"
      end,
      function() mk.sleep "10ms" error "first" end,
    })
    assert.equal("first", err.message)
    assert.equal("closer", err.also[1].message)
  end)

  it("are over when the call that started them returns", function()
    local after = false
    pcall(mk.all, {
      function() mk.sleep "20ms" after = true end,
      function() error "now" end,
    })
    mk.sleep "50ms"
    assert.is_false(after)
  end)
end)

describe("a timeout", function()
  it("raises TIMEOUT at the await point, so closers run", function()
    local closed = false
    local err = caught(mk.timeout, "20ms", function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      mk.sleep "10s"
    end)
    assert.equal("TIMEOUT", err.code)
    assert.is_true(closed)
  end)

  it("does not disturb what is fast enough", function()
    assert.same({ 1, 2 }, { mk.timeout("1s", function(a) mk.sleep "1ms" return a, 2 end, 1) })
  end)

  it("must be a duration", function()
    assert.equal("INVALID", caught(mk.timeout, 5, print).code)
  end)
end)

describe("cancellation", function()
  it("is sticky: a pcall cannot eat it", function()
    local raises = 0
    caught(mk.timeout, "10ms", function()
      for _ = 1, 3 do
        if not pcall(mk.sleep, "1s") then
          raises = raises + 1
        end
      end
      mk.sleep "1s"
    end)
    assert.equal(3, raises)
  end)

  it("kills a task that goes on swallowing it", function()
    local kills = core.stats().kills
    local err = caught(mk.timeout, "10ms", function()
      while true do
        pcall(mk.sleep, "1s")
      end
    end)
    assert.equal("TIMEOUT", err.code)
    assert.equal(kills + 1, core.stats().kills)
  end)

  it("is held off inside a shield, so closers may await", function()
    local slept = false
    caught(mk.timeout, "10ms", function()
      local _ <close> = setmetatable({}, { __close = function()
        mk.shield(function() mk.sleep "30ms" slept = true end)
      end })
      mk.sleep "10s"
    end)
    assert.is_true(slept)
  end)

  it("gets through a shield at the shield's limit", function()
    local began, slept = host.monotonic(), false
    caught(mk.timeout, "10ms", function()
      mk.shield(function() mk.sleep "60s" slept = true end, "50ms")
    end)
    assert.is_false(slept)
    assert.is_true(host.monotonic() - began < 20000)
  end)

  it("passes the results of a shield through", function()
    assert.same({ 1, nil, 3 }, { mk.shield(function() return 1, nil, 3 end) })
  end)

  it("of a task that has not begun means that it never begins", function()
    local began = false
    local scope <close> = core.scope()
    scope:spawn(function() began = true end)
    scope:cancel(errors.new("CANCELED", "before the start"))
    scope:join() -- no error: it was the owner's own wish
    assert.is_false(began)
    assert.has_error(function() scope:results(1) end)
  end)

  it("of what is over changes nothing, and twice is as once", function()
    local scope <close> = core.scope()
    scope:spawn(function() return 7 end)
    scope:join()
    scope:cancel()
    scope:cancel()
    assert.equal(7, scope:results(1))
  end)
end)

describe("awaits inside the user's own coroutines", function()
  it("pass through wrap and resume", function()
    local generator = coroutine.wrap(function(first)
      mk.sleep "1ms"
      local second = coroutine.yield(first + 1)
      mk.sleep "1ms"
      return second * 2
    end)
    assert.equal(2, generator(1))
    assert.equal(20, generator(10))

    local co = coroutine.create(function()
      local inner = coroutine.wrap(function()
        mk.sleep "1ms"
        coroutine.yield "deep"
      end)
      coroutine.yield(inner())
      error "late"
    end)
    assert.same({ true, "deep" }, { coroutine.resume(co) })
    local ok, err = coroutine.resume(co)
    assert.is_false(ok)
    assert.matches("late", err)
    assert.equal("dead", coroutine.status(co))
    assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
  end)

  it("work while other tasks do the same", function()
    local results = mk.each({ 1, 2, 3, 4 }, { parallel = 4 }, function(n)
      local wrapped = coroutine.wrap(function()
        for i = 1, 3 do
          mk.sleep "1ms"
          coroutine.yield(n * i)
        end
      end)
      return wrapped() + wrapped() + wrapped()
    end)
    assert.same({ 6, 12, 18, 24 }, results)
  end)

  it("are cancelled there, and the coroutine's closers run", function()
    local closed = {}
    local function closer(name)
      return setmetatable({}, { __close = function() closed[#closed + 1] = name end })
    end
    caught(mk.timeout, "10ms", function()
      local _ <close> = closer "outer"
      coroutine.wrap(function()
        local _ <close> = closer "inner"
        mk.sleep "10s"
      end)()
    end)
    assert.same({ "inner", "outer" }, closed)
  end)

  it("are killed there, from the inside out", function()
    local closed = {}
    caught(mk.timeout, "10ms", function()
      local _ <close> = setmetatable({}, { __close = function() closed[#closed + 1] = "outer" end })
      coroutine.wrap(function()
        local _ <close> = setmetatable({}, { __close = function()
          closed[#closed + 1] = "inner"
        end })
        while true do
          pcall(mk.sleep, "1s")
        end
      end)()
    end)
    assert.same({ "inner", "outer" }, closed)
  end)

  it("cannot be disturbed by other tasks", function()
    local generator = coroutine.create(function()
      mk.sleep "30ms"
      return "mine"
    end)
    local first, second, closing, status
    mk.all {
      function() first = { coroutine.resume(generator) } end,
      function()
        mk.sleep "5ms"
        second = { coroutine.resume(generator) }
        closing = { pcall(coroutine.close, generator) }
        status = coroutine.status(generator)
      end,
    }
    assert.same({ true, "mine" }, first)
    assert.same({ false, "cannot resume non-suspended coroutine" }, second)
    assert.is_false(closing[1])
    assert.equal("normal", status)
  end)

  it("close a coroutine that dies, and stop it from being resumed by itself", function()
    local closed = false
    local co = coroutine.create(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      error "dies"
    end)
    coroutine.resume(co)
    assert.is_true(closed)
    local running = coroutine.running()
    assert.same({ false, "cannot resume non-suspended coroutine" }, { coroutine.resume(running) })
  end)
end)

describe("an await where none is possible", function()
  it("says so in words", function()
    local places = {
      function() return (("a"):gsub("a", function() mk.sleep "1ms" end)) end,
      function() table.sort({ 1, 2, 3 }, function() mk.sleep "1ms" end) end,
      function() return tostring(setmetatable({}, { __tostring = function()
        mk.sleep "1ms"
      end })) end,
      -- A coroutine inside such a callback can't either.
      function() return (("a"):gsub("a", function()
        coroutine.wrap(function() mk.sleep "1ms" end)()
      end)) end,
    }
    for i, place in ipairs(places) do
      local err = caught(place)
      assert.matches("cannot await here", tostring(err), nil, nil, "place " .. i)
    end
    mk.sleep "1ms" -- and the task is as good as new
  end)
end)

describe("a yield that nobody resumes", function()
  it("ends the task with an error", function()
    local err = caught(mk.all, { function() coroutine.yield(1) end })
    assert.matches("coroutine.yield was called outside", err.message)
  end)
end)

describe("arguments and results", function()
  it("may be many", function()
    local many = {}
    for i = 1, 5000 do
      many[i] = i
    end
    assert.equal(5000, select("#", mk.timeout("5s", function(...) return ... end,
      table.unpack(many))))
  end)
end)

describe("a scope", function()
  it("is joined by one task at a time", function()
    local scope <close> = core.scope()
    scope:spawn(function() mk.sleep "50ms" end)
    local err = caught(mk.all, { function() scope:join() end, function() scope:join() end })
    assert.matches("another task waits", err.message)
  end)
end)

describe("closers", function()
  it("may await on the normal way out, and on an error", function()
    local order = {}
    local function closer(name)
      return setmetatable({}, { __close = function()
        mk.sleep "2ms"
        order[#order + 1] = name
      end })
    end
    mk.all { function()
      local _ <close> = closer "a"
      local _ <close> = closer "b"
    end }
    caught(mk.all, { function()
      local _ <close> = closer "c"
      error "x"
    end })
    assert.same({ "b", "a", "c" }, order)
  end)
end)

describe("many tasks", function()
  it("are cheap", function()
    local n = 2000
    local list = {}
    for i = 1, n do
      list[i] = i
    end
    local sum = 0
    mk.each(list, { parallel = n }, function(i)
      mk.sleep "1ms"
      sum = sum + i
    end)
    assert.equal(n * (n + 1) // 2, sum)
  end)
end)
