--- Dumps that others have made, with pg_dump or with a script around it: what kind a file is, and what
--- it says of the database that it was made of.
---
---   custom     PGDMP, format 1
---   tar        its first file is toc.dat
---   plain      SQL with the first lines of pg_dump
---   directory  a folder with toc.dat
---
--- A file may be compressed by gzip, zstd or lz4 as a whole.
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local fs = require "moonkeep.fs"
local needs = require "moonkeep.restore.needs"
local tempdir = require "moonkeep.tempdir"
local toc = require "moonkeep.pg.toc"

local M = {}

local HEAD_BYTES = 256 * 1024     -- the first look
local MAX_TOC_BYTES = 256 << 20

-- ---- bytes --------------------------------------------------------------------------------------

local MAGICS = { ["\x1f\x8b"] = "gzip", ["\x28\xb5\x2f\xfd"] = "zstd", ["\x04\x22\x4d\x18"] = "lz4" }
local OTHERS = { ["BZh"] = { "bzip2", "bunzip2" }, ["\xfd7zXZ"] = { "xz", "unxz" },
  ["PK\3\4"] = { "zip", "unzip" }, ["age-"] = { "age", "age --decrypt" },
  ["-----BEGIN PGP"] = { "gpg", "gpg --decrypt" } }

local function unreadable(path, text, hint)
  errors.raise("UNSUPPORTED", ("%s %s"):format(path, text), { hint = hint })
end

local BLOCK_BYTES = 512

