--- RESTORE.txt: the stock commands that restore a backup without moonkeep. Every backup holds one;
--- tests run the commands of each kind.
local database = require "moonkeep.pg.database"
local manifests = require "moonkeep.manifest"

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

-- The command that writes an object's content to stdout, per codec.
local STOCK = {
  none = "cat %s",
  gzip = "gzip --decompress --stdout %s",
  lz4 = "lz4 -d -c %s",
  zstd = "zstd --decompress --stdout %s",
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

-- ---- directory archives ---------------------------------------------------------------------------

-- From this version on pg_restore reads files that are compressed by lz4 or zstd.
local READS_CODECS = 16

-- Many files by pattern: IN is decompressed to the name without its suffix, or to stdout.
local STOCK_MANY = {
  lz4 = "lz4 -d -m -q *.dat.lz4",
  zstd = "zstd --decompress --quiet *.dat.zst",
}

-- The commands that make the folder one that pg_restore reads.
local function unpack_commands(manifest, codec)
  local lines = {}
  local has_data = false
  for _, object in ipairs(manifest.objects) do
    if object.name:match "%.tar%f[%z.]" then
      lines[#lines + 1] = ("    %s | tar --extract --file=-\n"):format(STOCK[codec]:format(
        object.name))
    end
    has_data = has_data or object.name:match "%.dat%." ~= nil
  end
  if has_data and STOCK_MANY[codec] and manifest.needs.pg_restore < READS_CODECS then
    lines[#lines + 1] = "    " .. STOCK_MANY[codec] .. "\n"
  end
  return table.concat(lines)
end

local function directory_commands(manifest, codec)
  return unpack_commands(manifest, codec) ..
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
  return ("    %s | %s\n"):format(STOCK[codec]:format(data.name), reader[2]), reader[1]
end

--- The text for a manifest that is complete.
function M.make(manifest)
  local is_globals = manifest.kind == "globals"
  local sums = {}
  for _, object in ipairs(manifest.objects) do
    sums[#sums + 1] = ('    echo "%s  %s" | sha256sum --check --quiet\n'):format(object.sha256,
      object.name)
  end
  local codec = manifest.needs.codec
  local commands, program = data_commands(manifest, codec)
  if not is_globals then
    commands = ('    createdb --template=template0 %s "$NEWDB"\n%s' ..
      '    psql --no-psqlrc --quiet --dbname="$NEWDB" --set=db="$NEWDB" --file=database.sql\n')
      :format(createdb_options(manifest.source, manifest.needs.pg_restore), commands)
  end
  local packaged = codec == "zstd" or codec == "lz4"
  local what = is_globals and "the roles and tablespaces of a server" or
    ("a dump of the database %s"):format((manifest.source.database:gsub("%c", "?")))
  return HEAD:format(what, manifest.dump.program, codec == "none" and "" or
    ", compressed by " .. codec,
    is_globals and " psql reports roles that exist already as errors, and goes on.\nGive host, " ..
      "port and user as you usually do (PGHOST, PGPORT, PGUSER)." or
      " NEWDB is the name of the database to\ncreate; give host, port and user as you usually do " ..
      "(PGHOST, PGPORT, PGUSER).",
    ("%s/%s/%s"):format(manifest.job, manifest.series, manifest.id), table.concat(sums), commands,
    program, manifest.needs.pg_restore,
    packaged and ("; %s is in the package of that name"):format(codec) or "",
    is_globals and "" or " The roles that own things in the\ndatabase must exist on the new " ..
      "server" .. (program == "pg_restore" and "; if they don't, add --no-owner " ..
      "--no-privileges to pg_restore, and\nleave database.sql out." or "."))
end

return M
