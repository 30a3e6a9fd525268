local host = require "moonkeep.core.host"
local mk = require "moonkeep"
local support = require "support"

describe("moonkeep", function()
  local dir

  setup(function()
    dir = mk.fs.tempdir()
  end)
  teardown(function()
    dir:close()
  end)

  local function run(text, options)
    return support.run_recipe(dir.path, text, options)
  end

  describe("on the command line", function()
    it("tells its version and helps", function()
      local version = support.start(dir.path, { "version" }):finish()
      assert.matches("^moonkeep %d+%.%d+%.%d+\n$", version.stdout)
      local help = support.start(dir.path, { "help" }):finish()
      assert.matches("moonkeep run", help.stdout)
      assert.equal(0, help.code)
    end)

    it("says what is wrong with a command, and exits with 2", function()
      local cases = {
        { { "rnu" }, 'unknown command "rnu".*Did you mean "run"' },
        { { "run" }, "without a recipe, %-%-source and %-%-to are needed" },
        { { "run", "--fast", "x.lua" }, 'unknown option "%-%-fast"' },
        { { "run", "--watchdog" }, "requires an argument" },
        { { "run", "--watchdog", "soon", "x.lua" }, "must be a duration" },
        { { "run", "--lua-memory", "1k", "x.lua" }, "must be a size" },
        { { "run", "--log-format", "xml", "x.lua" }, 'must be one of "human", "json"' },
      }
      for _, case in ipairs(cases) do
        local result = support.start(dir.path, case[1]):finish()
        assert.equal(2, result.code)
        assert.matches(case[2], result.stderr)
        assert.matches("hint", result.stderr)
      end
    end)
  end)

  it("runs a plain script whose exit code is what it returns, or 0", function()
    for code, text in pairs { [0] = "", [3] = "return 3", [1] = "error 'no'" } do
      local path = ("%s/script%d.lua"):format(dir.path, code)
      mk.fs.write(path, text)
      assert.equal(code, support.start(dir.path, { "--script", path }):finish().code, text)
    end
  end)

  describe("with a recipe", function()
    it("runs it, and prints what it says on stdout and nothing else", function()
      local result = run [[
        local mk = require "moonkeep"
        return mk.job { name = "hello", run = function(ctx)
          ctx:show("%d%%", 100)
          print("a", nil, 1)
          mk.log.info "not on stdout"
        end }]]
      assert.equal(0, result.code, result.stderr)
      assert.equal("100%\na\tnil\t1\n", result.stdout)
      assert.equal("hello", result.result.job)
      assert.matches("not on stdout", result.stderr)
    end)

    it("runs each of its jobs, and fails if one does", function()
      local result = run [[
        local mk = require "moonkeep"
        return {
          mk.job { name = "one", run = function() error "broken" end },
          mk.job { name = "two", run = function(ctx) ctx:show "still ran" end },
        }]]
      assert.equal(1, result.code)
      assert.equal("still ran\n", result.stdout)
    end)

    it("tells failures to people in a block: what, where, what is left, what to do", function()
      local result = run([[
        local mk = require "moonkeep"
        return mk.job { name = "nightly", run = function()
          mk.fs.read "/no/such/file"
        end }]], { flags = { "--log-format", "human" } })
      assert.equal(1, result.code)
      assert.matches("FAILED  nightly  NOT_FOUND\n", result.stderr)
      assert.matches("  could not open /no/such/file: No such file or directory\n", result.stderr)
      assert.matches("  where   " .. result.path:gsub("%p", "%%%0") .. ":3\n", result.stderr)
      assert.matches("  left    nothing was published\n", result.stderr)
    end)

    it("passes typed arguments on", function()
      local result = run([[
        local mk = require "moonkeep"
        return mk.task { name = "a", args = { n = mk.arg.integer, what = mk.arg.string "nothing" },
          run = function(ctx, a) ctx:show("%s %d", a.what, a.n + 1) end }]],
        { set = { "n=41", "what=y z" } })
      assert.equal("y z 42\n", result.stdout)
    end)

    it("tells the job's line when the recipe itself has no line for a failure", function()
      local result = run [[
        local mk = require "moonkeep"
        local app = mk.pg { host = "127.0.0.1", port = 1 }
        return mk.job { name = "nightly", source = app,
          upload = { mk.store("disk", "file:///nowhere") } }]]
      assert.equal("PG_CONNECT", result.result.error.code)
      assert.equal(result.path .. ":3", result.result.error.where)
    end)

    it("is told which argument was wrong, in words", function()
      local cases = {
        { 'ctx:upload(ctx:dump { source = app }, disk)', "stores must be a list" },
        { 'ctx:upload(ctx:dump { source = app }, {})', "stores must be a list of stores" },
        { 'ctx:upload("x", { disk })', "stream must be a stream" },
        { 'ctx:upload(ctx:dump { source = app }, { disk, disk })', "store \"disk\" twice" },
        { 'ctx:verify({ id = "x" }, "stored")', "backup must be a backup" },
        { 'ctx:restore(nil, {})', "backup must be a backup" },
        { 'ctx:compare("x", app)', "must be a server" },
        { 'ctx:check("rows", nil, ">", 0)', "rows: nil > 0 cannot be compared" },
        { 'ctx:check("rows", 5, "!=", 0)', "no operator" },
        { 'ctx:bakup()', "did you mean \"backup\"" },
        { 'ctx:dump { sorce = app }', "did you mean \"source\"" },
        { 'mk.each({ 1 }, { paralel = 2 }, print)', "did you mean \"parallel\"" },
        { 'mk.each({ a = 1 }, print)', "list must be a list" },
        { 'mk.timeout("1s")', "fn must be a function" },
        { 'mk.process.run { argv = { "true" }, timeout = "1s" }', "unknown key \"timeout\"" },
        { 'app:connect { timout = "3s" }', "did you mean \"timeout\"" },
        { 'mk.timeout("0s", print)', "must be a duration" },
      }
      for _, case in ipairs(cases) do
        local result = run(([[
          local mk = require "moonkeep"
          local app, disk = mk.pg { dbname = "x" }, mk.store("disk", "file:///nowhere")
          return mk.job { name = "x", run = function(ctx)
            %s
          end }]]):format(case[1]))
        assert.equal(1, result.code, case[1])
        assert.is_truthy(result.result.error.message:find(case[2], 1, true),
          case[1] .. ": " .. result.result.error.message)
        assert.equal(result.path .. ":4", result.result.error.where, case[1])
      end
    end)
  end)

  describe("refuses, with exit code 2, file and line,", function()
    local function refused(text, code, message, line, options)
      local result = run(text, options)
      assert.equal(2, result.code, result.stderr)
      local err = result.result.error
      assert.equal(code, err.code)
      assert.matches(message, err.message)
      if line then
        assert.equal(result.path .. ":" .. line, err.where)
      end
      return err
    end

    it("a recipe that is not there", function()
      local result = support.start(dir.path, { "run", dir.path .. "/none.lua" }):finish()
      assert.equal(2, result.code)
      assert.equal("NOT_FOUND", result.result.error.code)
    end)

    it("a syntax error", function()
      refused("local x = \nreturn }", "SYNTAX", "unexpected symbol near", 2)
    end)

    it("an error while it is loaded", function()
      refused("\nerror 'no'", "LUA_ERROR", "^no$", 2)
    end)

    it("a recipe without a job", function()
      refused("return {}", "INVALID", "returns no job")
      refused("", "INVALID", "returns no job")
      refused("return { 'job' }", "INVALID", "returns no job")
    end)

    it("compiled Lua", function()
      local err = refused(string.dump(function() end), "SYNTAX", "binary chunk")
      assert.matches("source text", err.hint)
    end)

    it("keys that a job does not have, all at once", function()
      local err = refused('local mk = require "moonkeep"\nreturn mk.job { nmae = "x",\n run = 5 }',
        "INVALID", "has 3 mistakes")
      assert.matches("%.lua:2: mk.job: name is missing", err.detail)
      assert.matches("%.lua:3: mk.job: run must be a function", err.detail)
      assert.matches('did you mean "name"', err.detail)
      assert.equal(3, #err.mistakes)
    end)

    it("a codec, a level, a store or a server that is none", function()
      local function job(keys)
        return 'local mk = require "moonkeep"\nreturn mk.job { name = "x", run = print, '
          .. keys .. " }"
      end
      refused(job 'compress = "zstd:99"', "INVALID", "compress must be a codec", 2)
      refused(job 'verify = "maybe"', "INVALID", "must be one of stored, read, decoded", 2)
      refused(job 'upload = { "disk" }', "INVALID", "list of stores", 2)
      refused(job 'source = "app"', "INVALID", "as mk.pg makes it", 2)
      refused(job 'dump = { fromat = "custom" }', "INVALID", 'did you mean "format"', 2)
      refused(job 'dump = { format = "zip" }', "INVALID", "must be one of custom, plain, tar", 2)
      refused('local mk = require "moonkeep"\nmk.store("x", "gs://b")', "INVALID",
        'no kind of store "gs"', 2)
      refused('local mk = require "moonkeep"\nmk.store("x", "file://b")', "INVALID",
        "not an absolute path", 2)
      refused('local mk = require "moonkeep"\nreturn mk.job { name = "x" }', "INVALID",
        "has 2 mistakes")
      refused('local mk = require "moonkeep"\nreturn mk.job { name = "../x", run = print }',
        "INVALID", "name must be made of letters", 2)
    end)

    it("undeclared globals, read or written", function()
      refused("\n\nreturn jbo", "LUA_ERROR", 'there is no global "jbo"', 3)
      refused("return tabel", "LUA_ERROR", 'did you mean "table"', 1)
      refused("count = 1", "LUA_ERROR", "count is not declared: write `local count", 1)
    end)

    it("what could reach around it", function()
      for _, name in ipairs { "io", "debug", "package", "dofile", "loadfile", "collectgarbage" } do
        refused("return " .. name, "LUA_ERROR", ('there is no global "%s"'):format(name), 1)
      end
      refused("return os.execute 'true'", "LUA_ERROR", "attempt to call a nil value", 1)
      refused("require 'io'", "INVALID", "there is no .*io.lua to require", 1)
      refused("require '../x'", "INVALID", "cannot require", 1)
      refused("return load(string.dump(function() end)) or error 'refused'", "LUA_ERROR",
        "refused", 1)
    end)

    if mk.process.uid() == 0 then
      it("a recipe that others can write, when root runs it", function()
        local good = 'return require("moonkeep").job { name = "x", run = function() end }'
        refused(good, "UNSAFE_RECIPE", "is writable by others", nil, { mode = 438 }) -- 0666
        local open = dir.path .. "/open"
        mk.fs.mkdir(open, 511) -- 0777
        local err = refused(good, "UNSAFE_RECIPE", "open is writable by others", nil,
          { path = open .. "/r.lua" })
        assert.matches("chmod go%-w", err.hint)
        mk.fs.mkdir(open .. "/below", 493) -- 0755: but whoever can rename it can replace it
        refused(good, "UNSAFE_RECIPE", "open is writable by others", nil,
          { path = open .. "/below/r.lua" })
        mk.fs.chown(open, "nobody")
        refused(good, "UNSAFE_RECIPE", "does not belong to root", nil,
          { path = open .. "/r.lua" })
      end)
    end
  end)

  describe("ends", function()
    it("an endless loop, also one that catches every error", function()
      local endless, close = "while true do end", "setmetatable({}, { __close = function() %s end })"
      local caught = ("while true do pcall(function() %s end) end"):format(endless)
      local sort = "table.sort({ 1, 2 }, function() %s end)" -- in which nothing can yield
      for _, body in ipairs { endless, caught, sort:format(endless), sort:format(caught),
        ("coroutine.wrap(function() %s end)()"):format(endless),
        ("coroutine.wrap(function() %s end)()"):format(sort:format(caught)),
        ("local _ <close> = %s error 'x'"):format(close:format(endless)),
        ("local co = coroutine.create(function() local _ <close> = %s coroutine.yield() end) " ..
          "coroutine.resume(co) coroutine.close(co)"):format(close:format(endless)) } do
        -- more than a slow machine computes in one go when a job begins
        local result = run(([[
          local mk = require "moonkeep"
          return mk.job { name = "loop", run = function()
            %s
          end }]]):format(body), { flags = { "--watchdog", "1s" } })
        assert.equal(1, result.code)
        assert.equal("WATCHDOG", result.result.error.code)
        assert.matches("recipe%d+%.lua:3", result.result.error.where)
      end
    end)

    it("a loop while the recipe is loaded", function()
      local result = run("while true do end", { flags = { "--watchdog", "200ms" } })
      assert.equal("WATCHDOG", result.result.error.code)
      assert.not_equal(0, result.code)
    end)

    it("a recipe that takes too much memory", function()
      local result = run([[
        local mk = require "moonkeep"
        return mk.job { name = "hungry", run = function()
          local t = {}
          for i = 1, 1e9 do t[i] = { i } end
        end }]], { flags = { "--lua-memory", "16MiB" } })
      assert.equal(1, result.code)
      assert.equal("LUA_MEMORY", result.result.error.code)
      assert.matches("lua%-memory", result.result.error.hint)
    end)

    it("a run at its deadline, after its closers", function()
      local began = host.monotonic()
      local result = run [[
        local mk = require "moonkeep"
        return mk.job { name = "late", deadline = "200ms", run = function(ctx)
          local _ <close> = setmetatable({}, { __close = function() ctx:show "closed" end })
          mk.sleep "1h"
        end }]]
      assert.equal(1, result.code)
      assert.equal("closed\n", result.stdout)
      assert.equal("DEADLINE", result.result.error.code)
      assert.is_true(host.monotonic() - began < 30000)
    end)
  end)

  describe("with several jobs", function()
    it("gives each its own deadline", function()
      local result = run [[
        local mk = require "moonkeep"
        return {
          mk.job { name = "a", deadline = "2s", run = function() end },
          mk.job { name = "b", run = function() mk.sleep "2500ms" end },
          mk.job { name = "c", deadline = "200ms", run = function() mk.sleep "20s" end },
        }]]
      assert.equal(1, result.code)
      local results = {}
      for _, event in ipairs(result.events) do
        if event.event == "result" then
          results[event.job] = event.status == "ok" and "ok" or event.error.code
        end
      end
      assert.same({ a = "ok", b = "ok", c = "DEADLINE" }, results)
    end)

    it("does not begin the next one after a stop, and calls nothing good that was", function()
      local result = support.start_recipe(dir.path, [[
        local mk = require "moonkeep"
        return {
          mk.job { name = "one", run = function() print "up" pcall(mk.sleep, "20s") end },
          mk.job { name = "two", run = function() print "two" end },
        }]])
      support.eventually("it is up", function()
        return mk.fs.exists(result.out) and mk.fs.read(result.out) ~= ""
      end)
      mk.process.run { argv = { "kill", "-INT", tostring(result.child:pid()) } }
      result:finish()
      assert.equal(130, result.code)
      assert.equal("up\n", result.stdout)
      assert.equal("failed", result.result.status)
      assert.matches("signal 2", result.result.error.message)
      assert.matches("not run, because the run was stopped: two", result.stderr)
    end)
  end)

  describe("survives", function()
    local good = [[
      local mk = require "moonkeep"
      return mk.job { name = "x", run = function(ctx)
        mk.process.run { argv = { "true" } }
        ctx:show "done"
      end }]]

    it("closed standard descriptors, an ignored SIGCHLD, and nohup", function()
      local path = dir.path .. "/good.lua"
      mk.fs.write(path, good)
      for _, how in ipairs { "exec %s run -q %s <&-", "exec %s run -q %s 2>&-",
        "trap '' HUP; exec %s run -q %s",
        "exec perl -e '$SIG{CHLD} = q(IGNORE); exec @ARGV' %s run -q %s" } do
        local out = mk.process.run { argv = { "sh", "-c", how:format(support.binary, path) } }
        assert.equal("done\n", out, how)
      end
    end)

    it("children that it did not start", function()
      local path = dir.path .. "/good.lua"
      local out = mk.process.run { argv = { "bash", "-c", ("sleep 765432 & %s"):format(
        "exec " .. support.binary .. " run -q " .. path) } }
      assert.equal("done\n", out)
      local left = support.processes "sleep\000765432"
      assert.equal(1, #left)
      mk.process.run { argv = { "kill", (left[1]:match "^%d+") } }
    end)

    it("a reader that does not read, and still keeps its deadline", function()
      local began = host.monotonic()
      local path = dir.path .. "/spam.lua"
      mk.fs.write(path, [[
        local mk = require "moonkeep"
        return mk.job { name = "spam", deadline = "1s", run = function(ctx)
          while true do
            ctx:show(("x"):rep(10000))
            mk.sleep "1ms"
          end
        end }]])
      mk.process.run { argv = { "bash", "-c",
        ("%s run %s 2>/dev/null | sleep 4; true"):format(support.binary, path) } }
      assert.is_true(host.monotonic() - began < 30000)
    end)

    it("a second request to stop while its closers run", function()
      local result = support.start_recipe(dir.path, [[
        local mk = require "moonkeep"
        return mk.job { name = "slow", run = function(ctx)
          local _ <close> = setmetatable({}, { __close = function()
            mk.shield(function() mk.sleep "300ms" ctx:show "closed" end)
          end })
          print "up"
          mk.sleep "20s"
        end }]])
      support.eventually("it is up", function()
        return mk.fs.exists(result.out) and mk.fs.read(result.out) ~= ""
      end)
      -- A service manager signals the whole group: supervisor and worker at once.
      mk.process.run { argv = { "kill", "-TERM", tostring(result:worker_pid()),
        tostring(result.child:pid()) } }
      result:finish()
      assert.equal("up\nclosed\n", result.stdout)
    end)
  end)

  it("reports an error's inner coroutine in the traceback", function()
    local result = run [[
      local mk = require "moonkeep"
      local function inner_function() error "deep" end
      return mk.job { name = "x", run = function()
        coroutine.wrap(function() inner_function() end)()
      end }]]
    assert.matches("deep", result.result.error.message)
    assert.matches("inner_function", result.result.error.traceback)
  end)
end)
