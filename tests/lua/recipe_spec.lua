-- The parts of the recipe language that need no server.
local arg = require "moonkeep.arg"
local json = require "moonkeep.core.json"
local lines = require "moonkeep.recipe_lines"
local mk = require "moonkeep"
local patterns = require "moonkeep.patterns"
local redact = require "moonkeep.redact"
local secret = require "moonkeep.secret"
local settings = require "moonkeep.settings"
local support = require "support"
local toc_list = require "moonkeep.pg.toc_list"
local units = require "moonkeep.units"

describe("a secret", function()
  it("prints redacted, also as JSON, and holds nothing that could be seen", function()
    local dir <close> = mk.fs.tempdir()
    mk.fs.write(dir.path .. "/key", "hush-hush\n")
    local made = mk.secret.file(dir.path .. "/key")
    assert.matches("^secret file:.* %[redacted%]$", tostring(made))
    assert.is_nil(next(made))
    assert.is_nil(json.encode({ made }):find("hush", 1, true))
    assert.equal("hush-hush", secret.reveal(made))
    assert.equal("the [redacted] and [redacted]", redact.text "the hush-hush and hush-hush")
    assert.same({ a = { "x[redacted]" } }, redact.value { a = { "xhush-hush" } })
  end)

  it("comes from a program, an environment variable or a credential", function()
    assert.equal("from a program", secret.reveal(mk.secret.cmd { "echo", "from a program" }))
    local err = support.caught(secret.reveal, mk.secret.env "MOONKEEP_NO_SUCH_VARIABLE")
    assert.equal("SECRET_MISSING", err.code)
    assert.matches("MOONKEEP_NO_SUCH_VARIABLE", err.message)
    err = support.caught(secret.reveal, mk.secret.credential "db")
    assert.matches("LoadCredential=db", err.hint)
    err = support.caught(secret.reveal, mk.secret.file "/no/such/secret")
    assert.equal("SECRET_MISSING", err.code)
  end)

  it("can stand in the environment of a process", function()
    local dir <close> = mk.fs.tempdir()
    mk.fs.write(dir.path .. "/key", "for-the-child")
    assert.equal("for-the-child\n", mk.process.run { argv = { "sh", "-c", "echo $KEY" },
      env = { KEY = mk.secret.file(dir.path .. "/key") } })
  end)
end)

describe("--set", function()
  local function apply(keys, ...)
    return settings.apply("job x", "job", keys, settings.parse { ... })
  end

  it("turns texts into what a recipe would have", function()
    local keys = apply({ name = "x", dump = { no_owner = true }, tags = { a = "1" } },
      "dump.schema_only=true", "dump.table=a", "dump.table=b", "dump.schema=s", "retry.tries=3",
      "databases=all", "dump.globals=with_passwords", "tags.b=2", "compress=gzip:1")
    assert.same({ name = "x", compress = "gzip:1", databases = "all", retry = { tries = 3 },
      tags = { a = "1", b = "2" }, dump = { no_owner = true, schema_only = true,
        table = { "a", "b" }, schema = "s", globals = "with_passwords" } }, keys)
  end)

  it("changes nothing of the recipe's own tables", function()
    local keys = { dump = { table = "x" } }
    apply(keys, "dump.table=y")
    assert.equal("x", keys.dump.table)
  end)

  it("keeps what is after the first equals sign", function()
    assert.equal("a=b=c", apply({}, "description=a=b=c").description)
  end)
end)

describe("a typed argument", function()
  it("becomes a value, or says what it must be", function()
    local values = arg.parse("task t", { n = arg.integer, on = arg.boolean, at = arg.time,
      kind = arg.one_of { "a", "b" }, size = arg.size "1MiB" },
      { n = "-3", on = "yes", at = "2026-03-29T01:00:00Z", kind = "b" })
    assert.same({ n = -3, on = true, at = 1774746000, kind = "b", size = "1MiB" }, values)
    for name, text in pairs { integer = "1.5", boolean = "maybe", time = "now", duration = "3",
      path = "relative", database = "" } do
      local err = support.caught(arg.parse, "task t", { x = arg[name] }, { x = text })
      assert.equal("USAGE", err.code)
      assert.matches("task t: x must be", err.message)
    end
  end)
end)

