--- The table of contents of a PostgreSQL archive: reading and writing it, byte for byte.
---
--- pg_dump writes the same head and entries in three places: at the beginning of a custom archive,
--- as toc.dat of a directory, and as the first member of a tar archive. Versions 1.14 (pg_dump 12 to
--- 15), 1.15 (16) and 1.16 (17, 18) are known; a newer one is refused, for its entries may have
--- fields that we would misread. Source of the layout: PostgreSQL's pg_backup_archiver.c.
---
---   Byte, Int (a sign byte, then int_size bytes, least significant first), Str (an Int of its
---   length, -1 for NULL, then the bytes), Offset (a state byte, then off_size bytes)
---
--- Writing what was read gives the same bytes: NULL is an absent field, the empty string is "".
--- Whatever the bytes are, reading ends with an error or an archive, in memory proportional to the
--- text.
---
---   archive  { version = { 1, 16, 0 }, int_size, offset_size, format, compression, created = {...},
---            database, server_version, dump_version, entries = { entry... } }
---   entry    { id, has_data, catalog, oid, name, kind, section, create, drop, copy, schema,
---            tablespace, access_method, relkind, owner, with_oids, needs = { id... },
---            file | position = { state, offset } }
local errors = require "moonkeep.errors"
local merge = require "moonkeep.merge"

local M = {}

M.CUSTOM, M.TAR, M.DIRECTORY = 1, 3, 3 -- a directory's toc.dat says tar, too

local SECTIONS = { "none", "pre-data", "data", "post-data" }
local SECTION_NUMBERS = {}
for number, name in ipairs(SECTIONS) do
  SECTION_NUMBERS[name] = number
end

--- The algorithms of the compression field from 1.15 on; before, a level of gzip stands there.
M.ALGORITHMS = { none = 0, gzip = 1, lz4 = 2, zstd = 3 }

local MAGIC = "PGDMP"
local NEWEST_MINOR, OLDEST_MINOR = 16, 14

-- ---- reading ------------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

-- Told apart from damage: a reader of a stream waits for more.
local function truncated()
  errors.raise("CORRUPT", "the archive ends inside its table of contents", { truncated = true })
end

local function damaged(text, ...)
  errors.raise("CORRUPT", "the archive's table of contents is damaged: " .. text:format(...))
end

function Reader:byte()
  local value = self.text:byte(self.at)
  if not value then
    truncated()
  end
  self.at = self.at + 1
  return value
end

function Reader:int()
  local text, at, size = self.text, self.at, self.int_size
  if at + size > #text then
    truncated()
  end
  local sign = text:byte(at)
  if sign > 1 then
    damaged("a number has the sign %d", sign)
  end
  local value = string.unpack("<I" .. size, text, at + 1)
  if value < 0 or value == 0 and sign == 1 then
    damaged("a number is out of range")
  end
  self.at = at + 1 + size
  return sign == 1 and -value or value
end

function Reader:str()
  local length = self:int()
  if length < 0 then
    if length ~= -1 then
      damaged("a text has the length %d", length)
    end
    return nil
  end
  local at = self.at
  if at + length - 1 > #self.text then
    truncated()
  end
  self.at = at + length
  return self.text:sub(at, at + length - 1)
end

