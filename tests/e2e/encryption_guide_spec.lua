-- The guide to encryption does what it says: keys by `keygen`, recipes for age, and GnuPG as a stage.
local fingerprint = require "fingerprint"
local mk = require "moonkeep"
local support = require "support"

describe("keygen", function()
  it("writes a key that age-keygen knows, for nobody else to read, and never over another", function()
    local dir <close> = mk.fs.tempdir()
    local path = dir.path .. "/key.txt"
    local done = support.start(dir.path, { "keygen", path }):finish()
    assert.equal(0, done.code, done.stderr)
    local public = done.stdout:match "^(%S+)\n"
    assert.equal(public .. "\n", mk.process.run { argv = { "age-keygen", "-y", path } })
    assert.equal(256, mk.fs.stat(path).mode & 511)
    assert.is_nil((done.stdout .. done.stderr):find("AGE-SECRET-KEY", 1, true))
    local before = mk.fs.read(path)
    done = support.start(dir.path, { "keygen", path, "--sign" }):finish()
    assert.equal(1, done.code)
    assert.matches("ALREADY_EXISTS", done.stderr)
    assert.equal(before, mk.fs.read(path))
  end)
end)

describe("the guide to encryption", function()
  local cluster, dir, env

  setup(function()
    cluster, dir = support.cluster_with("app", support.SMALL), mk.fs.tempdir()
    env = { PGHOST = cluster.folder, PGUSER = "postgres" }
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  it("does what it says", function()
    local paths = { ["/var/backups/app"] = dir.path .. "/store", ["/root/"] = dir.path .. "/",
      ["nightly.lua"] = dir.path .. "/nightly.lua" }
    local _, commands = support.page("docs/guide/encryption.md", paths)
    local function run(i)
      local done = support.start(dir.path, { table.unpack(commands[i], 2) }, env):finish()
      assert.equal(0, done.code, table.concat(commands[i], " ") .. done.stderr)
      return done.stdout:match "^(%S+)\n"
    end
    paths["age1first..."], paths["age1second..."] = run(1), run(2)
    paths["RWpublic..."] = run(7)
    local recipes
    recipes, commands = support.page("docs/guide/encryption.md", paths)
    local function backup(n)
      mk.fs.write(dir.path .. "/nightly.lua", recipes[n])
      local done = support.start(dir.path, { "run", dir.path .. "/nightly.lua" }, env):finish()
      assert.equal(0, done.code, done.stderr)
    end
    backup(1)
    for i = 3, 6 do
      run(i)
    end
    mk.fs.remove(dir.path .. "/store")
    backup(2)
    run(8)
    run(9)
    assert.equal(9, #commands)
  end)

  it("sends a dump through GnuPG, which stock programs restore", function()
    local home = dir.path .. "/gnupg"
    mk.fs.mkdir(home, 448)
    local with = { GNUPGHOME = home, PGHOST = cluster.folder, PGUSER = "postgres" }
    mk.process.run { env = with, argv = { "gpg", "--batch", "--quiet", "--passphrase", "",
      "--quick-gen-key", "ops@example.org", "default", "default" } }
    local arguments = { "run", "recipes/gpg.lua", "-s", "recipient=ops@example.org", "-s",
      "folder=" .. dir.path .. "/gpg" }
    local done = support.start(dir.path, arguments, with):finish()
    assert.equal(0, done.code, done.stderr)
    local path = done.stdout:match "(%S+%.gpg)\n"
    mk.process.run { env = with, argv = { "sh", "-euc", [[createdb gpg_copy
      gpg --batch --quiet --decrypt "$0" | pg_restore --exit-on-error --dbname=gpg_copy]], path } }
    local n = fingerprint.compare(fingerprint.of(cluster:database "app"),
      fingerprint.of(cluster:database "gpg_copy"))
    assert.equal(2, n)
    -- what fails leaves nothing that looks finished
    arguments[4] = "recipient=nobody@example.org"
    done = support.start(dir.path, arguments, with):finish()
    assert.equal(1, done.code)
    assert.matches("gpg", done.stderr)
    assert.equal(1, #support.files(dir.path .. "/gpg"))
    mk.process.run { env = with, argv = { "gpgconf", "--kill", "all" } }
  end)
end)
