--- Which Debian package an extension comes in, for messages. (PGDG's packages have the same names, also
--- for other majors.)
local M = {}

-- They come with the server; elsewhere in postgresql-contrib.
local CONTRIB = {}
for name in ([[adminpack amcheck autoinc bloom btree_gin btree_gist citext cube dblink dict_int dict_xsyn
  earthdistance file_fdw fuzzystrmatch hstore insert_username intagg intarray isn lo ltree moddatetime
  old_snapshot pageinspect pg_buffercache pg_freespacemap pg_prewarm pg_stat_statements pg_surgery
  pg_trgm pg_visibility pg_walinspect pgcrypto pgrowlocks pgstattuple postgres_fdw refint seg sslinfo
  tablefunc tcn tsm_system_rows tsm_system_time unaccent uuid-ossp xml2]]):gmatch "%S+" do
  CONTRIB[name] = true
end

-- By the beginning of their names, longest first; %d: the major version.
local PACKAGES = {
  { "address_standardizer", "postgresql-%d-postgis-3" }, { "postgis", "postgresql-%d-postgis-3" },
  { "pgrouting", "postgresql-%d-pgrouting" }, { "plpgsql_check", "postgresql-%d-plpgsql-check" },
  { "plpython3u", "postgresql-plpython3-%d" }, { "plperl", "postgresql-plperl-%d" },
  { "pltcl", "postgresql-pltcl-%d" }, { "timescaledb", "timescaledb-2-postgresql-%d" },
  { "vector", "postgresql-%d-pgvector" }, { "pg_cron", "postgresql-%d-cron" },
  { "pg_partman", "postgresql-%d-partman" }, { "pg_repack", "postgresql-%d-repack" },
  { "pgaudit", "postgresql-%d-pgaudit" }, { "hypopg", "postgresql-%d-hypopg" },
  { "orafce", "postgresql-%d-orafce" }, { "hll", "postgresql-%d-hll" },
  { "ip4r", "postgresql-%d-ip4r" }, { "rum", "postgresql-%d-rum" },
  { "semver", "postgresql-%d-semver" }, { "prefix", "postgresql-%d-prefix" },
  { "pgtap", "postgresql-%d-pgtap" }, { "pglogical", "postgresql-%d-pglogical" },
  { "mysql_fdw", "postgresql-%d-mysql-fdw" }, { "tds_fdw", "postgresql-%d-tds-fdw" },
  { "ogr_fdw", "postgresql-%d-ogr-fdw" }, { "q3c", "postgresql-%d-q3c" },
  { "debversion", "postgresql-%d-debversion" }, { "tdigest", "postgresql-%d-tdigest" },
  { "periods", "postgresql-%d-periods" }, { "pointcloud", "postgresql-%d-pointcloud" },
}

--- The package, or nil.
function M.package(name, major)
  if CONTRIB[name] then
    return ("postgresql-%d, or postgresql-contrib"):format(major)
  end
  for _, known in ipairs(PACKAGES) do
    if name:sub(1, #known[1]) == known[1] then
      return known[2]:format(major)
    end
  end
end

return M
