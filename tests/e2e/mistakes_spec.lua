-- Mistakes in recipes and on command lines, and what is said of each. The texts are in
-- tests/golden/ (MOONKEEP_GOLDEN=write makes them anew); read them as a user would: they must be true,
-- name the line, and help.
local mk = require "moonkeep"
local support = require "support"

local HEAD = 'local mk = require "moonkeep"\nlocal app = mk.pg { dbname = "app" }\n' ..
  'local disk = mk.store("disk", "file:///backups")\n'

-- Keys of a job that is right otherwise.
local function job(keys)
  return HEAD .. "return mk.job {\n  name = \"nightly\",\n  source = app,\n  upload = { disk },\n  " ..
    keys .. ",\n}\n"
end

local RECIPES = {
  { "a key that is misspelt", job 'dedline = "3h"' },
  { "a key of a table in the table", job 'dump = {\n    format = "plain",\n    exclude_tabel = "x",\n  }' },
  { "a key that nothing resembles", job 'zzz = 1' },
  { "a number for a duration", job 'deadline = 3' },
  { "a duration without a unit", job 'deadline = "90"' },
  { "a duration of nothing", job 'deadline = "0s"' },
  { "a codec that is none", job 'compress = "zip"' },
  { "a level that a codec has not", job 'compress = "gzip:10"' },
  { "a proof that is none", job 'verify = "proved"' },
  { "a dump format that is none", job 'dump = { format = "directory" }' },
  { "a list where a text belongs", job 'dump = { format = { "plain" } }' },
  { "a boolean as text", job 'dump = { schema_only = "yes" }' },
  { "two that exclude each other", job 'dump = { schema_only = true, data_only = true }' },
  { "clean with an archive", job 'dump = { clean = true }' },
  { "extra that is a text", job 'dump = { extra = "--jobs=4" }' },
  { "globals that are neither", job 'dump = { globals = "yes" }' },
  { "a list with a gap", job 'dump = { table = { [1] = "a", [3] = "b" } }' },
  { "a size where a duration belongs", job 'dump = { lock_timeout = "1MiB" }' },
  { "a store as a text", job 'upload = "file:///x"' },
  { "a store in no list", job 'upload = disk' },
  { "the same store twice", job 'upload = { disk, disk }' },
  { "a source as a text", job 'source = "dbname=app"' },
  { "databases as a text", job 'databases = "app"' },
  { "a service that is misspelt", job 'notify = { problem = mk.notify.slak "https://x" }' },
  { "a notifier that is none", job 'notify = { problem = "slack", failures = 1 }' },
  { "a mail without a sender", job 'notify = { problem = mk.notify.email { url = "smtp://x", to = {} } }' },
  { "a mail to nowhere", job [[notify = { problem = mk.notify.email { url = "smtp://x", from = "me",
    to = { "a@b", "Ops <ops>" } } }]] },
  { "more copies than stores", job "copies = { min = 2, offsite = 1 }" },
  { "copies without a number", job "copies = { min = 0, ofsite = 1 }" },
  { "exclude_databases without databases", job 'exclude_databases = "tmp_*"' },
  { "no source and no upload", HEAD .. 'return mk.job {\n  name = "x",\n}' },
  { "no name", HEAD .. 'return mk.job { source = app, upload = { disk } }' },
  { "a name with a slash", HEAD .. 'return mk.job { name = "../x", source = app, upload = { disk } }' },
  { "several mistakes at once", HEAD .. 'return mk.job {\n  nmae = "x",\n  source = 5,\n  upload = ' ..
    '{ disk },\n  dump = {\n    tabel = "t",\n    schema_only = 1,\n  },\n}' },
  { "mistakes in two jobs", HEAD .. 'return {\n  mk.job {\n    name = "a", source = app, ' ..
    'upload = { disk }, verfiy = "read",\n  },\n  mk.job {\n    name = "b", source = app, ' ..
    'upload = { disk },\n    deadline = 1,\n  },\n}' },
  { "two jobs of one name", HEAD .. 'local keys = { name = "a", source = app, upload = { disk } }\n' ..
    'return { mk.job(keys), mk.job(keys) }' },
  { "a cron of four fields", job 'schedule = { cron = "0 2 * *" }' },
  { "a cron with an hour too many", job 'schedule = {\n    tz = "UTC",\n    cron = "0 24 * * *",\n  }' },
  { "a schedule of two kinds", job 'schedule = { cron = "@daily", every = "6h" }' },
  { "a schedule of no kind", job 'schedule = { tz = "UTC" }' },
  { "an interval that divides no day", job 'schedule = { every = "7h" }' },
  { "days that are none", job 'schedule = { at = "09:00", on = "frist monday" }' },
  { "a time of day that is none", job 'schedule = { at = "26:00" }' },
  { "a zone that is none", job 'schedule = { cron = "@daily", tz = "Europe/Pariss" }' },
  { "tries too few", job 'retry = { tries = 0 }' },
  { "tries missing", job 'retry = { wait = "1m" }' },
  { "an overlap that is none", job 'overlap = "kill"' },
  { "tags that are a list", job 'tags = { 1, 2 }' },
  { "args that are no types", job 'args = { days = "integer" }' },
  { "a hook that is no function", job 'before = "vacuum"' },
  { "a task without run", HEAD .. 'return mk.task { name = "t" }' },
  { "a task with a key of a job", HEAD .. 'return mk.task { name = "t", run = print, upload = { disk } }' },
  { "a job called with a text", HEAD .. 'return mk.job "nightly"' },
  { "a store of an unknown kind", HEAD .. 'mk.store("s", "gs://bucket/x")\nreturn {}' },
  { "a store in no bucket", HEAD .. 'mk.store("s", "s3:///x")\nreturn {}' },
  { "a store in a bucket with mistakes", HEAD .. 'mk.store("s", "s3://b/x", { regoin = "x",\n' ..
    '  secret_key = "plain", parallel = 0 })\nreturn {}' },
  { "a store with a relative path", HEAD .. 'mk.store("s", "file://backups")\nreturn {}' },
  { "a store without a URL", HEAD .. 'mk.store("s", "/var/backups")\nreturn {}' },
  { "a store without a name", HEAD .. 'mk.store("file:///x")\nreturn {}' },
  { "an option that stores have not", HEAD .. 'mk.store("s", "file:///x", { ofsite = true })\nreturn {}' },
  { "a libpq key that is misspelt", HEAD .. 'mk.pg { hots = "db1" }\nreturn {}' },
  { "a conninfo that is none", HEAD .. 'mk.pg "host=db1 app"\nreturn {}' },
  { "a secret without a name", HEAD .. 'mk.secret.env(nil)\nreturn {}' },
  { "a secret command as one text", HEAD .. 'mk.secret.cmd "pass show db"\nreturn {}' },
  { "a function that is misspelt", HEAD .. 'return mk.jbo { name = "x" }' },
  { "mk without require", 'return mk.job { name = "x" }' },
  { "a global that is misspelt", HEAD .. 'return tabel.pack(1)' },
  { "a global that is written", HEAD .. 'count = 1\nreturn {}' },
  { "a syntax error", HEAD .. 'return mk.job { name = "x",\n' },
  { "nothing returned", HEAD },
  { "something else returned", HEAD .. 'return { 1, 2 }' },
  { "files read while loading", HEAD .. 'local x = mk.fs.read "/etc/hostname"\nreturn {}' },
  { "a connection while loading", HEAD .. 'local c = app:connect()\nreturn {}' },
  { "a program while loading", HEAD .. 'mk.process.run { argv = { "true" } }\nreturn {}' },
  { "waiting while loading", HEAD .. 'mk.sleep "1s"\nreturn {}' },
  { "a neighbour that is not there", HEAD .. 'local s = require "stores"\nreturn {}' },
  { "a neighbour that is a path", HEAD .. 'local s = require "../stores"\nreturn {}' },
  { "a policy outside of policy.lua is refused by key", HEAD .. 'mk.policy { requires = print }\nreturn {}' },
  { "defaults with a wrong key", HEAD .. 'mk.policy { defaults = { deadlin = "1h" } }\nreturn {}' },
}