-- The first bytes of a file, decompressed: so many blocks at most.
local function head_of(path, codec, n)
  local folder <close> = tempdir.new()
  local head = folder.path .. "/head"
  flow.run { { kind = "file", path = path }, { kind = "decode", codec = codec }, { kind = "process",
    early = true, argv = { "dd", "status=none", "iflag=fullblock", "bs=" .. BLOCK_BYTES, "count=" ..
    -(-n // BLOCK_BYTES), "of=" .. head } } }
  return fs.read(head)
end

local function codec_of(path)
  local head = head_of(path, "none", 16)
  for magic, codec in pairs(MAGICS) do
    if head:sub(1, #magic) == magic then
      return codec
    end
  end
  for magic, other in pairs(OTHERS) do
    if head:sub(1, #magic) == magic then
      unreadable(path, "is compressed or encrypted by " .. other[1], ("undo that first: %s %s"):format(
        other[2], path))
    end
  end
  return "none"
end

-- ---- what an archive says -----------------------------------------------------------------------

local function unquoted(text)
  return text and (text:gsub("''", "'"))
end

-- CREATE DATABASE, as pg_dump writes it.
local LOCALE_PROVIDERS = { libc = "c", icu = "i", builtin = "b" }

local function read_create(source, create)
  local function option(name)
    return unquoted((" " .. create):match("[%s]" .. name .. " = '(.-)'[%s;]"))
  end
  source.encoding = option "ENCODING" or source.encoding
  source.collate = option "LC_COLLATE" or option "LOCALE" or ""
  source.ctype = option "LC_CTYPE" or option "LOCALE" or ""
  source.locale_provider = LOCALE_PROVIDERS[create:match "LOCALE_PROVIDER = (%l+)" or ""]
  source.locale = option "ICU_LOCALE" or option "BUILTIN_LOCALE"
  source.icu_rules = option "ICU_RULES"
  source.tablespace = create:match 'TABLESPACE = "?([^";]+)'
end

-- ALTER DATABASE app SET search_path TO 'a', 'b'; and the same for a role in it.
local function read_settings(source, text)
  for line in text:gmatch "[^\n]+" do
    local who, name, values = line:match '^ALTER (%u+ .-) SET "?([%w_.]+)"? TO (.*);$'
    local list = {}
    for value in (values or ""):gmatch "'([^']*)'" do
      list[#list + 1] = value
    end
    if #list > 1 then
      for i, value in ipairs(list) do
        list[i] = '"' .. value:gsub('"', '""') .. '"'
      end
    end
    if name then
      local role = who:match '^ROLE "?(.-)"? IN DATABASE '
      table.insert(source.settings, { setting = name .. "=" .. table.concat(list, ", "), role = role })
    end
  end
end

local READERS = {
  DATABASE = function(source, entry)
    source.owner = entry.owner
    read_create(source, entry.create or "")
  end,
  ["DATABASE PROPERTIES"] = function(source, entry)
    read_settings(source, entry.create or "")
  end,
  EXTENSION = function(source, entry)
    table.insert(source.extensions, { name = entry.name })
  end,
  COMMENT = function(source, entry)
    if entry.name:sub(1, 9) == "DATABASE " then
      source.comment = unquoted((entry.create or ""):match " IS '(.*)';\n$")
    end
  end,
}

local function names_of(set)
  local names = {}
  for name in pairs(set) do
    names[#names + 1] = utf8.len(name) and name or nil
  end
  table.sort(names)
  return names
end

-- What a manifest cannot have, for it is UTF-8.
local function drop_other_encodings(source)
  for _, key in ipairs { "owner", "comment", "tablespace" } do
    source[key] = source[key] and utf8.len(source[key]) and source[key] or nil
  end
  local settings = {}
  for _, entry in ipairs(source.settings) do
    settings[#settings + 1] = utf8.len(entry.setting) and utf8.len(entry.role or "") and entry or nil
  end
  source.settings = settings
end

-- What an archive's table of contents says of its database, as a manifest has it.
local function source_of(archive)
  local source = { database = archive.database, server_version = archive.server_version, collate = "",
    ctype = "", encoding = toc.encoding(archive) or "UTF8", settings = {}, extensions = {} }
  local roles, tablespaces = {}, {}
  for _, entry in ipairs(archive.entries) do
    if entry.tablespace and entry.tablespace ~= "" then
      tablespaces[entry.tablespace] = true
    end
    if READERS[entry.kind] then
      READERS[entry.kind](source, entry)
    end
  end
  needs.add_roles(roles, archive.entries)
  source.roles, source.tablespaces = names_of(roles), names_of(tablespaces)
  drop_other_encodings(source)
  return source
end

-- When an archive was begun, by the clock of the machine that made it, taken for this one's.
local function time_of(archive)
  local sec, min, hour, day, month, year = table.unpack(archive.created)
  local ok, time = pcall(os.time, { sec = sec, min = min, hour = hour, day = day, month = month + 1,
    year = year + 1900, isdst = archive.created[7] > 0 })
  return ok and time or nil
end

local function major_of(version)
  return math.tointeger(tonumber((version or ""):match "^%d+"))
end

local function of_archive(archive)
  return { archive = archive, source = source_of(archive), time = time_of(archive),
    program = "pg_dump " .. (archive.dump_version or "?"):match "^%S*", major =
    major_of(archive.dump_version), is_compressed = archive.compression ~= 0 }
end

-- ---- streams --------------------------------------------------------------------------------------

-- The table of contents of a custom archive, read as far as it takes.
local function read_custom(path, codec)
  local n = HEAD_BYTES
  while n <= MAX_TOC_BYTES do
    local head = head_of(path, codec, n)
    local archive = toc.reader():feed(head)
    if archive then
      return of_archive(archive)
    elseif #head < n then
      errors.raise("CORRUPT", path .. ": the archive ends inside its table of contents")
    end
    n = n * 8
  end
  unreadable(path, "has a table of contents of more than 256 MiB")
end

-- The first file of a tar archive is its table of contents, padded to whole blocks.
local function read_tar(path, codec)
  local size = tonumber(head_of(path, codec, 512):sub(125, 135), 8)
  if not size or size > MAX_TOC_BYTES then
    errors.raise("CORRUPT", path .. ": the table of contents has no proper size")
  end
  return of_archive((toc.read(head_of(path, codec, 512 + size):sub(513))))
end

local COMPLETE = "\n%-%- Dumped from database version ([^\n]+)\n%-%- Dumped by pg_dump version ([^\n]+)"

local function read_plain(path, head)
  local server, program = head:match(COMPLETE)
  if not server then
    unreadable(path, "is no dump of pg_dump's", "pg_dump's SQL says in its first lines by which " ..
      "version it was made; moonkeep takes over what it can prove")
  elseif head:find("\n\\connect ", 1, true) then
    unreadable(path, "creates databases itself (pg_dump --create, or pg_dumpall)", "restore it with " ..
      "psql, and back up the database")
  end
  local first = head:find("\nCREATE ", 1, true) or #head
  for drop in head:sub(1, first):gmatch "\n(DROP [^\n]*)" do
    if not drop:find("IF EXISTS", 1, true) then
      unreadable(path, "was made with --clean: it drops what a new database has not", "make it with " ..
        "--if-exists, too, or without --clean")
    end
  end
  return { source = { server_version = server, collate = "", ctype = "", encoding =
    head:match "\nSET client_encoding = '(.-)';" or "UTF8" }, program = "pg_dump " ..
    program:match "^%S*", major = major_of(program) }
end

-- ---- all of them ----------------------------------------------------------------------------------

--- Looks at a file or a folder: { path, format, codec (of the whole file), archive (pg/toc.lua; not of
--- SQL), source (as in a manifest; `database` unknown of SQL), time (of Unix), program, major,
--- is_compressed (inside) }. Raises NOT_FOUND, UNSUPPORTED, CORRUPT.
function M.inspect(path)
  local stat = fs.stat(path)
  if not stat then
    errors.raise("NOT_FOUND", "there is no " .. path)
  end
  local found, format, codec
  if stat.type == "directory" then
    if not fs.exists(path .. "/toc.dat") then
      unreadable(path, "has no toc.dat: it is no directory of pg_dump's")
    end
    found, format = of_archive((toc.read(fs.read(path .. "/toc.dat")))), "directory"
    stat = fs.stat(path .. "/toc.dat")
  else
    codec = codec_of(path)
    local head = head_of(path, codec, HEAD_BYTES)
    if head == "" then
      errors.raise("CORRUPT", path .. " is empty")
    end
    if head:sub(1, 5) == "PGDMP" then
      found, format = read_custom(path, codec), "custom"
    elseif head:sub(1, 8) == "toc.dat\0" then
      found, format = read_tar(path, codec), "tar"
    else
      found, format = read_plain(path, head), "plain"
    end
  end
  if not found.major then
    errors.raise("CORRUPT", path .. ": it does not say which version of pg_dump made it")
  end
  found.path, found.format, found.codec = path, format, codec
  found.time = math.min(found.time or stat.mtime, stat.mtime) -- its clock's zone may be another
  return found
end

return M
