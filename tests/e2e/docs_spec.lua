-- What the documentation tells people to type, done: each block, in order, on a real server.
local mk = require "moonkeep"
local support = require "support"

-- The fenced blocks of a page: { language, text }.
local function blocks(page)
  local found = {}
  for language, text in mk.fs.read(page):gmatch "\n```(%l+)\n(.-)\n```" do
    found[#found + 1] = { language = language, text = text }
  end
  return found
end

describe("the documentation", function()
  local cluster, dir, env

  setup(function()
    cluster = mk.pg.scratch()
    dir = mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query(support.SMALL)
    env = { PGHOST = cluster.folder, PGUSER = "postgres" }
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- Recipes of the page are run under the name that the next command gives them.
  local function follow(page, skip)
    local store = dir.path .. "/" .. page:gsub("%W", "_")
    local recipe, ran = nil, 0
    for _, block in ipairs(blocks(page)) do
      if block.language == "lua" then
        if recipe then
          assert.equal(0, support.run_recipe(dir.path, recipe, { env = env }).code, recipe)
          ran = ran + 1
        end
        recipe = block.text:gsub("/var/backups/app", store)
      elseif block.language == "sh" and block.text:match "moonkeep run" then
        local run = support.run_recipe(dir.path, recipe, { env = env })
        assert.equal(0, run.code, run.stderr)
        recipe, ran = nil, ran + 1
      elseif block.language == "sh" and not skip[block.text] then
        mk.process.run { argv = { "sh", "-euc", block.text }, env = env }
        ran = ran + 1
      end
    end
    if recipe then
      local run = support.run_recipe(dir.path, recipe, { env = env })
      assert.equal(0, run.code, run.stderr)
      ran = ran + 1
    end
    return ran
  end

  it("README.md does what it says", function()
    -- The two commands themselves are what `./dev test bare` runs.
    assert.equal(2, follow("README.md", { ["./dev quickstart"] = true, ["./dev test"] = true }))
    local c <close> = cluster:database("app_drill"):connect()
    assert.equal(500, c:value "SELECT count(*) FROM fruit")
  end)

  it("docs/guide/first-backup.md does what it says", function()
    assert.equal(3, follow("docs/guide/first-backup.md", {}))
  end)

  it("docs/guide/from-shell.md does what it says, each way of it", function()
    local page, store = "docs/guide/from-shell.md", dir.path .. "/from-shell"
    local bin = dir.path .. "/bin"
    mk.fs.mkdir(bin)
    mk.process.run { argv = { "ln", "-sfn", support.binary, bin .. "/moonkeep" } }
    local c <close> = cluster:create_database("app_of_page"):connect()
    c:close()
    mk.process.run { argv = { "psql", "-qXd", "postgres", "-c", 'DROP DATABASE app WITH (FORCE)',
      "-c", "ALTER DATABASE app_of_page RENAME TO app" }, env = env }
    local app <close> = cluster:database("app"):connect()
    app:query [[
      CREATE TYPE severity AS ENUM ('low', 'high');
      CREATE TABLE scan_runs (id serial PRIMARY KEY, level severity, at timestamptz DEFAULT now());
      CREATE TABLE security_findings (id int PRIMARY KEY, run int REFERENCES scan_runs);
      CREATE TABLE audit_logs AS SELECT i FROM generate_series(1, 1000) i;
      CREATE TABLE finding_history AS SELECT i FROM generate_series(1, 1000) i;
      INSERT INTO scan_runs (level) SELECT 'high' FROM generate_series(1, 200);
      INSERT INTO security_findings SELECT i, i FROM generate_series(1, 100) i]]
    app:close()
    local commands = { PATH = bin .. ":" .. os.getenv "PATH", MOONKEEP_STATE = dir.path .. "/st" }
    for name, value in pairs(env) do
      commands[name] = value
    end
    local n_recipes, n_commands = 0, 0
    for _, block in ipairs(blocks(page)) do
      local text = block.text:gsub("/var/backups/app", store)
      if block.language == "lua" then
        mk.fs.write(dir.path .. "/nightly.lua", text)
        local run = support.run_recipe(dir.path, text, { env = env })
        assert.equal(0, run.code, text .. run.stderr)
        n_recipes = n_recipes + 1
      elseif block.language == "sh" then
        local ok, err = pcall(mk.process.run, { argv = { "sh", "-euc", text }, env = commands,
          cwd = dir.path })
        assert.is_true(ok, text .. "\n" .. tostring(err) .. "\n" .. tostring(err.detail))
        n_commands = n_commands + 1
      end
    end
    assert.is_true(n_recipes >= 10 and n_commands >= 10)
    local fingerprint = require "fingerprint"
    local wanted = fingerprint.of(cluster:database "app")
    for _, name in ipairs { "app_restored", "app_beside", "app_parallel", "app_parallel2" } do
      assert.equal(4, (fingerprint.compare(wanted, fingerprint.of(cluster:database(name)))), name)
    end
    local rescued <close> = cluster:database("rescued"):connect()
    assert.equal(200, rescued:value "SELECT count(*) FROM scan_runs WHERE level = 'high'")
    assert.equal(201, rescued:value "INSERT INTO scan_runs DEFAULT VALUES RETURNING id")
  end)

  it("docs/reference/recipes.md has an example that runs", function()
    assert.equal(1, follow("docs/reference/recipes.md", {}))
  end)

  it("docs/internals/traps.md names tests that exist", function()
    local tests = mk.process.run { argv = { "grep", "-rhE", [[it\(|^static void |"\):format]],
      "tests" } }
    local n = 0
    for row in mk.fs.read("docs/internals/traps.md"):gmatch "\n| [^\n]+ | ([^\n]+) |" do
      for name in row:gmatch "`([^`]+)`" do
        assert.is_truthy(name:find("./", 1, true) or tests:find(name, 1, true), name)
        n = n + 1
      end
    end
    assert.is_true(n > 40)
  end)

  it("every error code that the library raises is in docs/reference/events.md", function()
    local events = mk.fs.read "docs/reference/events.md"
    local sources = mk.process.run { argv = { "grep", "-rhoE",
      [[(errors\.(raise|new)\(|mk__push_error\([a-z>-]*L, |X\(MK_E[A-Z]+, -[0-9]+, |]] ..
      [[mk_report_failure\(&self->report, )"[A-Z_]+"]], "lua", "runtime" } }
    local n = 0
    for code in sources:gmatch '"([%u_]+)"' do
      assert.is_truthy(events:find("`" .. code .. "`", 1, true), code)
      n = n + 1
    end
    assert.is_true(n > 30)
  end)

  it("links lead somewhere", function()
    for _, page in ipairs(support.files "docs") do
      if page:match "%.md$" then
        page = "docs/" .. page
        for target in mk.fs.read(page):gmatch "%]%(([%w./_-]+)%)" do
          assert.is_true(mk.fs.exists(page:match "^(.*)/" .. "/" .. target), page .. ": " .. target)
        end
      end
    end
    for target in mk.fs.read("README.md"):gmatch "%]%(([%w./_-]+)%)" do
      assert.is_true(mk.fs.exists(target), target)
    end
  end)
end)

describe("the quickstart", function()
  it("shows its summary and leaves nothing behind", function()
    local dir <close> = mk.fs.tempdir()
    local run = support.run_recipe(dir.path, mk.fs.read "recipes/quickstart.lua")
    assert.equal(0, run.code, run.stderr)
    assert.matches("Backed up   5 tables, 147000 rows", run.stdout)
    assert.matches("same row counts, same content", run.stdout)
    local folder = run.stderr:match "dumping app on (%S+) with"
    assert.is_false(mk.fs.exists(folder))
    assert.same({}, support.processes(folder))
  end)
end)
