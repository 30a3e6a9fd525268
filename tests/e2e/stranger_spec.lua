-- A stranger's first hour: from an empty folder through init, doctor, plan, run, list and restore to a
-- database that is compared, on a terminal, answering what is asked. The transcript is what
-- docs/guide/first-hour.md shows (MOONKEEP_GOLDEN=write makes it anew).
local fingerprint = require "fingerprint"
local mk = require "moonkeep"
local support = require "support"

local PAGE = "docs/guide/first-hour.md"

describe("a stranger", function()
  if not pcall(mk.process.run, { argv = { "python3", "-c", "import pty; pty.openpty()" } }) then
    print "SKIPPED: there are no pseudo-terminals here (is /dev/pts mounted?)"
    pending "there are no pseudo-terminals here"
    return
  end
  local cluster, dir

  setup(function()
    dir = mk.fs.tempdir()
    cluster = mk.pg.scratch()
    local c <close> = cluster:create_database("app"):connect()
    c:query(support.SMALL)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- On a terminal; `answers`: what is typed, by what it is typed after.
  local function type_in(answers, arguments)
    local argv = { "python3", os.getenv "PWD" .. "/tests/e2e/terminal.py" }
    for _, pair in ipairs(answers) do
      argv[#argv + 1] = pair[1] .. "=" .. pair[2]
    end
    argv[#argv + 1] = "--"
    argv[#argv + 1] = support.binary
    table.move(arguments, 1, #arguments, #argv + 1, argv)
    local ok, text = pcall(mk.process.run, { argv = argv, cwd = dir.path .. "/in", env = {
      PGHOST = cluster.folder, PGUSER = "postgres", MOONKEEP_STATE = dir.path .. "/state",
      TERM = "xterm", MOONKEEP_FROM = "", TZ = "UTC" } })
    assert.is_true(ok, tostring(text) .. tostring(type(text) == "table" and text.detail))
    return text
  end

  -- What changes from run to run, made the same.
  local function settle(text)
    text = text:gsub("\27%[[%d;]*[mK]", ""):gsub("[^\n]*\r([^\n])", "%1"):gsub("\r", "")
    text = text:gsub(cluster.folder:gsub("%p", "%%%0"), "/run/postgresql")
    text = text:gsub(dir.path:gsub("%p", "%%%0") .. "/store", "/var/backups/app")
    text = text:gsub(dir.path:gsub("%p", "%%%0"), "/var/backups")
    text = text:gsub("/tmp/moonkeep%-tmp%-%w+", "/tmp/moonkeep-tmp")
    text = text:gsub("%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ%-%x+", "20261122T020000Z-3f9a2c")
    text = text:gsub("%f[%w]%x%x%x%x%x%x%f[%W]", "3f9a2c"):gsub("%f[%d]%d+ B%f[%W]", "333 B")
    text = text:gsub("  %d+s ", "  1s "):gsub("  %d+m%d*s? ", "  1s ")
    text = text:gsub("  %d+m%d*s? ago ", "  just now ")
    text = text:gsub("%f[%d]%d%d:%d%d:%d%d  ", "02:00:00  "):gsub("in %d+%.?%d* ?m?s%f[%W]", "in 1 s")
    text = text:gsub("%d+%.?%d* [KMG]iB", "1.0 KiB")
    text = text:gsub("20%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ", "2026-11-22T02:00:00Z")
    text = text:gsub("PostgreSQL 15[%d.]*[^,\n]*", "PostgreSQL 15"):gsub("15%.%d+", "15.20")
    text = text:gsub("always %d[%w ]* later", "always 5m later")
    return (text:gsub("\n+$", ""))
  end

  it("gets from init to a compared database by what moonkeep itself says", function()
    mk.fs.mkdir(dir.path .. "/in")
    local shown = {}
    local function step(command, answers, ...)
      local text = settle(type_in(answers, { ... }))
      shown[#shown + 1] = ("```text\n$ %s\n%s\n```"):format(command, text)
      return text
    end
    step("moonkeep init", { { "Which database?", "app" },
      { "Where to?", dir.path .. "/store" } }, "init")
    assert.matches("no mistakes", step("moonkeep check", {}, "check"))
    assert.is_nil(step("moonkeep doctor nightly.lua", {}, "doctor", "nightly.lua"):find("ERROR", 1,
      true))
    assert.matches("no backup yet", step("moonkeep plan nightly.lua", {}, "plan", "nightly.lua"))
    assert.matches("OK  nightly", step("moonkeep run nightly.lua", {}, "run", "nightly.lua"))
    assert.matches("decoded", step("moonkeep list", {}, "list"))
    assert.matches("OK  restored", step("moonkeep restore latest --into dbname=postgres -d app_restored",
      {}, "restore", "latest", "--into", "dbname=postgres", "-d", "app_restored"))
    assert.equal(2, (fingerprint.compare(fingerprint.of(cluster:database "app"),
      fingerprint.of(cluster:database "app_restored"))))

    local c <close> = cluster:database("app"):connect()
    c:query "DELETE FROM fruit"
    c:close()
    assert.matches("replaced the database app", step(
      "moonkeep restore latest --into dbname=app --existing replace",
      { { "type its name:", "app" } }, "restore", "latest", "--into", "dbname=app", "--existing",
      "replace"))
    assert.equal(2, (fingerprint.compare(fingerprint.of(cluster:database "app"),
      fingerprint.of(cluster:database "app_restored"))))
    assert.matches("ok +nightly", step("moonkeep status", {}, "status"))

    local page = mk.fs.read(PAGE)
    local head, tail = page:match "^(.-<!%-%- Transcript. %-%->\n)(.*)$"
    local _, rest = tail:match "^(.-)(<!%-%- End. %-%->.*)$"
    local text = head .. "\n" .. table.concat(shown, "\n\n") .. "\n\n" .. rest
    if os.getenv "MOONKEEP_GOLDEN" == "write" then
      mk.fs.write(PAGE, text, 420)
    end
    local function without_widths(all) -- columns are as wide as the ages of this run
      return (all:gsub(" +", " "))
    end
    assert.equal(without_widths(text), without_widths(mk.fs.read(PAGE)))
  end)

  it("who types another name changes nothing", function()
    local argv = { "python3", os.getenv "PWD" .. "/tests/e2e/terminal.py", "type its name:=ap", "--",
      support.binary, "restore", "latest", "--into", "dbname=app", "--existing", "replace" }
    local c <close> = cluster:database("app"):connect()
    c:query "INSERT INTO fruit VALUES (1000, 'kiwi')"
    local out = mk.process.run { argv = { "sh", "-c", '"$@" || echo "exit $?"', "sh",
      table.unpack(argv) }, cwd = dir.path .. "/in", env = { PGHOST = cluster.folder,
      PGUSER = "postgres", MOONKEEP_STATE = dir.path .. "/state", MOONKEEP_FROM = "" } }
    assert.matches("NOT_CONFIRMED", out)
    assert.matches("nothing was done", out)
    assert.matches("exit 1\n", out)
    assert.equal(501, c:value "SELECT count(*) FROM fruit")
  end)
end)
