-- Makes a backup of each kind, as this version writes it, for tests/golden/backups. Only for a new kind,
-- or a new format of manifests: what is there stays as it is, for it must stay readable.
--   build/release/moonkeep --script tests/golden/backups.lua FOLDER
local mk = require "moonkeep"

local FOLDER = assert(..., "where to?")
local KINDS = {
  directory_zstd = 'compress = "zstd:1"', directory_gzip = 'compress = "gzip:6"',
  directory_lz4 = 'compress = "lz4:1"', directory_none = 'compress = "none", dump = { globals = true }',
  directory_pieces = 'compress = "zstd:1", piece_size = "2KiB"',
  custom = 'dump = { format = "custom" }', plain = 'dump = { format = "plain" }',
  tar = 'compress = "gzip:1", dump = { format = "tar" }',
}

-- What tests/e2e/golden_spec.lua expects to find.
local SCHEMA = [[
  CREATE TABLE fruit (id int PRIMARY KEY, name text NOT NULL, weight numeric, fresh boolean);
  INSERT INTO fruit SELECT i, 'fruit ' || i, i / 7.0, i % 2 = 0 FROM generate_series(1, 500) i;
  CREATE TABLE "odd ""name" (v jsonb);
  INSERT INTO "odd ""name" VALUES ('{"a": [1, null]}'), (NULL);
  CREATE VIEW heavy AS SELECT * FROM fruit WHERE weight > 50;
  SELECT lo_from_bytea(4711, '\x00ff00ff');
]]

local cluster <close> = mk.pg.scratch { major = 13 }
local dir <close> = mk.fs.tempdir()
do
  local c <close> = cluster:create_database("app"):connect()
  c:query(SCHEMA)
end
for name, keys in pairs(KINDS) do
  local recipe = ("%s/%s.lua"):format(dir.path, name)
  mk.fs.write(recipe, ([[
    local mk = require "moonkeep"
    return mk.job { name = %q, %s, verify = "decoded",
      source = mk.pg { host = %q, user = "postgres", dbname = "app" },
      upload = { mk.store("golden", "file://%s") } }]]):format(name, keys, cluster.folder, FOLDER))
  mk.process.run { argv = { "build/release/moonkeep", "run", recipe },
    env = { MOONKEEP_STATE = dir.path } }
end
