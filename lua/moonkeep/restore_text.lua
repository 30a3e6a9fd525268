--- RESTORE.txt: the stock commands that restore a backup without moonkeep. Every backup holds one;
--- tests run the commands of each kind.
local database = require "moonkeep.pg.database"
local envelope = require "moonkeep.encryption.envelope"
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local pieces = require "moonkeep.store.pieces"

local M = {}

local HEAD = [[
How to restore this backup without moonkeep
===========================================

It is %s, made by %s%s.
Run these commands with bash, in the folder of this file.%s
If it lies in a bucket, first fetch it into an empty folder, and go there: aws s3 cp --recursive
s3://BUCKET/PREFIX/%s/ .

    set -euo pipefail

First make sure that the files are whole:

%s
Then restore it:

%s
%s must be of version %d or newer%s.%s
]]

-- For a shell, in single quotes.
local function shell_quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function createdb_options(source, major)
  local options = { "--encoding=" .. shell_quote(source.encoding) }
  for _, key in ipairs { "collate", "ctype" } do
    options[#options + 1] = source[key] ~= "" and ("--lc-%s=%s"):format(key, shell_quote(source[key])) or
      nil
  end
  if source.locale_provider == "c" and major >= 15 then
    options[#options + 1] = "--locale-provider=libc"
  elseif source.locale_provider == "i" then
    options[#options + 1] = "--locale-provider=icu --icu-locale=" .. shell_quote(source.locale)
    if source.icu_rules then
      options[#options + 1] = "--icu-rules=" .. shell_quote(source.icu_rules)
    end
  elseif source.locale_provider == "b" then
    options[#options + 1] = "--locale-provider=builtin --builtin-locale=" ..
      shell_quote(source.locale)
  end
  return table.concat(options, " ")
end

-- The names of all pieces of an object, as bash is told them.
local function joined_names(object)
  return pieces.count(object) > 1 and ("%s{,.{2..%d}}"):format(object.name, pieces.count(object)) or
    object.name
end

-- From stdin to stdout, per codec.
local STOCK = {
  none = "cat",
  gzip = "gzip --decompress --stdout",
  lz4 = "lz4 -d -c",
  zstd = "zstd --decompress --stdout",
}

local READERS = {
  custom = { "pg_restore", 'pg_restore --exit-on-error --dbname="$NEWDB"' },
  tar = { "pg_restore", 'pg_restore --format=tar --exit-on-error --dbname="$NEWDB"' },
  plain = { "psql", 'psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$NEWDB"' },
  globals = { "psql", "psql --no-psqlrc --quiet --dbname=postgres" },
}

--- database.sql: the database's own properties, for psql with the variable db. The text of the
--- object; nil when there are none.
function M.properties_sql(source)
  local lines = { "-- psql --dbname=NEWDB --set=db=NEWDB --file=database.sql", "" }
  for _, statement in ipairs(database.statements(source, ':"db"', {})) do
    lines[#lines + 1] = statement.sql .. ";"
  end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- encrypted backups ----------------------------------------------------------------------------

-- The backup's own key, which reads all else; it is in no argument. (By a passphrase also when it was by
-- a key first, and the other way round: moonkeep rekey.)
local OPEN = [[
    KEY=$(age --decrypt ${IDENTITY:+--identity "$IDENTITY"} key.age)
    open() { cat "$@" | age --decrypt --identity <(printf '%s\n' "$KEY"); }
]]

local NOT_RESTORED = { proof = true, key = true }

-- Commands that go to a folder in which all objects are open, and the manifest of that folder.
local function decrypted(manifest)
  local lines, objects = { "    OPENED=$(mktemp -d)\n" }, {}
  for _, object in ipairs(manifest.objects) do
    if not NOT_RESTORED[object.role] then
      local open = merge(object, { name = envelope.plain_name(object.name) })
      open.piece_size = nil
      objects[#objects + 1] = open
      lines[#lines + 1] = ('    open %s > "$OPENED/%s"\n'):format(joined_names(object), open.name)
    end
  end
  lines[#lines + 1] = '    cd "$OPENED"\n'
  return table.concat(lines), merge(manifest, { objects = objects })
end

-- ---- directory archives ---------------------------------------------------------------------------

-- From this version on pg_restore reads files that are compressed by lz4 or zstd.
local READS_CODECS = 16

-- Many files by pattern: IN is decompressed to the name without its suffix, or to stdout.
local STOCK_MANY = {
  lz4 = "lz4 -d -m -q *.dat.lz4",
  zstd = "zstd --decompress --force --quiet *.dat.zst", -- by force it also reads links
}

-- pg_restore 17 does not take links for lists.
local JOIN = [[
    mkdir joined
    find . -maxdepth 1 -type f -exec ln -s --relative --target-directory=joined {} +
    cp --remove-destination %s joined
%s    cd joined
]]

-- Commands that go to a folder in which objects that lie in pieces are whole; "" when there are none.
local function join_commands(manifest)
  local lines, lists = {}, {}
  for _, object in ipairs(manifest.objects) do
    if pieces.count(object) > 1 then
      lines[#lines + 1] = ("    rm joined/%s\n    cat %s > joined/%s\n"):format(object.name,
        joined_names(object), object.name)
    elseif object.role == "list" or object.role == "contents" then
      lists[#lists + 1] = object.name
    end
  end
  return #lines == 0 and "" or JOIN:format(table.concat(lists, " "), table.concat(lines))
end

-- The commands that make the folder one that pg_restore reads.
local function unpack_commands(manifest, codec)
  local lines = {}
  local has_data = false
  for _, object in ipairs(manifest.objects) do
    if object.name:match "%.tar%f[%z.]" then
      lines[#lines + 1] = ("    %s < %s | tar --extract --file=-\n"):format(STOCK[codec], object.name)
    end
    has_data = has_data or object.name:match "%.dat%." ~= nil
  end
  if has_data and STOCK_MANY[codec] and manifest.needs.pg_restore < READS_CODECS then
    lines[#lines + 1] = "    " .. STOCK_MANY[codec] .. "\n"
  end
  return table.concat(lines)
end

local function directory_commands(manifest, codec)
  local before, folder
  if manifest.encryption then
    before, folder = decrypted(manifest)
  else
    before, folder = join_commands(manifest), manifest
  end
  return before .. unpack_commands(folder, codec) ..
    ('    pg_restore --format=directory --jobs=%d --exit-on-error --dbname="$NEWDB" .\n'):format(
      manifest.dump.jobs or 1)
end

-- ---- the text -------------------------------------------------------------------------------------

-- The commands from the stored data to the database's contents.
local function data_commands(manifest, codec)
  if manifest.dump.format == "directory" then
    return directory_commands(manifest, codec), "pg_restore"
  end
  local reader = READERS[manifest.kind == "globals" and "globals" or manifest.dump.format]
  local data = manifests.data_object(manifest)
  local command = ("%s < %s"):format(STOCK[codec], data.name)
  if manifest.encryption then
    command = ("open %s | %s"):format(joined_names(data), STOCK[codec])
  elseif pieces.count(data) > 1 then
    command = ("cat %s | %s"):format(joined_names(data), STOCK[codec])
  end
  return ("    %s | %s\n"):format(command, reader[2]), reader[1]
end

local function sum_command(object)
  if pieces.count(object) > 1 then
    return ('    cat %s | sha256sum --check --quiet <(echo "%s  -")\n'):format(joined_names(object),
      object.sha256)
  end
  return ('    echo "%s  %s" | sha256sum --check --quiet\n'):format(object.sha256, object.name)
end

-- What opens it.
local function of_key(manifest)
  if not manifest.encryption then
    return ""
  end
  local by_key = "IDENTITY is the file of the private key"
  local text = manifest.encryption.passphrase and
    "\nage asks for the passphrase: run the line with KEY by itself, and leave IDENTITY unset." or
    ("\n%s of one of:\n  %s"):format(by_key, table.concat(manifest.encryption.recipients or {}, "\n  "))
  return ("%s\nIf there is a file %s.key beside this folder, key.age was replaced since: it says to " ..
    "whom.\n(Then, too: %s, or unset\nwhen age is to ask for a passphrase.)%s"):format(text, manifest.id,
    by_key, manifest.dump.format == "directory" and
    "\nWhat is opened goes into a folder of its own, OPENED: remove it in the end." or "")
end

-- How its signature is checked.
local function of_signature(manifest)
  if not manifest.signed_by then
    return ""
  end
  return ("\nIts manifest, which has the checksums of all of this, is signed by the key %s; to check " ..
    "that, with the\npublic key as you have it elsewhere:\nminisign -V -P KEY -m ../%s.json -x " ..
    "manifest.minisig"):format(manifest.signed_by, manifest.id)
end

local PACKAGED = { zstd = true, lz4 = true }

local function of_packages(manifest, codec)
  local list = { PACKAGED[codec] and codec or nil }
  list[#list + 1] = manifest.encryption and "age" or nil
  if #list == 0 then
    return ""
  end
  return #list == 1 and ("; %s is in the package of that name"):format(list[1]) or
    (";\n%s are in the packages of these names"):format(table.concat(list, " and "))
end

--- The text for a manifest that is complete.
function M.make(manifest)
  local is_globals = manifest.kind == "globals"
  local sums = {}
  for _, object in ipairs(manifest.objects) do
    sums[#sums + 1] = object.role ~= "key" and sum_command(object) or nil -- which may be replaced
  end
  local codec = manifest.needs.codec
  local commands, program = data_commands(manifest, codec)
  if not is_globals then
    local is_sealed = manifest.encryption and manifest.dump.format ~= "directory"
    commands = ('    createdb --template=template0 %s "$NEWDB"\n%s' ..
      '    psql --no-psqlrc --quiet --dbname="$NEWDB" --set=db="$NEWDB" --file=%s\n')
      :format(createdb_options(manifest.source, manifest.needs.pg_restore), commands,
      is_sealed and "<(open database.sql.age)" or "database.sql")
  end
  commands = (manifest.encryption and OPEN or "") .. commands
  local what = is_globals and "the roles and tablespaces of a server" or
    ("a dump of the database %s"):format((manifest.source.database:gsub("%c", "?")))
  return HEAD:format(what, manifest.dump.program, (codec == "none" and "" or
    ", compressed by " .. codec) .. (manifest.encryption and ", encrypted by age" or ""),
    (is_globals and " psql reports roles that exist already as errors, and goes on.\nGive host, " ..
      "port and user as you usually do (PGHOST, PGPORT, PGUSER)." or
      " NEWDB is the name of the database to\ncreate; give host, port and user as you usually do " ..
      "(PGHOST, PGPORT, PGUSER).") .. of_key(manifest) .. of_signature(manifest),
    ("%s/%s/%s"):format(manifest.job, manifest.series, manifest.id), table.concat(sums), commands,
    program, manifest.needs.pg_restore,
    of_packages(manifest, codec),
    is_globals and "" or " The roles that own things in the\ndatabase must exist on the new " ..
      "server" .. (program == "pg_restore" and "; if they don't, add --no-owner " ..
      "--no-privileges to pg_restore, and\nleave database.sql out." or "."))
end

return M