local COMMANDS = {
  { "lst" }, { "run", "--verbos" }, { "run" }, { "run", "none.lua" }, { "run", "/etc", "x" },
  { "run", "good.lua", "nightyl" }, { "run", "good.lua", "--set", "compress" },
  { "run", "good.lua", "--set", "compres=none" }, { "run", "good.lua", "--set", "dump.fromat=tar" },
  { "run", "good.lua", "--set", "dump=plain" }, { "run", "good.lua", "--set", "compress=zip" },
  { "run", "good.lua", "--source", "dbname=x" }, { "run", "--source", "dbname=x" },
  { "run", "--source", "dbname", "--to", "file:///x" }, { "run", "--source", "dbname=x", "--to", "x" },
  { "run", "good.lua", "--watchdog", "soon" }, { "run", "good.lua", "--lua-memory", "1k" },
  { "list", "--log-format", "xml" }, { "list", "--from", "gs://x" }, { "list", "--from", "none.lua" },
  { "show" }, { "show", "latest" }, { "show", "latest", "--from", "file:///nowhere" },
  { "verify" }, { "verify", "latest", "--level", "proved" }, { "restore", "latest" },
  { "restore", "latest", "--into", "dbname" }, { "restore", "latest", "--into", "dbname=x", "--existing", "drop" },
  { "restore", "latest", "--into", "dbname=x", "--set", "tabel=x" },
  { "next", "--count", "0" }, { "next", "--count", "many" }, { "next", "--after", "tomorrow" },
  { "export" }, { "export", "cron" }, { "export", "cron", "good.lua" },
  { "completion", "csh" }, { "init", "--source", "dbname=x" }, { "init", "--name", "a/b", "--source", "x", "--to", "/x" },
  { "init", "--source", "postgresql://u:secret@h/x", "--to", "/x" }, { "catalog", "drop" },
  { "task", "x" }, { "run", "task.lua" }, { "run", "task.lua", "t", "--set", "n=two" },
  { "run", "task.lua", "t", "--set", "m=1" }, { "run", "task.lua", "t", "--set", "n=1", "--set", "n=2" },
}

