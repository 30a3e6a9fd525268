-- The table of contents of an archive: byte for byte, and never more than an error.
local errors = require "moonkeep.errors"
local mk = require "moonkeep"
local support = require "support"
local toc = require "moonkeep.pg.toc"
local tools = require "moonkeep.pg.tools"

local MINORS = { [13] = 14, [15] = 14, [17] = 16, [18] = 16 }

describe("the table of contents", function()
  local dir
  local texts = {} -- of toc.dat and custom heads, by major

  local function dump(cluster, major, format, name)
    local path = ("%s/%d.%s"):format(dir.path, major, name)
    mk.process.run { argv = { tools.find("pg_dump", major), "--format=" .. format, "--compress=0",
      "--host=" .. cluster.folder, "--username=postgres", "--file=" .. path, "app" } }
    return path
  end

  setup(function()
    dir = mk.fs.tempdir()
    for major in pairs(MINORS) do
      if pcall(tools.find, "initdb", major) then
        local cluster <close> = mk.pg.scratch { major = major }
        local c <close> = cluster:create_database("app"):connect()
        c:query(support.SMALL)
        c:query "COMMENT ON TABLE fruit IS ''; SELECT lo_create(4242)"
        texts[major] = { directory = mk.fs.read(dump(cluster, major, "directory", "d") .. "/toc.dat"),
          custom = mk.fs.read(dump(cluster, major, "custom", "c")),
          tar = mk.fs.read(dump(cluster, major, "tar", "t")) }
      end
    end
    assert(texts[15], "PostgreSQL 15 is always here")
  end)
  teardown(function()
    dir:close()
  end)

  it("is written as it was read, byte for byte", function()
    for major, text in pairs(texts) do
      local archive, size = toc.read(text.directory)
      assert.equal(#text.directory, size)
      assert.equal(MINORS[major], archive.version[2])
      assert.is_true(toc.write(archive) == text.directory, "directory of " .. major)
      local custom, custom_size = toc.read(text.custom)
      assert.is_true(toc.write(custom) == text.custom:sub(1, custom_size), "custom of " .. major)
      assert.equal(#archive.entries, #custom.entries)
      local in_tar = text.tar:sub(513, 512 + tonumber(text.tar:sub(125, 135), 8))
      assert.matches("^toc.dat", text.tar)
      assert.is_true(toc.write(toc.read(in_tar)) == in_tar, "tar of " .. major)
    end
  end)

  it("of a custom archive becomes that of a directory, as pg_dump writes it", function()
    for major, text in pairs(texts) do
      local archive, directory = toc.read(text.custom), toc.read(text.directory)
      archive.created = directory.created -- a second may have passed
      local made = toc.write(toc.to_directory(archive, "none"))
      assert.is_true(made == text.directory, "of " .. major)
    end
  end)

  it("is read by recipes from a directory, a custom and a tar file", function()
    local names = {}
    for i, name in ipairs { "15.d", "15.c", "15.t" } do
      local archive = mk.toc.open(dir.path .. "/" .. name)
      names[i] = table.concat(mk.toc.lines(archive.entries), "\n"):gsub("%d+; %d+ %d+", "")
      assert.equal("fruit", mk.toc.choose(archive, "fruit")[1].name)
    end
    assert.equal(names[1], names[2])
    assert.equal(names[1], names[3])
    assert.matches("TABLE DATA public fruit postgres", names[1])
    mk.fs.write(dir.path .. "/cut", texts[15].custom:sub(1, 500))
    assert.equal("CORRUPT", support.caught(mk.toc.open, dir.path .. "/cut").code)
  end)

  it("is put into an order in which each entry comes after what it depends on", function()
    local archive = mk.toc.open(dir.path .. "/15.d")
    local seen, reversed = {}, {}
    for i, entry in ipairs(archive.entries) do
      reversed[#archive.entries + 1 - i] = entry
    end
    local ordered = mk.toc.order(reversed)
    assert.equal(#archive.entries, #ordered)
    local is_there = {}
    for _, entry in ipairs(ordered) do
      is_there[entry.id] = true
    end
    for _, entry in ipairs(ordered) do
      for _, id in ipairs(entry.needs) do
        assert.is_true(seen[id] or not is_there[id])
      end
      seen[entry.id] = true
    end
    local long = {}
    for i = 1, 20000 do
      long[i] = { id = i, needs = { i + 1 } }
    end
    assert.equal(20000, mk.toc.order(long)[1].id)
    long[20000].needs = { 1 }
    assert.equal("INVALID", support.caught(mk.toc.order, long).code)
  end)

  -- No PostgreSQL 16 is at hand: one is made of 17's, and 17 reads it.
  it("of version 1.15 is written as it was read, and pg_restore reads it", function()
    if not texts[17] then
      return pending "PostgreSQL 17 is not here"
    end
    local archive = toc.read(texts[17].directory)
    archive.version[2] = 15
    for _, entry in ipairs(archive.entries) do
      entry.relkind = nil
    end
    local text = toc.write(archive)
    assert.equal(#texts[17].directory - 5 * #archive.entries, #text)
    assert.is_true(toc.write(toc.read(text)) == text)
    mk.fs.mkdir(dir.path .. "/1.15")
    mk.fs.write(dir.path .. "/1.15/toc.dat", text)
    assert.matches("TABLE DATA public fruit", mk.process.run { argv = { tools.find("pg_restore", 17),
      "--list", dir.path .. "/1.15" } })
  end)

  it("comes in pieces of any size", function()
    for _, size in ipairs { 1, 2, 7, 1000 } do
      local text, reader, archive = texts[15].custom, toc.reader(), nil
      for at = 1, #text, size do
        archive = reader:feed(text:sub(at, at + size - 1))
        if archive then
          break
        end
      end
      local whole, whole_size = toc.read(text)
      assert.equal(whole_size, reader.consumed)
      assert.same(whole, archive)
    end
  end)

  it("keeps NULL and the empty text apart", function()
    local archive = toc.read(texts[15].directory)
    local kinds = {}
    for _, entry in ipairs(archive.entries) do
      kinds[entry.kind] = entry
    end
    assert.is_nil(kinds.ENCODING.copy)
    assert.equal("", kinds.TABLE.file)
    kinds.TABLE.file, kinds.ENCODING.copy = nil, ""
    local again = toc.read(toc.write(archive))
    assert.same(archive, again)
  end)

  it("cut at any byte is truncated, and says so", function()
    local text = texts[15].directory
    for at = 0, #text - 1 do
      local err = support.caught(toc.read, text:sub(1, at))
      assert.is_true(err.truncated, err.message)
    end
  end)

  it("of a newer version is refused", function()
    local text = texts[15].directory
    local err = support.caught(toc.read, text:sub(1, 6) .. "\17" .. text:sub(8))
    assert.equal("UNSUPPORTED", err.code)
    assert.equal("the archive has version 1.17, known are 1.14 to 1.16", err.message)
    assert.equal("install a newer moonkeep", err.hint)
  end)

  it("that is damaged is an error or another archive, never anything else", function()
    local n = support.rounds("damaged tables of contents", 3000, 200000)
    math.randomseed(os.time())
    local all = {}
    for _, text in pairs(texts) do
      all[#all + 1], all[#all + 2] = text.directory, text.custom
    end
    for _ = 1, n do
      local text = all[math.random(#all)]
      for _ = 1, math.random(3) do
        local at, kind = math.random(#text), math.random(4)
        local byte = string.char(kind == 1 and 255 or kind == 2 and 0 or math.random(0, 255))
        text = kind == 4 and text:sub(1, at) .. text:sub(at + math.random(20)) or
          text:sub(1, at - 1) .. byte .. text:sub(at + 1)
      end
      local ok, result, size = pcall(toc.read, text)
      if ok then
        assert.is_true(toc.write(result) == text:sub(1, size))
      else
        assert.is_true(errors.is_error(result), tostring(result))
      end
    end
  end)
end)
