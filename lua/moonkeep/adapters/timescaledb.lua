--- TimescaleDB: while a database is restored its background workers must rest, and its catalog must be
--- taken as it comes: timescaledb_pre_restore() and timescaledb_post_restore(). A dump goes only into
--- the version that it was made with.
--- Source: https://docs.timescale.com/self-hosted/latest/backup-and-restore/logical-backup/
return {
  same_version = true,
  settings = { shared_preload_libraries = "timescaledb" },
  before = function(connection, schema)
    connection:query(("SELECT %s.timescaledb_pre_restore()"):format(schema))
  end,
  after = function(connection, schema)
    connection:query(("SELECT %s.timescaledb_post_restore()"):format(schema))
  end,
}
