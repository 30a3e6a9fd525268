--- Every table that a recipe writes: its keys, their types, what they mean. This is the one place:
--- moonkeep.spec checks recipes by it, and the reference, the types for editors and `init`'s
--- recipe are made from it (moonkeep.docs).
---
--- A key is { name, type, doc }, with, where they apply: required, default (as shown), one_of, of
--- (the type of a list's items), keys (the table of its own keys), min, max, since (the first major
--- version of pg_dump or pg_restore that has the option).
local M = {}

local LEVELS = { "stored", "read", "decoded", "restored" }
local SECTIONS = "`pre-data`, `data`, `post-data`"

-- What says how a backup is made: keys of mk.job and of ctx:backup.
local BACKUP = {
  { "source", "source", "what to back up" },
  { "databases", "databases", "several databases of that server, each a series of its own: " ..
    "names, patterns with `*` and `?`, or `\"all\"` that allow connections" },
  { "exclude_databases", "strings", "names or patterns that `databases` leaves out" },
  { "dump", "table", "what the dump holds, and how it is made", keys = "dump" },
  { "compress", "codec", "`\"none\"`, `\"gzip:1\"` to `\"gzip:9\"`, `\"lz4:1\"` to `\"lz4:12\"`, " ..
    "`\"zstd:1\"` to `\"zstd:19\"`; without a level: gzip 6, the others 1; levels of zstd above 9 " ..
    "need 135 to 220 MiB of memory", default = '"zstd:1"' },
  { "upload", "stores", "every one of them gets the backup, in one pass" },
  { "encrypt", "encrypt", "every object is sealed, and only who has a private key (or the " ..
    "passphrase) can read it; this host needs public keys only", keys = "encrypt" },
  { "piece_size", "size", "no stored file is larger: what is lies in pieces, `NAME`, `NAME.2`, " ..
    "`NAME.3` ..., which joined are the whole; above 16MiB it is rounded down to a multiple of that",
    default = '"15GiB"' },
  { "copies", "table", "how many of them must have it: fewer, and the run is degraded (exit code 3)",
    keys = "copies" },
  { "verify", "string", "what is proved at once: `read` reads every stored byte again; `decoded` " ..
    "also decompresses it, and compares the rows of every table with those that were dumped; " ..
    "`restored` restores it into a PostgreSQL of its own on this host, and compares that",
    one_of = LEVELS, default = '"read"' },
}