local function quoted(arguments)
  return "moonkeep " .. table.concat(arguments, " ")
end

describe("a mistake", function()
  local dir, recipes, commands

  setup(function()
    dir = mk.fs.tempdir()
    recipes, commands = support.golden "bad_recipes", support.golden "bad_commands"
    mk.fs.mkdir(dir.path .. "/in")
    mk.fs.write(dir.path .. "/in/good.lua", job 'verify = "read"')
    mk.fs.write(dir.path .. "/in/task.lua", HEAD ..
      'return mk.task { name = "t", args = { n = mk.arg.integer }, run = print }')
  end)
  teardown(function()
    dir:close()
  end)

  -- What it prints, with this run's folder taken out.
  local function said(run)
    return (run.stderr:gsub(dir.path:gsub("%p", "%%%0") .. "/in/", ""):gsub("\n$", ""))
  end

  local function moonkeep(arguments)
    local run = support.start(dir.path, arguments, { MK_TEST_CWD = dir.path .. "/in",
      MOONKEEP_FROM = "" })
    return run:finish()
  end

  for _, case in ipairs(RECIPES) do
    it("in a recipe is told: " .. case[1], function()
      mk.fs.write(dir.path .. "/in/bad.lua", case[2])
      local run = moonkeep { "check", "bad.lua", "--log-format", "human" }
      mk.fs.remove(dir.path .. "/in/bad.lua")
      assert.equal(2, run.code, run.stderr)
      recipes:check(case[1], case[2]:gsub("\n$", "") .. "\n->\n" .. said(run))
    end)
  end

  it("in a recipe: the golden file has no more than these", function()
    assert.is_true(recipes:close() >= 60)
  end)

  for _, arguments in ipairs(COMMANDS) do
    it("on the command line is told: " .. quoted(arguments), function()
      local with_format = table.move(arguments, 1, #arguments, 1, {})
      local run = moonkeep(with_format)
      assert.is_true(run.code == 2 or run.code == 1, run.code .. run.stdout .. run.stderr)
      assert.is_nil(run.stderr:find("traceback", 1, true) and run.stderr:find("LUA_ERROR", 1, true))
      local text = run.result and run.result.error and ("%s: %s\nhint: %s"):format(
        run.result.error.code, run.result.error.message, tostring(run.result.error.hint)) or said(run)
      commands:check(quoted(arguments), ("exit %d\n%s"):format(run.code,
        (text:gsub(dir.path:gsub("%p", "%%%0") .. "/in/", ""))))
    end)
  end

  it("on the command line: the golden file has no more than these", function()
    assert.is_true(commands:close() >= 40)
  end)
end)

describe("the help", function()
  it("of every command is what the golden file has: a sentence, examples, environment, exit codes",
    function()
      local commands = require "moonkeep.definitions.commands"
      local dir <close> = mk.fs.tempdir()
      local golden = support.golden "help"
      golden:check("moonkeep --help", support.start(dir.path, { "--help" }):finish().stdout)
      for _, command in ipairs(commands.list) do
        local run = support.start(dir.path, { command[1], "--help" }):finish()
        assert.equal(0, run.code, run.stderr)
        for _, part in ipairs { "^%u[^\n]+%.\n", "\nUsage: moonkeep ", "\nEnvironment:\n",
          "\nExit codes:\n" } do
          assert.matches(part, run.stdout)
        end
        golden:check(("moonkeep %s --help"):format(command[1]), run.stdout)
      end
      golden:close()
    end)
end)