describe("patterns", function()
  it("match as pg_dump's do, with nothing else special", function()
    assert.is_true(patterns.matches("pay_eu", "pay_*"))
    assert.is_true(patterns.matches("a.b", "a.b"))
    assert.is_false(patterns.matches("axb", "a.b"))
    assert.is_true(patterns.matches("a%b", "a%?"))
    assert.is_false(patterns.matches("xpay", "pay*"))
    assert.is_true(patterns.matches("größe", "gr?ße"))
  end)

  it("match as if every way to part the name were tried", function()
    local function tried(name, pattern)
      local first = pattern:sub(1, 1)
      if first == "*" then
        return tried(name, pattern:sub(2)) or name ~= "" and tried(name:sub(2), pattern)
      end
      return first == "" and name == "" or name ~= "" and (first == "?" or first == name:sub(1, 1)) and
        tried(name:sub(2), pattern:sub(2))
    end
    local function random(letters)
      local text = {}
      for i = 1, math.random(0, 7) do
        local at = math.random(#letters)
        text[i] = letters:sub(at, at)
      end
      return table.concat(text)
    end
    local matched = 0
    for _ = 1, 20000 do
      local name, pattern = random "ab.", random "ab.*?*"
      assert.equal(tried(name, pattern), patterns.matches(name, pattern), name .. " and " .. pattern)
      matched = matched + (patterns.matches(name, pattern) and 1 or 0)
    end
    assert.is_true(matched > 1000)
  end)

  it("don't take longer for many stars", function()
    assert.is_false(patterns.matches(("a"):rep(1000), ("*a"):rep(100) .. "*b"))
  end)
end)

describe("durations and sizes for people", function()
  it("have the two largest units", function()
    assert.equal("250 ms", units.format_duration(250))
    assert.equal("1m 1s", units.format_duration(61000))
    assert.equal("1d 2h", units.format_duration(26 * 3600000 + 5000))
    assert.equal("2d", units.format_duration(2 * 86400000))
  end)
end)

describe("the line of a key", function()
  it("is found among strings, comments, nested tables and functions", function()
    lines.remember("r.lua", [==[
local mk = require "moonkeep"
return mk.job {  -- name = "no",
  name = "x", --[[ deadline = 1,
  deadline = ]] description = "upload = {", run = function(ctx)
    local t = { deadline = 5 }
    ctx:backup { verify = "x" }
  end,
  dump = {
    format = "plain", ["table"] = "y",
    section = [[
    schema = ]],
  },
  deadline = "1h",
}
]==])
    assert.equal("r.lua:3", lines.locate("r.lua:2", "name"))
    assert.equal("r.lua:9", lines.locate("r.lua:2", "dump.format"))
    assert.equal("r.lua:10", lines.locate("r.lua:2", "dump.section"))
    assert.equal("r.lua:13", lines.locate("r.lua:2", "deadline"))
    assert.equal("r.lua:8", lines.locate("r.lua:2", "dump.nothing"))
    assert.is_nil(lines.locate("r.lua:2", "nothing"))
    assert.is_nil(lines.locate("other.lua:2", "name"))
    assert.is_nil(lines.locate(nil, "name"))
  end)
end)

describe("the choice of entries of an archive", function()
  local LISTING = [[
;
; Selected TOC Entries:
;
5; 2615 2200 SCHEMA - shop owner
10; 1247 100 TYPE shop state owner
11; 1255 101 FUNCTION shop touch() owner
215; 1259 200 TABLE shop orders owner
;	depends on: 10 5
216; 1259 201 TABLE shop orders archive owner
;	depends on: 5
217; 1259 202 TABLE shop customer owner
;	depends on: 5
300; 0 200 TABLE DATA shop orders owner
;	depends on: 215
301; 0 201 TABLE DATA shop orders archive owner
;	depends on: 216
400; 2606 300 CONSTRAINT shop orders orders_pkey owner
;	depends on: 215
401; 2606 301 FK CONSTRAINT shop orders orders_customer_fkey owner
;	depends on: 215 217
402; 2620 302 TRIGGER shop orders touch owner
;	depends on: 11 215
403; 2620 303 TRIGGER shop customer touch owner
;	depends on: 11 217
]]

  local function ids(wanted, dependencies)
    local found = {}
    for i, entry in ipairs(toc_list.choose(toc_list.parse(LISTING), wanted, dependencies)) do
      found[i] = entry.id
    end
    return found
  end

  it("takes a name with a blank for what it is", function()
    assert.same({ 215, 300 }, ids { "orders" })
    assert.same({ 216, 301 }, ids { "shop.orders archive" })
    assert.same({ 215, 216, 300, 301 }, ids { "shop.orders*" })
  end)

  it("brings what is needed and what belongs, and nothing of other tables", function()
    assert.same({ 5, 10, 11, 215, 300, 400, 402 }, ids({ "orders" }, true))
    assert.same({ 5, 10, 11, 215, 217, 300, 400, 401, 402, 403 },
      ids({ "orders", "customer" }, true))
  end)

  it("refuses a table that is not there, and says what is", function()
    local err = support.caught(toc_list.choose, toc_list.parse(LISTING), { "oders" })
    assert.equal("NOT_FOUND", err.code)
    assert.matches("shop.orders", err.hint)
  end)
end)

describe("recipes of a folder", function()
  local dir
  before_each(function()
    dir = mk.fs.tempdir()
    mk.fs.mkdir(dir.path .. "/shared")
    mk.fs.write(dir.path .. "/shared/places.lua", [[
      local mk = require "moonkeep"
      return { app = mk.pg { dbname = "app" }, disk = mk.store("disk", "file:///backups") }]])
  end)
  after_each(function()
    dir:close()
  end)

  local function check(...)
    return support.start(dir.path, { "check", "--json", ... }, { MK_TEST_CWD = dir.path }):finish()
  end

  it("share files by require, and are checked together", function()
    for _, name in ipairs { "a", "b" } do
      mk.fs.write(("%s/%s.lua"):format(dir.path, name), ([[
        local mk = require "moonkeep"
        local places = require "shared.places"
        return mk.job { name = %q, source = places.app, upload = { places.disk } }]]):format(name))
    end
    local run = check()
    assert.equal(0, run.code, run.stdout)
    assert.equal(2, #json.decode(run.stdout).jobs)
    mk.fs.write(dir.path .. "/c.lua", mk.fs.read(dir.path .. "/b.lua"))
    run = check()
    assert.equal(2, run.code)
    assert.matches("is also the name of a job in b.lua", run.stdout)
  end)

  it("are checked with what is set on the command line, as a run has it", function()
    mk.fs.write(dir.path .. "/a.lua", [[
      local mk = require "moonkeep"
      local places = require "shared.places"
      return { mk.job { name = "a", source = places.app, upload = { places.disk } },
        mk.task { name = "t", args = { table = mk.arg.string() }, run = print } }]])
    assert.equal(0, check("-s", "verify=read", "-s", "compress=none").code)
    for text, why in pairs { ["verify=bogus"] = 'must be one of stored, read, .*, not "bogus"',
      ["compres=none"] = 'no key "compres", did you mean "compress"?' } do
      local run = check("-s", text)
      assert.equal(2, run.code, text)
      assert.matches(why, json.decode(run.stdout).failures[1].error.message)
    end
    assert.equal(2, check("-s", "nothing").code)
  end)

  it("obey the folder's policy: defaults, requirements", function()
    mk.fs.write(dir.path .. "/policy.lua", [[
      local mk = require "moonkeep"
      mk.policy {
        defaults = { deadline = "6h", verify = "decoded" },
        require = function(job)
          if job.tags.env == "prod" and not job.fresh then
            return "production jobs say how fresh they must be", "add fresh = \"26h\""
          end
        end,
      }]])
    local text = [[
      local mk = require "moonkeep"
      local places = require "shared.places"
      return mk.job { name = "a", source = places.app, upload = { places.disk },
        tags = { env = "prod" }, %s }]]
    mk.fs.write(dir.path .. "/a.lua", text:format "")
    local run = check()
    assert.equal(2, run.code)
    assert.matches("breaks the policy of policy.lua:2: production jobs say how fresh", run.stdout)
    assert.matches("add fresh", run.stdout)
    mk.fs.write(dir.path .. "/a.lua", text:format 'fresh = "26h"')
    assert.equal(0, check().code)
    local plan = support.start(dir.path, { "plan", "a.lua", "--json" },
      { MK_TEST_CWD = dir.path }):finish()
    local job = json.decode(plan.stdout).jobs[1]
    assert.equal("decoded", job.verify)
    assert.equal("6h", job.deadline)
    assert.equal("policy.lua:2", job.defaults.deadline)
  end)

  it("can be kept from running by the policy", function()
    mk.fs.write(dir.path .. "/policy.lua", [[
      require("moonkeep").policy { before_run = function(job) return "the moon is full" end }]])
    mk.fs.write(dir.path .. "/a.lua", [[
      local mk = require "moonkeep"
      return mk.job { name = "a", run = function(ctx) ctx:show "ran" end }]])
    local run = support.start(dir.path, { "run", "a.lua" }, { MK_TEST_CWD = dir.path }):finish()
    assert.equal(1, run.code)
    assert.equal("POLICY", run.result.error.code)
    assert.equal("", run.stdout)
  end)

  it("load without I/O, whatever they try", function()
    for _, call in ipairs { 'mk.fs.exists("/")', 'mk.fs.tempdir()', 'mk.sleep "1ms"',
      'mk.process.spawn { argv = { "true" } }', 'mk.pg.scratch()', 'mk.pg({}):connect()',
      'mk.flow.run { { kind = "memory", text = "" }, { kind = "null" } }',
      'mk.all { function() end }', 'mk.fs.lock "/tmp/x"',
      'coroutine.wrap(function() mk.fs.read "/etc/hostname" end)()',
      'mk.store("d", "file:///x"):latest("a", "b")' } do
      mk.fs.write(dir.path .. "/a.lua", ([[
        local mk = require "moonkeep"
        local _ = %s
        return mk.job { name = "a", run = print }]]):format(call))
      local run = check()
      assert.equal(2, run.code, call)
      assert.matches("does no I/O", run.stdout, nil, nil)
    end
  end)
end)
