-- Makes a backup of each kind, as this version writes it, for tests/golden/backups. Only for a new kind,
-- or a new format of manifests: what is there stays as it is, for it must stay readable.
--   build/release/moonkeep --script tests/golden/backups.lua FOLDER
-- (on a host that is called golden: unshare -u sh -c "hostname golden; ...")
local mk = require "moonkeep"

local FOLDER = assert(..., "where to?")
-- Keys that open nothing else: tests/golden/keys.
local RECIPIENT = mk.fs.read "tests/golden/keys/identity.txt":match "public key: (%S+)"
local KINDS = {
  directory_zstd = 'compress = "zstd:1"', directory_gzip = 'compress = "gzip:6"',
  directory_lz4 = 'compress = "lz4:1"', directory_none = 'compress = "none", dump = { globals = true }',
  directory_pieces = 'compress = "zstd:1", piece_size = "2KiB"',
  encrypted_directory = ('encrypt = { recipients = %q }'):format(RECIPIENT),
  encrypted_pieces = ('encrypt = { recipients = %q }, compress = "none", piece_size = "2KiB"'):format(
    RECIPIENT),
  encrypted_custom = ('encrypt = { recipients = %q }, dump = { format = "custom" }'):format(RECIPIENT),
  encrypted_passphrase = 'encrypt = { passphrase = mk.secret.env "MOONKEEP_PASSPHRASE" }',
  signed = ('sign = mk.secret.file %q'):format("tests/golden/keys/sign.key"),
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
    env = { MOONKEEP_STATE = dir.path, MOONKEEP_IDENTITY = "tests/golden/keys/identity.txt",
      MOONKEEP_PASSPHRASE = "correct horse battery staple" } }
end
