--- What PostgreSQL's servers, client programs and poolers say, what it is called, and what to do
--- about it. The first pattern that matches counts, so the special ones stand before the general. The
--- texts are those of versions 13 to 18 with lc_messages = C; an error in another language just gets
--- no hint. %1 in a hint is what the pattern has captured. tests/lua/fault_samples.lua has a
--- message for each.
return {
  { "PG_SOCKET_MISSING", "No such file or directory%s+Is the server running locally",
    "no server listens on that socket: start it, or give the host and port of the right " ..
      "one (see: pg_lsclusters, or ss -xl | grep PGSQL)" },
  { "PG_SOCKET_DENIED", "Permission denied%s+Is the server running locally",
    "this operating-system user may not enter the socket's folder: run as a member of its " ..
      "group, or connect over TCP (host = \"localhost\")" },
  { "PG_REFUSED", "Connection refused",
    "nothing listens there: check host, port and listen_addresses, and try: pg_isready -h " ..
      "HOST -p PORT" },
  { "PG_DNS", "could not translate host name \"([^\"\n]*)\"",
    "the host name %1 does not resolve: check its spelling and this machine's DNS with: " ..
      "getent hosts %1" },
  { "PG_CONNECT_TIMEOUT", "timeout expired",
    "no answer within connect_timeout: check firewall, security group and address, then " ..
      "raise connect_timeout" },
  { "PG_CONNECT_TIMEOUT", "[CO][op][ne][nr][ea][ct]ti?on timed out",
    "the network drops the packets: check firewall, security group, address and VPN, and " ..
      "for long dumps set keepalives_idle=60" },
  { "PG_UNREACHABLE", "No route to host",
    "the network has no way to that host, or a firewall rejects it: check address, VPN and " ..
      "routes (ip route get ADDRESS)" },
  { "PG_UNREACHABLE", "Network is unreachable",
    "this machine has no network route there (often an IPv6-only name): check ip route, or " ..
      "give the IPv4 address" },
  { "PG_SERVICE_MISSING", "definition of service \"([^\"\n]*)\" not found",
    "add a section [%1] to ~/.pg_service.conf, or point PGSERVICEFILE at the file that has it" },
  { "PG_POOLER_LOGIN_FAILING", "server login has been failing",
    "PgBouncer cannot log in to PostgreSQL: fix the cached error it quotes, or back up " ..
      "over a direct connection to the server" },
  { "PG_POOLER_STARTUP_PARAMETER", "unsupported startup parameter",
    "a pooler rejects options: connect to PostgreSQL itself (port 5432), or add the " ..
      "parameter to PgBouncer's ignore_startup_parameters" },
  { "PG_POOLER_WAIT", "query_wait_timeout",
    "PgBouncer had no free server connection: back up over a direct connection, or raise " ..
      "default_pool_size or query_wait_timeout" },
  { "PG_POOLER_FULL", "no more connections allowed",
    "PgBouncer's max_client_conn is reached: back up over a direct connection, or raise it" },
  { "PG_DATABASE_MISSING", "FATAL:  no such database: (%S+)",
    "PgBouncer does not know database %1: add it to [databases] of pgbouncer.ini, or " ..
      "connect to the server directly" },
  { "PG_POOLER_PREPARED", "prepared statement \"([^\"\n]*)\" already exists",
    "a transaction-mode pooler mixes sessions: run pg_dump over a direct connection to the server" },
  { "PG_POOLER_PREPARED", "prepared statement \"([^\"\n]*)\" does not exist",
    "a transaction-mode pooler mixes sessions: run pg_dump over a direct connection to the server" },
  { "PG_SSL_ROOT_MISSING", "root certificate file \"([^\"\n]*)\" does not exist",
    "put the server's CA certificate into %1, or set sslrootcert to it (libpq 16 and " ..
      "newer: sslrootcert=system for a public CA)" },
  { "PG_SSL_ROOT_UNREADABLE", "could not read root certificate file \"([^\"\n]*)\"",
    "%1 is no readable PEM file of CA certificates: get it again from your provider" },
  { "PG_SSL_HOST_MISMATCH", "server certificate for \"([^\"\n]*)\".- does not match host name",
    "connect with the name that is in the certificate (%1), or use sslmode=verify-ca if " ..
      "you accept the risk" },
  { "PG_SSL_VERIFY", "certificate verify failed",
    "the server's certificate is not signed by the CA in sslrootcert (or has expired): " ..
      "install the current CA file of the server" },
  { "PG_SSL_KEY_MODE", "private key file \"([^\"\n]*)\" has group or world access",
    "make the key private: chmod 600 %1" },
  { "PG_SSL_UNSUPPORTED", "server does not support SSL, but SSL was required",
    "the server (or the pooler before it) has no TLS: set ssl = on there, or on a trusted " ..
      "network use sslmode=prefer" },
  { "PG_SSL_REQUIRED",
    "no pg_hba.conf entry for host \"[^\"\n]*\", user \"[^\"\n]*\", database \"[^\"\n]*\", no encryption",
    "the server accepts this login only over TLS, or not at all: set sslmode=require, else " ..
      "add a line to its pg_hba.conf" },
  { "PG_SSL_REQUIRED",
    "no pg_hba.conf entry for host \"[^\"\n]*\", user \"[^\"\n]*\", database \"[^\"\n]*\", SSL off",
    "the server accepts this login only over TLS, or not at all: set sslmode=require, else " ..
      "add a line to its pg_hba.conf" },
  { "PG_HBA", "no pg_hba.conf entry",
    "allow this user, database and address in the server's pg_hba.conf, then: SELECT " ..
      "pg_reload_conf()" },
  { "PG_HBA", "pg_hba.conf rejects ",
    "a reject line of pg_hba.conf matches first: put an allowing line for this user and " ..
      "address above it, then: SELECT pg_reload_conf()" },
  { "PG_PASSFILE_MODE", "password file \"([^\"\n]*)\" has group or world access",
    "libpq ignores a password file that others can read: chmod 600 %1" },
  { "PG_AUTH", "password authentication failed for user \"([^\"\n]*)\"",
    "wrong password for %1 (or no such role, or its password expired): fix ~/.pgpass (mode " ..
      "0600) or PGPASSWORD, or set it anew: ALTER ROLE %1 PASSWORD ..." },
  { "PG_PASSWORD_MISSING", "no password supplied",
    "the server wants a password: put it into ~/.pgpass (mode 0600), PGPASSWORD or the " ..
      "service file" },
  { "PG_PEER", "Peer authentication failed for user \"([^\"\n]*)\"",
    "run as the operating-system user %1 (sudo -u %1), or connect over TCP with a password " ..
      "(-h localhost)" },
  { "PG_AUTH", " authentication failed for user \"([^\"\n]*)\"",
    "the server's pg_hba.conf wants another kind of login for %1: see the server's log for " ..
      "the line that matched" },
  { "PG_LOGIN_ROLE_MISSING", "FATAL:  role \"([^\"\n]*)\" does not exist",
    "there is no role %1 to log in as: give user = ... or PGUSER, or create it: CREATE ROLE \"%1\" LOGIN" },
  { "PG_LOGIN_FORBIDDEN", "role \"([^\"\n]*)\" is not permitted to log in",
    "let it log in: ALTER ROLE \"%1\" LOGIN" },
  { "PG_DATABASE_MISSING", "database \"([^\"\n]*)\" does not exist",
    "there is no database %1: list them with psql -l, or create it: createdb -T template0 %1" },
  { "PG_DATABASE_CLOSED", "database \"([^\"\n]*)\" is not currently accepting connections",
    "leave %1 out, or open it: ALTER DATABASE \"%1\" ALLOW_CONNECTIONS true" },
  { "PG_DATABASE_INVALID", "cannot connect to invalid database \"([^\"\n]*)\"",
    "an interrupted DROP DATABASE left it: finish with DROP DATABASE \"%1\", and exclude it " ..
      "from backups" },
  { "PG_CONNECTIONS_RESERVED", "remaining connection slots are reserved",
    "only reserved connections are left: close idle sessions, raise max_connections, or " ..
      "from version 16 on GRANT pg_use_reserved_connections TO the backup role" },
  { "PG_CONNECTIONS_EXHAUSTED", "sorry, too many clients already",
    "no connection is free: wait, lower the number of jobs, or raise max_connections" },
  { "PG_CONNECTION_LIMIT", "too many connections for (%l+ \"[^\"\n]*\")",
    "the connection limit of %1 is reached: lower the number of jobs, or raise it: ALTER " ..
      "... CONNECTION LIMIT n" },
  { "PG_STARTING", "the database system is starting up",
    "the server is starting: try again in a moment (pg_isready tells when)" },
  { "PG_STARTING", "the database system is not yet accepting connections",
    "the standby has not reached a consistent state yet: wait until it has replayed enough WAL" },
  { "PG_STANDBY_CLOSED", "the database system is not accepting connections",
    "this standby has hot_standby = off: set it to on, or back up from the primary" },
  { "PG_SHUTTING_DOWN", "the database system is shutting down",
    "the server is stopping: run the backup again after its restart" },
  { "PG_CRASHED", "the database system is in recovery mode",
    "the server has crashed and is recovering: look into its log for the cause, then run " ..
      "the backup again" },
  { "PG_CRASHED", "terminating connection because of crash of another server process",
    "a server process crashed (often the OOM killer: dmesg | grep -i oom): read the " ..
      "server's log, then run the backup again" },
  { "PG_LOCK_TIMEOUT",
    "canceling statement due to statement timeout.-Query was: LOCK TABLE ([^\n]-) IN ",
    "another session holds a lock on %1: see pg_blocking_pids, run at a quieter hour, or " ..
      "raise dump.lock_timeout" },
  { "PG_LOCK_TIMEOUT", "canceling statement due to statement timeout.-[Qq]uery was: LOCK TABLE",
    "another session holds a lock on a table: run at a quieter hour, or raise dump.lock_timeout" },
  { "PG_LOCK_TIMEOUT", "canceling statement due to lock timeout",
    "another session holds the lock: find it with SELECT pid, pg_blocking_pids(pid) FROM " ..
      "pg_stat_activity, and try again when it is gone" },
  { "PG_STATEMENT_TIMEOUT", "canceling statement due to statement timeout",
    "statement_timeout is too short: for restores set PGOPTIONS='-c statement_timeout=0', " ..
      "or ALTER ROLE ... SET statement_timeout = 0" },
  { "PG_CANCELED", "canceling statement due to user request",
    "somebody cancelled the query (pg_cancel_backend or Ctrl-C): run it again" },
  { "PG_RECOVERY_CONFLICT", "due to conflict with recovery",
    "the standby's replay cancelled the dump: set max_standby_streaming_delay = -1 or " ..
      "hot_standby_feedback = on there, pause with pg_wal_replay_pause(), or dump from the " ..
      "primary" },
  { "PG_STANDBY_SERIALIZABLE", "cannot use serializable mode in a hot standby",
    "leave serializable_deferrable out, or dump from the primary" },
  { "PG_DEADLOCK", "deadlock detected",
    "two sessions waited for each other: run again, with fewer jobs or while no migration runs" },
  { "PG_IDLE_TIMEOUT", "terminating connection due to idle%-in%-transaction timeout",
    "the server ends idle transactions: ALTER ROLE backup_role SET " ..
      "idle_in_transaction_session_timeout = 0" },
  { "PG_IDLE_TIMEOUT", "terminating connection due to idle%-session timeout",
    "the server ends idle sessions: ALTER ROLE backup_role SET idle_session_timeout = 0" },
  { "PG_TRANSACTION_TIMEOUT", "terminating connection due to transaction timeout",
    "the dump outlasts transaction_timeout: ALTER ROLE backup_role SET transaction_timeout " ..
      "= 0, and use pg_dump 17 or newer, which turns it off" },
  { "PG_TERMINATED", "terminating connection due to administrator command",
    "somebody ended the session (pg_terminate_backend, or a server restart or failover): " ..
      "run it again" },
  { "PG_TERMINATED", "terminating connection due to immediate shutdown command",
    "the server was stopped at once: run the backup again after its restart" },
  { "PG_VERSION_MISMATCH", "server version mismatch%s.-server version: (%d+)",
    "the server is newer than the client: install the client programs of version %1 (apt " ..
      "install postgresql-client-%1) and use those" },
  { "PG_VERSION_MISMATCH", "aborting because of server version mismatch",
    "use client programs of the server's major version (a newer pg_dump reads older " ..
      "servers, not the reverse)" },
  { "PG_ARCHIVE_VERSION", "unsupported version %((%d+%.%d+)%) in file header",
    "a newer pg_dump wrote this archive (format %1): 1.15 needs pg_restore 16, 1.16 needs 17" },
  { "PG_DUMP_TOO_NEW", "unrecognized configuration parameter \"(transaction_timeout)\"",
    "the dump (or pg_restore) is of version 17 or newer, the server older: harmless if it " ..
      "is the only error, else use the server's own major version" },
  { "PG_DUMP_TOO_NEW", "unrecognized configuration parameter \"([^\"\n]*)\"",
    "this server does not know %1: it is older than the dump, or lacks an extension that " ..
      "the dump's server loads" },
  { "PG_RESTRICT_UNKNOWN", "invalid command \\restrict",
    "this psql is older than the pg_dump: update it to 13.22, 14.19, 15.14, 16.10, 17.6 or newer" },
  { "PG_RESTRICT_UNKNOWN", "invalid command \\unrestrict",
    "this psql is older than the pg_dump: update psql to its latest minor version" },
  { "PG_RESTRICTED", "backslash commands are restricted",
    "the dump has a psql command where none may be: it was edited, joined or tampered " ..
      "with; make a fresh dump, and don't run this one" },
  { "PG_RESTRICTED", "\\unrestrict: not currently in restricted mode",
    "the dump's \\restrict line is missing or was used twice: the file is cut or joined, " ..
      "make a fresh dump" },
  { "PG_ARCHIVE_INVALID", "does not appear to be a valid",
    "not a pg_dump archive: check the file with: file FILE (decompress or decrypt it " ..
      "first; an error page or log may have been saved instead)" },
  { "PG_ARCHIVE_INVALID", "did not find magic string in file header",
    "not a pg_dump archive: check the file with: file FILE" },
  { "PG_ARCHIVE_TRUNCATED", "input file is too short %(read (%d+), expected 5%)",
    "the file is empty or nearly (%1 bytes): the dump failed when it was made; take " ..
      "another backup" },
  { "PG_ARCHIVE_TRUNCATED", "could not read from input file: end of file",
    "the archive is cut short: moonkeep verify shows which stores have a whole one" },
  { "PG_ARCHIVE_UNSEEKABLE",
    "could not find block ID %d+ in archive %-%- possibly due to out%-of%-order",
    "this selection cannot be read from a stream: back up with compress = \"none\"" },
  { "PG_ARCHIVE_CORRUPT", "could not find block ID %d+ in archive",
    "the archive is damaged: moonkeep verify shows which stores have a whole one" },
  { "PG_ARCHIVE_CORRUPT", "could not uncompress data: ([^\n]+)",
    "the archive's data is damaged (%1): moonkeep verify shows which stores have a whole one" },
  { "PG_ARCHIVE_CORRUPT", "corrupt tar header found",
    "the tar archive is damaged: moonkeep verify shows which stores have a whole one" },
  { "PG_ARCHIVE_CORRUPT", "perhaps a corrupt TOC",
    "the archive's table of contents is damaged: restore another backup" },
  { "PG_ARCHIVE_COMPRESSION", "this build does not support compression",
    "this client was built without that compression: use the distribution's client, or " ..
      "another compress method" },
  { "PG_GLOBALS_DENIED", "permission denied for [%l ]+ pg_authid",
    "only superusers read password hashes (never on managed services): write globals = true" },
  { "PG_MANAGED_DENIED", "permission denied for function pg_control_system",
    "this service keeps the system identifier to itself: GRANT pg_monitor or EXECUTE ON " ..
      "FUNCTION pg_control_system() if you can, else go on without it" },
  { "PG_FUNCTION_DENIED", "permission denied for function (%S+)",
    "GRANT EXECUTE ON FUNCTION %1 TO the backup role (pg_backup_start and pg_switch_wal " ..
      "need it, or a superuser)" },
  { "PG_LARGE_OBJECT_DENIED", "permission denied for large object (%d+)",
    "pg_read_all_data does not cover large objects: GRANT SELECT ON LARGE OBJECT %1 TO the " ..
      "role, dump as owner, or leave them out: large_objects = false" },
  { "PG_CONNECT_DENIED", "FATAL:  permission denied for database \"([^\"\n]*)\"",
    "let the role in: GRANT CONNECT ON DATABASE \"%1\" TO ..." },
  { "PG_DATABASE_DENIED", "permission denied for database (%S+)",
    "to create schemas there: GRANT CREATE ON DATABASE %1 TO the restoring role, or " ..
      "restore as the owner" },
  { "PG_SCHEMA_DENIED", "permission denied for schema (%S+)",
    "to read: GRANT pg_read_all_data TO the backup role (14 and newer; else GRANT USAGE ON " ..
      "SCHEMA %1); to restore since 15: GRANT CREATE ON SCHEMA %1 TO the role" },
  { "PG_SEQUENCE_DENIED", "permission denied for sequence (%S+)",
    "GRANT SELECT ON SEQUENCE %1 TO the backup role, or pg_read_all_data (14 and newer)" },
  { "PG_PERMISSION", "permission denied for (%l[%l ]- %S+)",
    "no right on %1: GRANT pg_read_all_data TO the backup role (14 and newer), else GRANT " ..
      "SELECT ON ALL TABLES IN SCHEMA ... TO it" },
  { "PG_EXTENSION_DENIED", "permission denied to create extension \"([^\"\n]*)\"",
    "create it as superuser before restoring: CREATE EXTENSION \"%1\"; managed services list " ..
      "those they allow" },
  { "PG_PARAMETER_DENIED", "permission denied to set parameter \"([^\"\n]*)\"",
    "only a superuser may set %1 (from 15 on: GRANT SET ON PARAMETER %1 TO the role)" },
  { "PG_PRIVILEGE", "permission denied to ([%l ]+)",
    "the role may not %1: restore as a role that may (a superuser, or the service's admin role)" },
  { "PG_TRIGGER_DENIED", "permission denied: \"([^\"\n]*)\" is a system trigger",
    "disable_triggers needs a superuser: restore schema and data together, or as superuser" },
  { "PG_OWNER", "must be owner of ([^\n]+)",
    "the restoring role does not own %1: restore as the owner or a superuser" },
  { "PG_SET_ROLE", "must be %l[%l ]- role \"([^\"\n]*)\"",
    "to give objects to %1 the restoring role must be its member: GRANT \"%1\" TO it, or " ..
      "restore with no_owner = true" },
  { "PG_SET_ROLE", "must be able to SET ROLE \"([^\"\n]*)\"",
    "to give objects to %1: GRANT \"%1\" TO the restoring role WITH SET TRUE, or restore " ..
      "with no_owner = true" },
  { "PG_SUPERUSER", "must be superuser[^\n]*",
    "restore this part as superuser, or leave it out: no_owner = true, no_privileges = true" },
  { "PG_RLS", "query would be affected by row%-level security policy for table \"([^\"\n]*)\"",
    "the backup role sees %1 through a policy, so the dump would be incomplete: ALTER ROLE " ..
      "backup_role BYPASSRLS" },
  { "PG_TIMESCALEDB_LOADED",
    "extension \"timescaledb\" has already been loaded with another version",
    "create it first, in a new session: psql -X -c 'CREATE EXTENSION timescaledb VERSION " ..
      "...' with the version of the dump's server, then restore" },
  { "PG_EXTENSION_MISSING", "extension \"([^\"\n]*)\" is not available",
    "install the package of %1 on the database server (SELECT * FROM " ..
      "pg_available_extensions), then restore again" },
  { "PG_EXTENSION_MISSING",
    "could not open extension control file \"[^\"\n]-([^\"/\n]+)%.control\"",
    "install the package of extension %1 on the database server, then restore again" },
  { "PG_EXTENSION_VERSION", "extension \"([^\"\n]*)\" has no installation script nor update path",
    "this server has another version of %1: SELECT * FROM pg_available_extension_versions " ..
      "WHERE name = '%1', and install the one of the dump's server" },
  { "PG_LIBRARY_MISSING", "could not access file \"([^\"\n]*)\"",
    "the server lacks the library %1: install the package of its extension (some also need " ..
      "shared_preload_libraries)" },
  { "PG_TYPE_MISSING", "type \"([^\"\n]*)\" does not exist",
    "an extension or an earlier object of the dump is missing (geometry: postgis, citext, " ..
      "hstore, vector, ...): look at the first error" },
  { "PG_TABLESPACE_MISSING", "tablespace \"([^\"\n]*)\" does not exist",
    "create tablespace %1 first, or restore with no_tablespaces = true" },
  { "PG_TABLESPACE_MISSING", "invalid value for parameter \"default_tablespace\": \"([^\"\n]*)\"",
    "create tablespace %1 first, or restore with no_tablespaces = true" },
  { "PG_LOCALE_MISSING", "invalid [%w_ ]-locale name: \"([^\"\n]*)\"",
    "the server's system lacks locale %1: generate it there (locale-gen %1) and restart " ..
      "PostgreSQL" },
  { "PG_LOCALE_MISSING", "could not create locale \"([^\"\n]*)\"",
    "the server's system lacks locale %1: generate it there (locale-gen %1) and restart " ..
      "PostgreSQL" },
  { "PG_COLLATION_MISSING", "collation \"([^\"\n]*)\" for encoding \"[^\"\n]*\" does not exist",
    "generate the locale on the server, then: SELECT " ..
      "pg_import_system_collations('pg_catalog'), or create collation %1 by hand" },
  { "PG_COLLATION_VERSION", "database \"([^\"\n]*)\" has a collation version mismatch",
    "the system's C library changed: REINDEX DATABASE \"%1\", then ALTER DATABASE \"%1\" " ..
      "REFRESH COLLATION VERSION" },
  { "PG_ENCODING_MISMATCH", "encoding \"([^\"\n]*)\" does not match locale \"([^\"\n]*)\"",
    "give a locale of encoding %1" },
  { "PG_ENCODING_BYTES", "invalid byte sequence for encoding \"([^\"\n]*)\"",
    "the data is not %1: restore into a database of the dump's encoding, or set " ..
      "PGCLIENTENCODING to it (never convert the file by hand)" },
  { "PG_ENCODING_UNTRANSLATABLE",
    "in encoding \"[^\"\n]*\" has no equivalent in encoding \"([^\"\n]*)\"",
    "%1 lacks that character: use UTF8 for client and database (pg_dump -E UTF8, createdb " ..
      "-E UTF8)" },
  { "PG_SERVER_DISK_FULL", "could not %l+ [^\n]-file \"[^\n]-: No space left on device",
    "the database server's disk is full: free space there (df -h in its data folder; look " ..
      "at pg_wal and unused replication slots)" },
  { "PG_SERVER_DISK_FULL", "could not extend file \"[^\n]-: wrote only %d+ of %d+ bytes",
    "the database server's disk is full: free space there (df -h in its data folder; look " ..
      "at pg_wal and unused replication slots)" },
  { "DISK_FULL", "No space left on device",
    "the disk of the backup is full: free space there (df -h; moonkeep prune removes what `keep` " ..
      "does not want), or store the backup elsewhere" },
  { "DISK_QUOTA", "Disk quota exceeded",
    "the quota of this user or folder is used up: free space, or raise it" },
  { "DISK_READ_ONLY", "Read%-only file system",
    "the target is mounted read-only: mount it writable (and look into dmesg for disk errors)" },
  { "DISK_IO", "Input/output error",
    "the disk has read or write errors: look into dmesg and smartctl before anything else" },
  { "PG_TEMP_FILE_LIMIT", "temporary file size exceeds",
    "raise it for the restore: PGOPTIONS='-c temp_file_limit=-1' (superuser), or give more " ..
      "maintenance_work_mem" },
  { "PG_LOCK_TABLE_FULL", "out of shared memory",
    "pg_dump locks every table: raise max_locks_per_transaction (for 20000 tables: 256) " ..
      "and restart" },
  { "PG_ROW_TOO_LARGE", "invalid memory alloc request size (%d+)",
    "a row is over 1 GB as text, or data is corrupt: dump that table in binary form (COPY " ..
      "... WITH BINARY), or find the row by halving" },
  { "PG_CORRUPT_PAGE", "invalid pages? %l+ blocks? %d+",
    "a table or index is damaged on disk: stop, copy the data folder, check the disk, and " ..
      "restore from the last good backup (pg_amcheck shows how much is hit)" },
  { "PG_CORRUPT_TOAST", "missing chunk number %d+ for toast value (%d+)",
    "a large value is lost (toast value %1): REINDEX its TOAST table first, then find and " ..
      "repair the row, or restore the last good backup" },
  { "PG_CORRUPT_TOAST", "unexpected chunk %l+ %d+ %b() .-for toast value (%d+)",
    "a large value is damaged (toast value %1): REINDEX its TOAST table first, then find " ..
      "and repair the row, or restore the last good backup" },
  { "PG_CORRUPT_DATA", "compressed [%l%d]- ?data is corrupt",
    "a compressed value is damaged: find the row by reading in halves, repair it, or " ..
      "restore the last good backup" },
  { "PG_CORRUPT_FILE", "could not read blocks? [%d%.]+ in file \"([^\"\n]*)\"",
    "file %1 of the server is short or unreadable: check the disk (dmesg), copy the data " ..
      "folder, restore the last good backup" },
  { "PG_STANDBY", "server is in hot standby mode",
    "a standby answered where the primary was asked for: give the primary's host, or " ..
      "several with target_session_attrs=primary" },
  { "PG_STANDBY", "session is read%-only",
    "only read-only servers answered: give the primary's host " ..
      "(target_session_attrs=read-write looks for it)" },
  { "PG_STANDBY", "recovery is in progress",
    "that works on the primary only: connect to the primary" },
  { "PG_READ_ONLY", "cannot execute ([%u ]+) in a read%-only transaction",
    "this is a standby or a read-only database: use the primary, or ALTER DATABASE ... " ..
      "RESET default_transaction_read_only" },
  { "PG_READ_ONLY", "cannot execute ([%u ]+) during recovery",
    "this is a standby: connect to the primary" },
  { "PG_TEMPLATE_BUSY", "source database \"([^\"\n]*)\" is being accessed by other users",
    "someone is connected to %1: create from the other template: createdb -T template0" },
  { "PG_DATABASE_BUSY", "database \"([^\"\n]*)\" is being accessed by other users",
    "stop the applications that use %1, or end their sessions: dropdb --force %1" },
  { "PG_DATABASE_EXISTS", "database \"([^\"\n]*)\" already exists",
    "%1 is there: restore under another name, or replace it on purpose: existing = \"replace\"" },
  { "PG_ROLE_EXISTS", "role \"([^\"\n]*)\" already exists",
    "harmless when globals are restored over existing roles; %1 keeps what it has until " ..
      "the ALTER ROLE that follows" },
  { "PG_SCHEMA_EXISTS", "schema \"([^\"\n]*)\" already exists",
    "the target is not empty (%1): restore into a new database, or with existing = \"clean\"" },
  { "PG_RELATION_EXISTS", "relation \"([^\"\n]*)\" already exists",
    "the target is not empty (%1): restore into a new database, or with existing = \"clean\"" },
  { "PG_LARGE_OBJECT_EXISTS", "unique constraint \"pg_largeobject_metadata_oid_index\"",
    "the target has a large object of that number: restore into a new database, or with " ..
      "existing = \"clean\"" },
  { "PG_DUPLICATE_KEY", "duplicate key value violates unique constraint \"([^\"\n]*)\"",
    "the rows are there already: restore with data_only and truncate = true, or into a new " ..
      "database; if it is empty, the source's unique index %1 is wrong: REINDEX there" },
  { "PG_FOREIGN_KEY", "violates foreign key constraint \"([^\"\n]*)\"",
    "rows refer to others that are not there, or not yet (%1): restore those, too; or where " ..
      "tables refer to each other, with foreign_keys = \"after\"" },
  { "PG_TRUNCATE_REFERENCED", "cannot truncate a table referenced in a foreign key constraint",
    "restore the tables that refer to it, too, or with foreign_keys = \"after\", which drops the " ..
      "foreign keys first and makes them again when all rows are there" },
  { "PG_DEPENDENTS", "because other objects depend on it",
    "objects outside the backup depend on it: restore into a new database, or drop them " ..
      "first with DROP ... CASCADE" },
  { "PG_LARGE_OBJECT_MISSING", "large object (%d+) does not exist",
    "large object %1 was removed meanwhile: find dangling references with vacuumlo -n" },
  { "PG_ROLE_MISSING", "role \"([^\"\n]*)\" does not exist",
    "restore with globals = true, or CREATE ROLE \"%1\", or restore with no_owner = true, " ..
      "no_privileges = true" },
  { "PG_SCHEMA_MISSING", "schema \"([^\"\n]*)\" does not exist",
    "CREATE SCHEMA \"%1\" first; a part of an archive does not make it" },
  { "PG_RELATION_MISSING", "relation \"([^\"\n]*)\" does not exist",
    "%1 was not restored: look at the first error, or restore with dependencies = true" },
  { "PG_NO_TABLES", "no matching tables were found",
    "no table fits the pattern: names are schema.table, quote upper case ('\"MyTable\"')" },
  { "PG_NO_SCHEMAS", "no matching schemas were found",
    "no schema fits the pattern: quote upper case, and see the list with: psql -c '\\dn'" },
  { "PG_NO_EXTENSIONS", "no matching extensions were found",
    "no extension fits the pattern: see the list with: psql -c '\\dx'" },
  { "PG_CIRCULAR_KEYS", "there are circular foreign%-key constraints",
    "a data-only dump of these tables needs a superuser and disable_triggers = true to " ..
      "restore: make a full dump instead" },
  { "PG_COPY_DESYNC", "invalid command \\[N%.]",
    "an earlier COPY failed and its rows were read as commands: run psql -X -v " ..
      "ON_ERROR_STOP=1 and look at the first error" },
  { "PG_CONNECTION_LOST", "SSL SYSCALL error: EOF detected",
    "the server, a pooler or a firewall cut the connection: look into the server's log, " ..
      "and set keepalives_idle=60" },
  { "PG_CONNECTION_LOST", "SSL connection has been closed unexpectedly",
    "the server, a pooler or a firewall cut the connection: look into the server's log, " ..
      "and set keepalives_idle=60" },
  { "PG_CONNECTION_LOST", "Connection reset by peer",
    "the other side dropped the connection (restart, failover, proxy or firewall): look " ..
      "into the server's log, and set keepalives_idle=60" },
  { "PG_CONNECTION_LOST", "Broken pipe",
    "the next program or the server went away first: look for its own error above" },
  { "PG_CONNECTION_LOST", "server closed the connection unexpectedly",
    "the server, or a proxy before it, went away: look into the server's log for a crash, " ..
      "a restart or the OOM killer" },
  { "PG_RESTORE_ERRORS", "errors ignored on restore: (%d+)",
    "%1 statements failed, so what was restored is incomplete: look at the first error" },
}