local function read_entry(reader, archive)
  local entry = { id = reader:int() }
  if entry.id <= 0 then
    damaged("an entry has the number %d", entry.id)
  end
  local has_data = reader:int()
  if has_data ~= 0 and has_data ~= 1 then
    damaged("entry %d says %d where 0 or 1 should be", entry.id, has_data)
  end
  entry.has_data = has_data == 1
  entry.catalog, entry.oid = reader:str(), reader:str()
  entry.name, entry.kind = reader:str(), reader:str()
  entry.section = SECTIONS[reader:int()]
  if not entry.section or not entry.kind then
    damaged("entry %d has no kind or no section", entry.id)
  end
  entry.create, entry.drop, entry.copy = reader:str(), reader:str(), reader:str()
  entry.schema, entry.tablespace = reader:str(), reader:str()
  entry.access_method = reader:str()
  if archive.version[2] >= 16 then
    entry.relkind = reader:int()
  end
  entry.owner, entry.with_oids = reader:str(), reader:str()
  entry.needs = {}
  for text in function() return reader:str() end do
    local id = math.tointeger(tonumber(text:match "^%d+$"))
    if not id or tostring(id) ~= text then
      damaged("entry %d depends on %q", entry.id, text)
    end
    entry.needs[#entry.needs + 1] = id
  end
  if archive.format == M.CUSTOM then
    local state = reader:byte()
    local offset = string.unpack("<I" .. archive.offset_size,
      reader.text .. ("\0"):rep(archive.offset_size), reader.at)
    reader.at = reader.at + archive.offset_size
    if reader.at > #reader.text + 1 then
      truncated()
    end
    entry.position = { state = state, offset = offset }
  else
    entry.file = reader:str()
  end
  return entry
end

local function read_version(reader)
  local magic = reader.text:sub(1, #MAGIC)
  if magic ~= MAGIC:sub(1, #magic) then
    damaged("it does not begin with %s", MAGIC)
  elseif #magic < #MAGIC then
    truncated()
  end
  reader.at = #MAGIC + 1
  local version = { reader:byte(), reader:byte(), reader:byte() }
  if version[1] ~= 1 or version[2] < OLDEST_MINOR or version[2] > NEWEST_MINOR then
    errors.raise("UNSUPPORTED", ("the archive has version %d.%d, known are 1.%d to 1.%d"):format(
      version[1], version[2], OLDEST_MINOR, NEWEST_MINOR), { hint = version[1] == 1 and
      version[2] > NEWEST_MINOR and "install a newer moonkeep" or nil })
  end
  return version
end

local function read_head(reader)
  local archive = { version = read_version(reader) }
  archive.int_size, archive.offset_size = reader:byte(), reader:byte()
  if archive.int_size < 4 or archive.int_size > 8 or archive.offset_size < 4 or
    archive.offset_size > 8 then
    damaged("its numbers have %d and %d bytes", archive.int_size, archive.offset_size)
  end
  reader.int_size = archive.int_size
  archive.format = reader:byte()
  if archive.format ~= M.CUSTOM and archive.format ~= M.TAR then
    damaged("it has the format %d", archive.format)
  end
  archive.compression = archive.version[2] >= 15 and reader:byte() or reader:int()
  archive.created = {}
  for i = 1, 7 do
    archive.created[i] = reader:int()
  end
  archive.database, archive.server_version = reader:str(), reader:str()
  archive.dump_version = reader:str()
  return archive
end

-- Takes one more piece of the archive; false when what there is ends inside it.
local function step(reader)
  local from = reader.at
  local ok, err = pcall(reader.next, reader)
  if not ok then
    if errors.is_error(err) and err.truncated then
      reader.at = from
      return false
    end
    error(err, 0)
  end
  return true
end

local function next_entry(reader)
  local entry = read_entry(reader, reader.archive)
  if reader.seen[entry.id] then
    damaged("two entries have the number %d", entry.id)
  end
  reader.seen[entry.id] = true
  table.insert(reader.archive.entries, entry)
end

local function next_head(reader)
  local archive = read_head(reader)
  local n = reader:int()
  if n < 0 then
    damaged("it has %d entries", n)
  end
  archive.entries = {}
  reader.archive, reader.n_entries, reader.next = archive, n, next_entry
end

--- For an archive that comes in pieces: reader:feed(bytes) returns the archive once it is complete,
--- nil before. `consumed` then says where the data blocks of a custom archive begin.
function M.reader()
  return setmetatable({ text = "", at = 1, consumed = 0, seen = {}, next = next_head }, Reader)
end

function Reader:feed(bytes)
  self.text, self.at = self.text:sub(self.at) .. bytes, 1
  local function is_complete()
    return self.archive ~= nil and #self.archive.entries == self.n_entries
  end
  while not is_complete() and step(self) do end
  self.consumed = self.consumed + self.at - 1
  return is_complete() and self.archive or nil
end

--- Reads a head and its entries, of a text that holds them whole. Returns the archive and how many
--- bytes it has. Raises CORRUPT or UNSUPPORTED.
function M.read(text)
  local reader = M.reader()
  local archive = reader:feed(text)
  if not archive then
    truncated()
  end
  return archive, reader.consumed
end

-- ---- writing ------------------------------------------------------------------------------------

local function writer(int_size)
  local parts, format = {}, "<I" .. int_size
  local self = {}
  function self.raw(text)
    parts[#parts + 1] = text
  end
  function self.int(value)
    parts[#parts + 1] = (value < 0 and "\1" or "\0") .. string.pack(format, math.abs(value))
  end
  function self.str(text)
    self.int(text and #text or -1)
    parts[#parts + 1] = text
  end
  function self.text()
    return table.concat(parts)
  end
  return self
end

local function write_entry(out, archive, entry)
  out.int(entry.id)
  out.int(entry.has_data and 1 or 0)
  for _, key in ipairs { "catalog", "oid", "name", "kind" } do
    out.str(entry[key])
  end
  out.int(SECTION_NUMBERS[entry.section])
  for _, key in ipairs { "create", "drop", "copy", "schema", "tablespace", "access_method" } do
    out.str(entry[key])
  end
  if archive.version[2] >= 16 then
    out.int(entry.relkind or 0)
  end
  out.str(entry.owner)
  out.str(entry.with_oids)
  for _, id in ipairs(entry.needs) do
    out.str(tostring(id))
  end
  out.str(nil)
  if archive.format == M.CUSTOM then
    out.raw(string.char(entry.position.state))
    out.raw(string.pack("<I" .. archive.offset_size, entry.position.offset))
  else
    out.str(entry.file)
  end
end

--- The bytes of an archive's head and entries.
function M.write(archive)
  local out = writer(archive.int_size)
  out.raw(MAGIC .. string.char(archive.version[1], archive.version[2], archive.version[3],
    archive.int_size, archive.offset_size, archive.format))
  if archive.version[2] >= 15 then
    out.raw(string.char(archive.compression))
  else
    out.int(archive.compression)
  end
  for i = 1, 7 do
    out.int(archive.created[i])
  end
  out.str(archive.database)
  out.str(archive.server_version)
  out.str(archive.dump_version)
  out.int(#archive.entries)
  for _, entry in ipairs(archive.entries) do
    write_entry(out, archive, entry)
  end
  return out.text()
end

-- ---- from custom to directory ---------------------------------------------------------------------

--- The name that pg_dump gives to the file of an entry's data in a directory; "" for none.
function M.file_name(archive, entry)
  if not entry.has_data then
    return ""
  elseif entry.kind == "BLOBS" then
    return archive.version[2] >= 16 and ("blobs_%d.toc"):format(entry.id) or "blobs.toc"
  end
  return ("%d.dat"):format(entry.id)
end

--- An archive as a directory's: the same entries, those of a custom one with files instead of
--- positions. `algorithm`: what pg_restore has to undo ("none", "gzip", "lz4", "zstd"). Before 1.15
--- there is gzip or nothing: an archive whose files were compressed by another program says none,
--- and they must be decompressed first.
function M.to_directory(archive, algorithm)
  local directory = merge(archive, { format = M.DIRECTORY, entries = {} })
  if archive.version[2] >= 15 then
    directory.compression = M.ALGORITHMS[algorithm]
  else
    directory.compression = algorithm == "gzip" and -1 or 0
  end
  for i, entry in ipairs(archive.entries) do
    directory.entries[i] = merge(entry, { file = entry.file or M.file_name(archive, entry) })
    directory.entries[i].position = nil
  end
  return directory
end

-- Entries that say how all others are to be read.
local ALWAYS = { ENCODING = true, STDSTRINGS = true, SEARCHPATH = true }

--- Leaves only these entries in an archive, and those that say how all are to be read. Returns the
--- set of the files of their data.
function M.reduce(archive, entries)
  local keep, files = {}, {}
  for _, entry in ipairs(entries) do
    keep[entry.id] = true
  end
  local kept = {}
  for _, entry in ipairs(archive.entries) do
    if keep[entry.id] or ALWAYS[entry.kind] then
      kept[#kept + 1] = entry
      files[entry.has_data and entry.file or ""] = true
    end
  end
  archive.entries = kept
  return files
end

--- The encoding that the archive's text has.
function M.encoding(archive)
  for _, entry in ipairs(archive.entries) do
    if entry.kind == "ENCODING" then
      return entry.create:match "'(.-)'"
    end
  end
end

-- ---- for people --------------------------------------------------------------------------------

-- As pg_restore shows it: no character may break the line, or pass for the end of a comment.
local function shown(text)
  return (text or "-"):gsub("[\r\n]", " ")
end

--- The lines of a list of entries, as `pg_restore --list` has them; --use-list takes them.
function M.lines(entries)
  local lines = {}
  for i, entry in ipairs(entries) do
    lines[i] = ("%d; %s %s %s %s %s %s"):format(entry.id, entry.catalog or 0, entry.oid or 0,
      entry.kind, shown(entry.schema), shown(entry.name), entry.owner and shown(entry.owner) or "")
  end
  return lines
end

return M
