-- Backups whose objects are larger than a piece: in a folder, by all formats and codecs, with what can
-- go wrong with a piece. (In buckets: s3_spec; killed: fault/copies_spec.)
local fingerprint = require "fingerprint"
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

local PIECE = 100 * 1024
local SCHEMA = support.SMALL .. [[
  CREATE TABLE large AS SELECT i, md5(i::text) || md5((-i)::text) AS text
    FROM generate_series(1, 60000) i;
  SELECT lo_from_bytea(0, decode(string_agg(md5(i::text), ''), 'hex')) FROM generate_series(1, 20000) i;
]]

support.each_major(describe, pending, { 13, 15, 17 }, "a backup in pieces, of %d", function(major)
  local cluster, dir

  setup(function()
    cluster, dir = mk.pg.scratch { major = major }, mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query(SCHEMA)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- Backs up into a folder: of the backup there, its path and its manifest.
  local function backup(name, keys)
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", piece_size = "100KiB", verify = "decoded", %s
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("disk", "file://%s/%s") } }]]):format(keys, cluster.folder, dir.path, name),
      { flags = { "--json" } })
    assert.equal(0, run.code, run.stderr)
    local folder = ("%s/%s/nightly/app/%s"):format(dir.path, name, run.result.backups[1].id)
    return folder, json.decode(mk.fs.read(folder .. ".json"))
  end

  local function command(...)
    return support.start(dir.path, { ... }):finish()
  end

  local function restore(name, target)
    return command("restore", "latest", "--from", dir.path .. "/" .. name, "--into",
      ("host=%s user=postgres"):format(cluster.folder), "--database", target)
  end

  local function is_the_same(target)
    local n, differences = fingerprint.compare(fingerprint.of(cluster:database "app"),
      fingerprint.of(cluster:database(target)))
    assert.equal(3, n, table.concat(n and {} or differences, "\n"))
  end

  local function in_pieces(manifest)
    local n = 0
    for _, object in ipairs(manifest.objects) do
      n = n + (object.piece_size and 1 or 0)
    end
    return n
  end

  -- What RESTORE.txt does differs by version: 13 cannot read some codecs, 17 takes no links for lists.
  local kinds = { 'compress = "none"', 'compress = "lz4:1"', 'compress = "zstd:1"' }
  if major == 15 then
    kinds = { 'compress = "none"', 'compress = "gzip:1"', 'compress = "lz4:1"', 'compress = "zstd:1"',
      'compress = "zstd:1", dump = { format = "custom" }',
      'compress = "none", dump = { format = "custom" }',
      'compress = "lz4:1", dump = { format = "plain" }',
      'compress = "gzip:6", dump = { format = "tar" }' }
  end
  for _, keys in ipairs(kinds) do
    local name = keys:gsub("%W+", "_"):gsub("_$", "")
    it("restores, also by its RESTORE.txt: " .. keys, function()
      local folder, manifest = backup(name, keys .. ",")
      assert.is_true(in_pieces(manifest) >= 1)
      for _, file in ipairs(support.files(folder)) do
        assert.is_true(mk.fs.stat(folder .. "/" .. file).size <= PIECE or file == "toc.dat", file)
      end
      local run = restore(name, name)
      assert.equal(0, run.code, run.stderr)
      is_the_same(name)
      support.restore_by_text(cluster, folder, name .. "_text")
      is_the_same(name .. "_text")
    end)
  end

  if major ~= 15 then
    return
  end

  it("has no pieces of what fits in one", function()
    local _, manifest = backup("roomy", 'piece_size = "15GiB",')
    assert.equal(0, in_pieces(manifest))
  end)

  it("is damaged when a piece is changed, cut, missing, or in another's place", function()
    local folder, manifest = backup("damaged", 'compress = "none",')
    local name
    for _, object in ipairs(manifest.objects) do
      name = not name and object.piece_size and object.name or name
    end
    local second, third = ("%s/%s.2"):format(folder, name), ("%s/%s.3"):format(folder, name)
    local text, other = mk.fs.read(second), mk.fs.read(third)
    local function is_damaged(why, level)
      local run = command("verify", "latest", "--from", dir.path .. "/damaged", "--level", level)
      assert.equal(1, run.code)
      assert.matches("CORRUPT", run.stderr)
      assert.matches(name, run.stderr, 1, true)
      assert.matches(why, run.stderr)
      assert.equal(1, command("restore", "latest", "--from", dir.path .. "/damaged", "--into",
        ("host=%s user=postgres"):format(cluster.folder), "--database", "damaged").code)
      assert.is_false(pcall(support.restore_by_text, cluster, folder, "damaged_text"))
    end
    mk.fs.write(second, text:sub(2))
    is_damaged("bytes, not", "stored")
    is_damaged("bytes, not", "read")
    mk.fs.write(second, "?" .. text:sub(2))
    is_damaged("SHA%-256", "read")
    mk.fs.write(second, other)
    mk.fs.write(third, text)
    is_damaged("SHA%-256", "read")
    mk.fs.remove(second)
    is_damaged("it is not there", "stored")
    is_damaged("No such file", "read")
  end)

  it("is copied piece by piece, byte for byte", function()
    backup("copied", 'compress = "none",')
    local from, to = dir.path .. "/copied", dir.path .. "/other"
    local run = command("copy", "latest", "--from", from, "--to", "file://" .. to)
    assert.equal(0, run.code, run.stderr)
    support.same_stores(from, to)
  end)

  it("is begun anew from its first piece when a connection was lost in the second", function()
    local lost = false
    local scope <close> = require("moonkeep.core.task").scope()
    scope:spawn(function() -- ends the connection as soon as there is a piece
      local c <close> = cluster:database("postgres"):connect()
      support.eventually("there is a piece", function()
        for _, file in ipairs(mk.fs.exists(dir.path .. "/lost") and support.files(dir.path .. "/lost") or
          {}) do
          lost = lost or file:find "%.dat%.3$" ~= nil
        end
        return lost
      end)
      c:query [[SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY %large%']]
    end)
    local folder, manifest = backup("lost", 'compress = "none", dump = { throttle = "1MiB" },')
    scope:join()
    assert.is_true(lost)
    assert.is_true(in_pieces(manifest) >= 1)
    support.restore_by_text(cluster, folder, "lost_text")
    is_the_same "lost_text"
  end)
end)