local function with(first, more)
  local all = table.move(first, 1, #first, 1, {})
  return table.move(more, 1, #more, #all + 1, all)
end

M.job = { title = "mk.job", doc = "A job: what is backed up, when, where to, and how it is proved.",
  keys = with({
    { "name", "name", "names the job's folder in every store", required = true },
    { "description", "string", "one sentence, shown by `check` and `plan`" },
  }, with(BACKUP, {
    { "schedule", "table", "when; for `next`, `status`, `export cron` and `export systemd`",
      keys = "schedule" },
    { "deadline", "duration", "the supervisor stops the run after this long" },
    { "retry", "table", "what to do when a run fails", keys = "retry" },
    { "overlap", "string", "when the job is still running: `skip` this run (exit code 4), or " ..
      "`queue` behind it", one_of = { "skip", "queue" }, default = '"skip"' },
    { "fresh", "duration", "the age from which the last good backup is stale: `status` then exits " ..
      "with 5. A backup is as old as what is in it: its age counts from when its dump began" },
    { "keep", "keep", "what stays when older backups expire, after every run that went well, and by " ..
      "`moonkeep prune`: rules, or a function(backup, all) that returns why one stays, or nil. " ..
      "Without it nothing ever expires", keys = "keep" },
    { "unusual", "table", "from where on a backup is unusual, beside the median of the last 7",
      keys = "unusual" },
    { "sign", "secret", "the file of a secret key: every manifest gets a signature in minisign's " ..
      "format. `moonkeep keygen --sign` makes one" },
    { "trust", "public_keys", "public keys, `RW...`: only backups that one of them has signed are " ..
      "listed, verified, copied or restored" },
    { "was", "strings", "names that the job had before: the backups there are also its own" },
    { "notify", "table", "whom to tell of what becomes of a run", keys = "notify" },
    { "tags", "tags", "texts by name, kept in the manifest" },
    { "args", "args", "typed arguments, given with `--set name=value`" },
    { "before", "function", "before(ctx): runs first; an error ends the run" },
    { "run", "function", "run(ctx, args): instead of `ctx:backup()`; the other keys stay its " ..
      "defaults" },
    { "after", "function", "after(ctx, err): runs last, also after a failure (`err`), also when " ..
      "the run was stopped" },
  })) }

M.encrypt = { title = "encrypt", doc = "Encryption in the format of " ..
  "[age](https://age-encryption.org): stock `age` opens what is in a store. `recipients` or " ..
  "`passphrase`, one of them. See [Encryption and signatures](../guide/encryption.md).",
  keys = {
    { "recipients", "recipients", "public keys, `age1...`: any one of their private keys opens a " ..
      "backup. Have two, kept in two places" },
    { "passphrase", "secret", "instead of keys" },
    { "identity", "secrets", "the file of a private key, on hosts that are to verify, or restore, " ..
      "what is in the backups; hosts that only make them are better without" },
    { "escrow", "escrow", "runs and `status` warn until a private key has opened a backup within " ..
      "this time, by a `verify` as `decoded` or a restore, on whatever host; `false`: never",
      default = '"90d"' },
  } }

M.notify = { title = "notify",
  doc = "Whom to tell of what: a notifier of `mk.notify`, or a list of them. One that several keys " ..
    "name is told once. Nothing that happens to a message changes the outcome of a run.",
  keys = {
    { "problem", "notifiers", "of all that is not well: `failure`, `degraded`, `skipped`, `stale`, " ..
      "`size`" },
    { "failure", "notifiers", "a run failed, was killed, or its recipe does not load" },
    { "degraded", "notifiers", "there are fewer copies than there should be" },
    { "skipped", "notifiers", "a run did not begin, because the job was still running" },
    { "stale", "notifiers", "`moonkeep status --notify` has found that the last good backup is too " ..
      "old" },
    { "size", "notifiers", "a backup is smaller than half of what is usual (the median of the last " ..
      "7), or larger than twice that; or as `unusual` says" },
    { "recovered", "notifiers", "a run went well, and the one before it did not" },
    { "success", "notifiers", "a run went well" },
    { "start", "notifiers", "a run has begun" },
    { "always", "notifiers", "all of it, also each start: for `mk.notify.healthchecks`" },
  } }

-- What every service takes beside its own options.
local NOTIFIER = {
  { "template", "function", "template(event): returns the text, or `{ title, text }`, or any other " ..
    "table, which is sent as it is; see [events](events.md#what-templates-get)" },
  { "again", "duration", "the same problem is not told again before", default = '"4h"' },
  { "timeout", "duration", "how long one try may take, at most a minute", default = '"45s"' },
}
for _, service in ipairs(require "moonkeep.notify.services") do
  M["notify_" .. service.name] = { title = "mk.notify." .. service.name, doc = service.doc,
    keys = with(service.keys, NOTIFIER) }
end

local function count(name, doc)
  return { name, "integer", doc, min = 1, max = 100000 }
end

M.keep = { title = "keep",
  doc = "Which backups of a series (a database) stay, in each store by itself. What one rule wants " ..
    "stays; weeks begin on Monday, and days are those of the schedule's time zone. Only backups that " ..
    "are proved count (`proof`), and those that are held, or needed by others, stay. See [Keeping " ..
    "backups](../guide/keep.md).",
  keys = {
    count("last", "so many of the newest"),
    { "within", "duration", "those that are at most so much older than the newest, such as " ..
      "`\"36h\"`" },
    count("hourly", "the newest of each of the last so many hours that have any"),
    count("daily", "the same by day"),
    count("weekly", "the same by week"),
    count("monthly", "the same by month"),
    count("yearly", "the same by year"),
    { "tags", "strings", "those that have one of these tags: `name`, or `name=value`" },
    { "floor", "integer", "so many of the newest that count stay in any case", min = 1, max = 100000,
      default = "3" },
    { "proof", "string", "the proof from which on a backup counts", one_of = LEVELS,
      default = "`read` in a folder, `stored` in a bucket" },
  } }

M.unusual = { title = "unusual", doc = "What `notify` (its `size`) and `moonkeep history` take for " ..
    "unusual, in percent of the median of the last 7 backups.",
  keys = {
    { "below", "integer", "a size below this", min = 0, max = 100, default = "50" },
    { "above", "integer", "a size above this", min = 100, max = 1000000, default = "200" },
    { "slower", "integer", "a duration above this", min = 100, max = 1000000, default = "none" },
  } }

M.backup = { title = "ctx:backup", doc = "Overrides of the job's keys for one backup.",
  keys = BACKUP }

M.copies = { title = "copies", doc = "How many stores must have a backup in the end. One that fails, " ..
    "or falls behind, gets its copy from another one when the dump is over; a run that ends with " ..
    "fewer copies is `degraded`, and exits with 3. Without any, it has failed.",
  keys = {
    { "min", "integer", "so many stores", min = 1, max = 64, default = "all of `upload`" },
    { "offsite", "integer", "so many of those that have `offsite = true`", min = 0, max = 64,
      default = "0" },
  } }

M.verify = { title = "mk.verify", doc = "A job that proves the backups of other jobs again, in every " ..
    "store: those first that have not been for the longest. What is damaged fails the run, and is told.",
  keys = {
    { "name", "name", "the name to run it by", required = true },
    { "description", "string", "one sentence, shown by `check` and `plan`" },
    { "jobs", "jobs", "whose backups", required = true },
    { "levels", "levels", "what to prove, one after the other", one_of = LEVELS, default = '"read"' },
    { "sample", "sample", "how much at most in one run, of each level: `\"10%\"` of all bytes, " ..
      "`\"50GiB\"`, or a number of copies", default = "all" },
    { "again", "duration", "only what has not been proved so for this long" },
    { "repair", "boolean", "replace a damaged copy by one of another store that is whole" },
    { "schedule", "table", "when", keys = "schedule" },
    { "deadline", "duration", "the supervisor stops the run after this long" },
    { "retry", "table", "what to do when a run fails", keys = "retry" },
    { "overlap", "string", "when it is still running", one_of = { "skip", "queue" },
      default = '"skip"' },
    { "fresh", "duration", "the age from which its last good run is stale" },
    { "notify", "table", "whom to tell of what becomes of a run", keys = "notify" },
  } }

M.task = { title = "mk.task", doc = "A task: something that is run by hand, with arguments.",
  keys = {
    { "name", "name", "the name to run it by", required = true },
    { "description", "string", "one sentence, shown by `check` and `plan`" },
    { "args", "args", "its arguments by name, given with `--set name=value`" },
    { "deadline", "duration", "the supervisor stops the run after this long" },
    { "run", "function", "run(ctx, args)", required = true },
  } }

M.dump = { title = "dump",
  doc = "What a dump holds. Names are pg_dump's long options with underscores, and mean the same; " ..
    "patterns are pg_dump's.",
  keys = {
    { "format", "string", "one stream of pg_dump's: `custom` (a pg_restore archive), `plain` (SQL, " ..
      "for psql) or `tar`. Without it, moonkeep's own engine makes a pg_restore archive in " ..
      "directory format, over several connections", one_of = { "custom", "plain", "tar" } },
    { "jobs", "integer", "connections that read rows, beside one that holds the snapshot", min = 1,
      max = 64, default = "2" },
    { "range_size", "size", "from twice this size on a table is read in ranges of about it, each by " ..
      "a connection of its own (by servers from 14 on). If it is not given: 64MiB to 4GiB, and only " ..
      "tables much larger than a connection's share are cut" },
    { "prefer", "string", "with several hosts: `standby`, if there is one (and it is not further " ..
      "behind than `max_lag`), else the primary; `standby_only`", one_of = { "standby",
      "standby_only" } },
    { "max_lag", "duration", "how far behind a standby may be" },
    { "throttle", "throttle", "bytes a second that are read at most, such as `\"50MiB\"`; or a " ..
      "function(connection) that returns that, or nil for no limit, and is asked every two seconds" },
    { "pooler", "string", "`session`: there is a pooler, but it gives a whole session to each " ..
      "client", one_of = { "session" } },
    { "globals", "globals", "back up roles and tablespaces too, as the series `_globals`. Password " ..
      "hashes are in it only while all stores are `file:`; `\"with_passwords\"` insists" },
    { "lock_timeout", "duration", "give up when a table's lock is not free for so long" },
    { "table", "strings", "only these tables, views, sequences; what they need (types, functions, " ..
      "schemas) is not in the dump", option = "--table" },
    { "exclude_table", "strings", "not these", option = "--exclude-table" },
    { "exclude_table_data", "strings", "these without their rows",
      option = "--exclude-table-data" },
    { "schema", "strings", "only these schemas", option = "--schema" },
    { "exclude_schema", "strings", "not these", option = "--exclude-schema" },
    { "extension", "strings", "only these extensions", option = "--extension", since = 14 },
    { "exclude_extension", "strings", "not these", option = "--exclude-extension", since = 17 },
    { "section", "sections", "only these parts: " .. SECTIONS, option = "--section" },
    { "schema_only", "boolean", "no rows", option = "--schema-only" },
    { "data_only", "boolean", "rows only", option = "--data-only" },
    { "strict_names", "boolean", "a pattern that matches nothing is an error",
      option = "--strict-names" },
    { "large_objects", "boolean", "with large objects although `schema` or `table` selects, or, " ..
      "as `false`, without them", option = "--blobs", option_false = "--no-blobs" },
    { "no_owner", "boolean", "without ownership", option = "--no-owner" },
    { "no_privileges", "boolean", "without grants", option = "--no-privileges" },
    { "no_comments", "boolean", "without comments", option = "--no-comments" },
    { "no_publications", "boolean", "without publications", option = "--no-publications" },
    { "no_subscriptions", "boolean", "without subscriptions", option = "--no-subscriptions" },
    { "no_security_labels", "boolean", "without security labels",
      option = "--no-security-labels" },
    { "no_tablespaces", "boolean", "without tablespaces", option = "--no-tablespaces" },
    { "no_unlogged_table_data", "boolean", "unlogged tables without their rows",
      option = "--no-unlogged-table-data" },
    { "no_toast_compression", "boolean", "without TOAST compression methods",
      option = "--no-toast-compression", since = 14 },
    { "clean", "boolean", "plain format: DROP statements first", option = "--clean" },
    { "if_exists", "boolean", "with `clean`: IF EXISTS (the default)", option = "--if-exists" },
    { "inserts", "boolean", "INSERT instead of COPY", option = "--inserts" },
    { "column_inserts", "boolean", "INSERT with column names", option = "--column-inserts" },
    { "on_conflict_do_nothing", "boolean", "INSERT ... ON CONFLICT DO NOTHING",
      option = "--on-conflict-do-nothing" },
    { "load_via_partition_root", "boolean", "rows go through the partitioned table",
      option = "--load-via-partition-root" },
    { "include_foreign_data", "strings", "rows of the foreign tables of these servers",
      option = "--include-foreign-data" },
    { "enable_row_security", "boolean", "only the rows that the user may see",
      option = "--enable-row-security" },
    { "serializable_deferrable", "boolean", "wait for a snapshot without anomalies",
      option = "--serializable-deferrable" },
    { "quote_all_identifiers", "boolean", "quote every name", option = "--quote-all-identifiers" },
    { "role", "string", "SET ROLE first", option = "--role" },
    { "encoding", "string", "the dump's encoding", option = "--encoding" },
    { "extra", "extra", "more long options of pg_dump, as they are" },
  } }

M.schedule = { title = "schedule",
  doc = "When a job runs: one of `cron`, `at` or `every`. Times are of the zone `tz`. At a change " ..
    "of clocks, a time that does not exist is run right after the gap, a time that exists twice " ..
    "is run once.",
  keys = {
    { "cron", "string", "five fields, names, ranges, steps, or `@hourly`, `@daily`, `@weekly`, " ..
      "`@monthly`, `@yearly`; as in cron, day of month and day of week are ORed when both are given" },
    { "at", "strings", "times of day, `\"02:30\"`" },
    { "on", "string", "with `at`, the days: `\"monday\"`, `\"mon,thu\"`, `\"weekdays\"`, " ..
      "`\"first monday\"`, `\"last friday\"`, `\"day 15\"`, `\"last day\"`" },
    { "every", "duration", "`\"15m\"`, `\"6h\"`: counted from midnight; must divide a day" },
    { "tz", "string", "an IANA zone such as `\"Europe/Paris\"`; \"local\" is the machine's",
      default = '"local"' },
    { "jitter", "duration", "a delay of up to so long, the same at every run of this job on this " ..
      "machine" },
  } }

M.retry = { title = "retry", doc = "Retries of a failed run. Mistakes in the recipe, a stop from " ..
    "outside and the deadline are not retried.",
  keys = {
    { "tries", "integer", "how often in all", min = 1, max = 100, required = true },
    { "wait", "duration", "before the second try; doubled each time", default = '"1m"' },
    { "max_wait", "duration", "at most", default = '"15m"' },
  } }

M.restore = { title = "ctx:restore",
  doc = "Where a restore goes, and what of the backup. A database that does not exist is created " ..
    "with the source's encoding, locale, owner, settings, grants and comment.",
  keys = {
    { "into", "source", "the server", required = true },
    { "database", "database", "the database", default = "the backup's own name" },
    { "existing", "string", "what may be done to a database that is not empty: `refuse`; `add` to " ..
      "it; `clean`, drop what the backup holds first; `replace` it by a new one when all is " ..
      "restored", one_of = { "refuse", "add", "clean", "replace" }, default = '"refuse"' },
    { "swap", "boolean", "restore beside the database, compare with the backup, then change the " ..
      "names: the old one is kept as `NAME_until_20261127_020000`" },
    { "resume", "boolean", "go on where a restore of the same backup and options was interrupted; " ..
      "and when this one is, keep what it has for that" },
    { "table", "strings", "only these tables, `name` or `schema.name`, with `*` and `?`" },
    { "schema", "strings", "only these schemas", option = "--schema" },
    { "exclude_schema", "strings", "not these", option = "--exclude-schema" },
    { "dependencies", "boolean", "with `table`: also what these tables need (types, sequences, " ..
      "functions, schemas) and what belongs to them (indexes, constraints, triggers)" },
    { "section", "sections", "only these parts: " .. SECTIONS, option = "--section" },
    { "schema_only", "boolean", "no rows", option = "--schema-only" },
    { "data_only", "boolean", "rows only", option = "--data-only" },
    { "truncate", "boolean", "with `data_only`: first empties the tables, in the same transaction" },
    { "disable_triggers", "boolean", "with `data_only`: triggers do not fire (of a stream of " ..
      "pg_dump's: nor are foreign keys checked, and it takes a superuser)",
      option = "--disable-triggers" },
    { "foreign_keys", "string", "with `data_only`: `check` them as rows come, in the order that they " ..
      "want; or drop them, and make them again `after` all rows, which checks them",
      one_of = { "check", "after" }, default = '"check"' },
    { "no_owner", "boolean", "everything belongs to who restores", option = "--no-owner" },
    { "no_privileges", "boolean", "without grants", option = "--no-privileges" },
    { "no_comments", "boolean", "without comments", option = "--no-comments" },
    { "no_tablespaces", "boolean", "without tablespaces", option = "--no-tablespaces" },
    { "role", "string", "SET ROLE first", option = "--role" },
    { "globals", "boolean", "first create the roles that the backup's globals have and the server " ..
      "has not" },
    { "properties", "boolean", "`false`: a created database gets encoding and locale only",
      default = "true" },
    { "jobs", "integer", "connections; for what can be read at any place: backups of the native " ..
      "engine, and custom format with `compress = \"none\"`", min = 1, max = 64 },
    { "on_error", "string", "`stop` at the first error and undo; or `continue`, then fail with " ..
      "the list of all: a new database is then kept under the name `NAME_incomplete_...`",
      one_of = { "stop", "continue" }, default = '"stop"' },
    { "extra", "extra", "more long options of pg_restore or psql, as they are" },
  } }

M.checkup = { title = "ctx:checkup", doc = "What a database is looked over for.", keys = {
  { "backup", "backup", "the backup whose rows it should have" },
  { "jobs", "integer", "connections", min = 1, max = 64, default = "2" },
} }

local STORE = {
  { "offsite", "boolean", "it is at another place than the database" },
  { "keep", "keep", "what stays here, instead of what the job's `keep` says", keys = "keep" },
  { "rate", "size", "bytes a second that it is given at most, such as `\"20MiB\"`" },
  { "stall", "duration", "when it has taken nothing for so long while another store goes on, the " ..
    "backup is made without it, and it gets its copy afterwards; of a bucket also: a connection " ..
    "on which nothing moves is given up after it", default = '"1m"' },
}

M.store = { title = "mk.store", doc = "Options of a store: of every kind.", keys = STORE }

M.s3 = { title = "mk.store, s3:", doc = "Options of a store in a bucket of an S3 service. " ..
  "Credentials that are not given are looked for as Amazon's own programs do: environment, web " ..
  "identity, profile, container, instance.", keys = with(STORE, {
  { "region", "string", "the bucket's", default = "`AWS_REGION`, or `us-east-1`" },
  { "endpoint", "string", "URL of another service than Amazon's", default = "`AWS_ENDPOINT_URL_S3`" },
  { "path_style", "boolean", "the bucket's name is in the path, not in the host's name",
    default = "with an `endpoint`" },
  { "access_key", "secret_text", "with `secret_key`" },
  { "secret_key", "secret", "a secret" },
  { "session_token", "secret", "of credentials that expire" },
  { "profile", "string", "of `~/.aws/credentials`", default = "`AWS_PROFILE`, or `default`" },
  { "storage_class", "string", "such as `STANDARD_IA`" },
  { "encryption", "string", "the service's own: `AES256`, `aws:kms`, or `aws:kms:KEY`" },
  { "encryption_key", "secret", "with a key of yours (SSE-C), 32 bytes as base64; without it nobody " ..
    "reads them again" },
  { "tags", "tags", "of every object" },
  { "lock", "duration", "object lock: nothing can be deleted or changed for so long; the bucket must " ..
    "have been made for it" },
  { "lock_mode", "string", "`COMPLIANCE`: not even by the account's owner", one_of = { "GOVERNANCE",
    "COMPLIANCE" }, default = '"GOVERNANCE"' },
  { "checksums", "boolean", "the service also keeps the SHA-256 of each object, for `verify = " ..
    "\"stored\"`", default = "at Amazon's, and with `lock`" },
  { "parallel", "integer", "parts of 16 MiB that are sent at once, for each object", min = 1, max = 64,
    default = "2" },
  { "retries", "integer", "how often a request is tried again", min = 0, max = 100, default = "4" },
  { "lease", "duration", "a run that has given no sign of life for so long is dead, and what it " ..
    "left is removed by the next one", default = '"15m"' },
  { "ca", "string", "a file of certificates, instead of the system's" },
  { "proxy", "secret_text", "its URL", default = "as `https_proxy` and `no_proxy` say" },
}) }

M.policy = { title = "mk.policy", doc = "Rules for every job of a folder, in its `policy.lua`.",
  keys = {
    { "defaults", "table", "keys of mk.job for jobs that don't have them" },
    { "require", "function", "require(job): returns nil, or what is wrong with the job and, " ..
      "second, how to mend it; `check` and `run` refuse the job then" },
    { "before_run", "function", "before_run(job): returns nil, or why the job must not run now" },
    { "before_expire", "function", "before_expire(backup, plan): returns `false` and why when a " ..
      "backup must not expire; see [what it sees](events.md#what-keep-and-before_expire-see)" },
  } }

M.scratch = { title = "mk.pg.scratch", doc = "Options of a throwaway cluster.", keys = {
  { "major", "integer", "the version", default = "the newest installed" },
  { "settings", "table", "server settings by name" },
} }
M.connect = { title = "source:connect", doc = "Options of a connection.", keys = {
  { "timeout", "duration", "for connecting", default = '"30s"' },
  { "patient", "boolean", "without the timeouts of statements and locks that the role or the " ..
    "database has" },
} }
M.transaction = { title = "connection:transaction", doc = "Options of a transaction.", keys = {
  { "isolation", "string", "the isolation level",
    one_of = { "read committed", "repeatable read", "serializable" },
    default = '"read committed"' },
  { "read_only", "boolean", "no writes" },
} }
M.each = { title = "mk.each", doc = "Options of mk.each.", keys = {
  { "parallel", "integer", "how many at once", min = 1, default = "1" },
} }
M.process = { title = "mk.process.run", doc = "A child process.", keys = {
  { "argv", "list", "the program and its arguments; nothing goes through a shell",
    required = true, of = "string" },
  { "env", "environment", "added to the environment; `false` removes a name" },
  { "cwd", "string", "its folder" },
  { "user", "string", "run as this user" },
  { "stdin", "string", "what it reads" },
} }
M.http = { title = "mk.http.request", doc = "An HTTP request. Certificates are always verified.",
  keys = {
  { "url", "secret_text", "`http://` or `https://`", required = true },
  { "method", "string", "", default = '"GET"; with a body `"POST"`' },
  { "headers", "environment", "header lines by name" },
  { "body", "secret_text", "what is sent" },
  { "json", "any", "a value that is sent as JSON" },
  { "any_status", "boolean", "an answer that is none of success is returned, too; without it raises " ..
    "`HTTP_STATUS`" },
  { "retries", "integer", "how often it is tried again when the network fails, or the server asks " ..
    "for that (408, 429, 500, 502, 503, 504)", min = 0, max = 100, default = "4" },
  { "repeats", "boolean", "a `POST` may be sent twice" },
  { "timeout", "duration", "for all of one try" },
  { "connect_timeout", "duration", "to be connected", default = '"10s"' },
  { "idle_timeout", "duration", "with no byte moving", default = '"1m"' },
  { "redirects", "integer", "how many are followed", min = 0, max = 50, default = "5" },
  { "ca", "string", "a file of certificates, instead of the system's" },
  { "proxy", "secret_text", "its URL; `\"\"`: none", default = "as `https_proxy` and `no_proxy` say" },
  { "unix_socket", "string", "connect to this, instead of the URL's host" },
} }
M.arg = { title = "mk.arg", doc = "Options of an argument's type.", keys = {
  { "default", "any", "used when it is not given" },
  { "doc", "string", "what it means" },
} }
M.dump_of = { title = "ctx:dump", doc = "What to dump.", keys = {
  { "source", "source", "the database", default = "the job's" },
  { "dump", "table", "see dump", keys = "dump" },
} }

M.LEVELS = LEVELS
return M
