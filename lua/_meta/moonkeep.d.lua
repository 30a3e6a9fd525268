---@meta moonkeep
-- Types of everything that a recipe can call, made from lua/moonkeep/definitions.

---@alias moonkeep.Duration string # "500ms", "30s", "90m", "3h", "2d"
---@alias moonkeep.Size string # "64MiB", "10GB"
---@alias moonkeep.Codec string # "none", "gzip:1".."gzip:9", "lz4:1".."lz4:12", "zstd:1".."zstd:19"
---@alias moonkeep.Level "stored"|"read"|"decoded"|"restored"

---@class moonkeep.Error
---@field code string stable upper-case name, see docs/reference/events.md
---@field message string
---@field hint? string what to do
---@field fault? string name of a known fault of PostgreSQL
---@field detail? string
---@field sqlstate? string
---@field where? string recipe file and line
---@field also? moonkeep.Error[]

---@class moonkeep.FileStat
---@field size integer
---@field mode integer
---@field uid integer
---@field mtime integer
---@field type "file"|"directory"|"other"

---@class moonkeep.FlowReport
---@field bytes_in integer
---@field bytes_out integer
---@field result? string
---@field error? moonkeep.Error

---@class moonkeep.Backup
---@field id string
---@field job string
---@field series string
---@field manifest table
---@field stores moonkeep.Store[]
---@field proof moonkeep.Level
---@field missing? { store: moonkeep.Store, error: moonkeep.Error }[]
---@field rows table<string, integer> by "schema.name", when it was dumped
---@field roles? moonkeep.Backup

---@class moonkeep.Job
---@class moonkeep.Stream
---@class moonkeep.Secret
---@class moonkeep.Notifier
---@class moonkeep.Arg
---@overload fun(options: moonkeep.ArgKeys|any): moonkeep.Arg

---Options of an argument's type.
---@class moonkeep.ArgKeys
---@field default? any used when it is not given
---@field doc? string what it means

---Overrides of the job's keys for one backup.
---@class moonkeep.BackupKeys
---@field source? moonkeep.Source what to back up
---@field databases? string[]|"all" several databases of that server, each a series of its own: names, patterns with `*` and `?`, or `"all"` that allow connections
---@field exclude_databases? string|string[] names or patterns that `databases` leaves out
---@field dump? moonkeep.DumpKeys what the dump holds, and how it is made
---@field compress? moonkeep.Codec `"none"`, `"gzip:1"` to `"gzip:9"`, `"lz4:1"` to `"lz4:12"`, `"zstd:1"` to `"zstd:19"`; without a level: gzip 6, the others 1; levels of zstd above 9 need 135 to 220 MiB of memory (default: "zstd:1")
---@field upload? moonkeep.Store[] every one of them gets the backup, in one pass
---@field encrypt? moonkeep.EncryptKeys|false every object is sealed, and only who has a private key (or the passphrase) can read it; this host needs public keys only
---@field piece_size? moonkeep.Size no stored file is larger: what is lies in pieces, `NAME`, `NAME.2`, `NAME.3` ..., which joined are the whole; above 16MiB it is rounded down to a multiple of that (default: "15GiB")
---@field copies? moonkeep.CopiesKeys how many of them must have it: fewer, and the run is degraded (exit code 3)
---@field verify? "stored"|"read"|"decoded"|"restored" what is proved at once: `read` reads every stored byte again; `decoded` also decompresses it, and compares the rows of every table with those that were dumped; `restored` restores it into a PostgreSQL of its own on this host, and compares that (default: "read")

---What a database is looked over for.
---@class moonkeep.CheckupKeys
---@field backup? moonkeep.Backup the backup whose rows it should have
---@field jobs? integer connections (default: 2)

---Options of a connection.
---@class moonkeep.ConnectKeys
---@field timeout? moonkeep.Duration for connecting (default: "30s")
---@field patient? boolean without the timeouts of statements and locks that the role or the database has

---How many stores must have a backup in the end. One that fails, or falls behind, gets its copy from another one when the dump is over; a run that ends with fewer copies is `degraded`, and exits with 3. Without any, it has failed.
---@class moonkeep.CopiesKeys
---@field min? integer so many stores (default: all of `upload`)
---@field offsite? integer so many of those that have `offsite = true` (default: 0)

---What a dump holds. Names are pg_dump's long options with underscores, and mean the same; patterns are pg_dump's.
---@class moonkeep.DumpKeys
---@field format? "custom"|"plain"|"tar" one stream of pg_dump's: `custom` (a pg_restore archive), `plain` (SQL, for psql) or `tar`. Without it, moonkeep's own engine makes a pg_restore archive in directory format, over several connections
---@field jobs? integer connections that read rows, beside one that holds the snapshot (default: 2)
---@field range_size? moonkeep.Size from twice this size on a table is read in ranges of about it, each by a connection of its own (by servers from 14 on). If it is not given: 64MiB to 4GiB, and only tables much larger than a connection's share are cut
---@field prefer? "standby"|"standby_only" with several hosts: `standby`, if there is one (and it is not further behind than `max_lag`), else the primary; `standby_only`
---@field max_lag? moonkeep.Duration how far behind a standby may be
---@field throttle? moonkeep.Size|fun(connection: moonkeep.Connection): moonkeep.Size? bytes a second that are read at most, such as `"50MiB"`; or a function(connection) that returns that, or nil for no limit, and is asked every two seconds
---@field pooler? "session" `session`: there is a pooler, but it gives a whole session to each client
---@field globals? boolean|"with_passwords" back up roles and tablespaces too, as the series `_globals`. Password hashes are in it only while all stores are `file:`; `"with_passwords"` insists
---@field lock_timeout? moonkeep.Duration give up when a table's lock is not free for so long
---@field table? string|string[] only these tables, views, sequences; what they need (types, functions, schemas) is not in the dump
---@field exclude_table? string|string[] not these
---@field exclude_table_data? string|string[] these without their rows
---@field schema? string|string[] only these schemas
---@field exclude_schema? string|string[] not these
---@field extension? string|string[] only these extensions
---@field exclude_extension? string|string[] not these
---@field section? string|string[] only these parts: `pre-data`, `data`, `post-data`
---@field schema_only? boolean no rows
---@field data_only? boolean rows only
---@field strict_names? boolean a pattern that matches nothing is an error
---@field large_objects? boolean with large objects although `schema` or `table` selects, or, as `false`, without them
---@field no_owner? boolean without ownership
---@field no_privileges? boolean without grants
---@field no_comments? boolean without comments
---@field no_publications? boolean without publications
---@field no_subscriptions? boolean without subscriptions
---@field no_security_labels? boolean without security labels
---@field no_tablespaces? boolean without tablespaces
---@field no_unlogged_table_data? boolean unlogged tables without their rows
---@field no_toast_compression? boolean without TOAST compression methods
---@field clean? boolean plain format: DROP statements first
---@field if_exists? boolean with `clean`: IF EXISTS (the default)
---@field inserts? boolean INSERT instead of COPY
---@field column_inserts? boolean INSERT with column names
---@field on_conflict_do_nothing? boolean INSERT ... ON CONFLICT DO NOTHING
---@field load_via_partition_root? boolean rows go through the partitioned table
---@field include_foreign_data? string|string[] rows of the foreign tables of these servers
---@field enable_row_security? boolean only the rows that the user may see
---@field serializable_deferrable? boolean wait for a snapshot without anomalies
---@field quote_all_identifiers? boolean quote every name
---@field role? string SET ROLE first
---@field encoding? string the dump's encoding
---@field extra? string[] more long options of pg_dump, as they are

---What to dump.
---@class moonkeep.DumpOfKeys
---@field source? moonkeep.Source the database (default: the job's)
---@field dump? moonkeep.DumpKeys see dump

---Options of mk.each.
---@class moonkeep.EachKeys
---@field parallel? integer how many at once (default: 1)

---Encryption in the format of [age](https://age-encryption.org): stock `age` opens what is in a store. `recipients` or `passphrase`, one of them. See [Encryption and signatures](../guide/encryption.md).
---@class moonkeep.EncryptKeys
---@field recipients? string|string[] public keys, `age1...`: any one of their private keys opens a backup. Have two, kept in two places
---@field passphrase? moonkeep.Secret instead of keys
---@field identity? moonkeep.Secret|moonkeep.Secret[] the file of a private key, on hosts that are to verify, or restore, what is in the backups; hosts that only make them are better without
---@field escrow? moonkeep.Duration|false runs and `status` warn until a private key has opened a backup within this time, by a `verify` as `decoded` or a restore, on whatever host; `false`: never (default: "90d")

---An HTTP request. Certificates are always verified.
---@class moonkeep.HttpKeys
---@field url string|moonkeep.Secret `http://` or `https://`
---@field method? string  (default: "GET"; with a body `"POST"`)
---@field headers? table<string, string|moonkeep.Secret|false> header lines by name
---@field body? string|moonkeep.Secret what is sent
---@field json? any a value that is sent as JSON
---@field any_status? boolean an answer that is none of success is returned, too; without it raises `HTTP_STATUS`
---@field retries? integer how often it is tried again when the network fails, or the server asks for that (408, 429, 500, 502, 503, 504) (default: 4)
---@field repeats? boolean a `POST` may be sent twice
---@field timeout? moonkeep.Duration for all of one try
---@field connect_timeout? moonkeep.Duration to be connected (default: "10s")
---@field idle_timeout? moonkeep.Duration with no byte moving (default: "1m")
---@field redirects? integer how many are followed (default: 5)
---@field ca? string a file of certificates, instead of the system's
---@field proxy? string|moonkeep.Secret its URL; `""`: none (default: as `https_proxy` and `no_proxy` say)
---@field unix_socket? string connect to this, instead of the URL's host

---A job: what is backed up, when, where to, and how it is proved.
---@class moonkeep.JobKeys
---@field name string names the job's folder in every store
---@field description? string one sentence, shown by `check` and `plan`
---@field source? moonkeep.Source what to back up
---@field databases? string[]|"all" several databases of that server, each a series of its own: names, patterns with `*` and `?`, or `"all"` that allow connections
---@field exclude_databases? string|string[] names or patterns that `databases` leaves out
---@field dump? moonkeep.DumpKeys what the dump holds, and how it is made
---@field compress? moonkeep.Codec `"none"`, `"gzip:1"` to `"gzip:9"`, `"lz4:1"` to `"lz4:12"`, `"zstd:1"` to `"zstd:19"`; without a level: gzip 6, the others 1; levels of zstd above 9 need 135 to 220 MiB of memory (default: "zstd:1")
---@field upload? moonkeep.Store[] every one of them gets the backup, in one pass
---@field encrypt? moonkeep.EncryptKeys|false every object is sealed, and only who has a private key (or the passphrase) can read it; this host needs public keys only
---@field piece_size? moonkeep.Size no stored file is larger: what is lies in pieces, `NAME`, `NAME.2`, `NAME.3` ..., which joined are the whole; above 16MiB it is rounded down to a multiple of that (default: "15GiB")
---@field copies? moonkeep.CopiesKeys how many of them must have it: fewer, and the run is degraded (exit code 3)
---@field verify? "stored"|"read"|"decoded"|"restored" what is proved at once: `read` reads every stored byte again; `decoded` also decompresses it, and compares the rows of every table with those that were dumped; `restored` restores it into a PostgreSQL of its own on this host, and compares that (default: "read")
---@field schedule? moonkeep.ScheduleKeys when; for `next`, `status`, `export cron` and `export systemd`
---@field deadline? moonkeep.Duration the supervisor stops the run after this long
---@field retry? moonkeep.RetryKeys what to do when a run fails
---@field overlap? "skip"|"queue" when the job is still running: `skip` this run (exit code 4), or `queue` behind it (default: "skip")
---@field fresh? moonkeep.Duration the age from which the last good backup is stale: `status` then exits with 5. A backup is as old as what is in it: its age counts from when its dump began
---@field keep? moonkeep.KeepKeys|false|fun(backup: table, all: table[]): string|boolean? what stays when older backups expire, after every run that went well, and by `moonkeep prune`: rules, or a function(backup, all) that returns why one stays, or nil. Without it nothing ever expires
---@field unusual? moonkeep.UnusualKeys from where on a backup is unusual, beside the median of the last 7
---@field sign? moonkeep.Secret the file of a secret key: every manifest gets a signature in minisign's format. `moonkeep keygen --sign` makes one
---@field trust? string|string[] public keys, `RW...`: only backups that one of them has signed are listed, verified, copied or restored
---@field was? string|string[] names that the job had before: the backups there are also its own
---@field notify? moonkeep.NotifyKeys whom to tell of what becomes of a run
---@field tags? table<string, string> texts by name, kept in the manifest
---@field args? table<string, moonkeep.Arg> typed arguments, given with `--set name=value`
---@field before? function before(ctx): runs first; an error ends the run
---@field run? function run(ctx, args): instead of `ctx:backup()`; the other keys stay its defaults
---@field after? function after(ctx, err): runs last, also after a failure (`err`), also when the run was stopped

---Which backups of a series (a database) stay, in each store by itself. What one rule wants stays; weeks begin on Monday, and days are those of the schedule's time zone. Only backups that are proved count (`proof`), and those that are held, or needed by others, stay. See [Keeping backups](../guide/keep.md).
---@class moonkeep.KeepKeys
---@field last? integer so many of the newest
---@field within? moonkeep.Duration those that are at most so much older than the newest, such as `"36h"`
---@field hourly? integer the newest of each of the last so many hours that have any
---@field daily? integer the same by day
---@field weekly? integer the same by week
---@field monthly? integer the same by month
---@field yearly? integer the same by year
---@field tags? string|string[] those that have one of these tags: `name`, or `name=value`
---@field floor? integer so many of the newest that count stay in any case (default: 3)
---@field proof? "stored"|"read"|"decoded"|"restored" the proof from which on a backup counts (default: `read` in a folder, `stored` in a bucket)

---Whom to tell of what: a notifier of `mk.notify`, or a list of them. One that several keys name is told once. Nothing that happens to a message changes the outcome of a run.
---@class moonkeep.NotifyKeys
---@field problem? moonkeep.Notifier|moonkeep.Notifier[] of all that is not well: `failure`, `degraded`, `skipped`, `stale`, `size`
---@field failure? moonkeep.Notifier|moonkeep.Notifier[] a run failed, was killed, or its recipe does not load
---@field degraded? moonkeep.Notifier|moonkeep.Notifier[] there are fewer copies than there should be
---@field skipped? moonkeep.Notifier|moonkeep.Notifier[] a run did not begin, because the job was still running
---@field stale? moonkeep.Notifier|moonkeep.Notifier[] `moonkeep status --notify` has found that the last good backup is too old
---@field size? moonkeep.Notifier|moonkeep.Notifier[] a backup is smaller than half of what is usual (the median of the last 7), or larger than twice that; or as `unusual` says
---@field recovered? moonkeep.Notifier|moonkeep.Notifier[] a run went well, and the one before it did not
---@field success? moonkeep.Notifier|moonkeep.Notifier[] a run went well
---@field start? moonkeep.Notifier|moonkeep.Notifier[] a run has begun
---@field always? moonkeep.Notifier|moonkeep.Notifier[] all of it, also each start: for `mk.notify.healthchecks`

---A program: it reads the message, or what `template` returns, and has the event in its environment (`MOONKEEP_KIND`, `MOONKEEP_JOB`, `MOONKEEP_TITLE`, `MOONKEEP_EVENT` as JSON).
---@class moonkeep.NotifyCommandKeys
---@field argv string[] the program and its arguments; nothing goes through a shell
---@field env? table<string, string|moonkeep.Secret|false> added to the environment; values may be secrets
---@field user? string run as this user
---@field template? function template(event): returns the text, or `{ title, text }`, or any other table, which is sent as it is; see [events](events.md#what-templates-get)
---@field again? moonkeep.Duration the same problem is not told again before (default: "4h")
---@field timeout? moonkeep.Duration how long one try may take, at most a minute (default: "45s")

---Mail, by an SMTP server.
---@class moonkeep.NotifyEmailKeys
---@field url string|moonkeep.Secret `smtps://mail.example.org`, or `smtp://mail.example.org:587`, where STARTTLS is insisted on
---@field from string the sender: an address, or `Name <address>`
---@field to string|string[] who gets it
---@field user? string|moonkeep.Secret to log in with
---@field password? moonkeep.Secret a secret
---@field tls? "required"|"optional" `optional` for a server of this machine or network that has none (default: "required")
---@field ca? string a file of certificates, instead of the system's
---@field template? function template(event): returns the text, or `{ title, text }`, or any other table, which is sent as it is; see [events](events.md#what-templates-get)
---@field again? moonkeep.Duration the same problem is not told again before (default: "4h")
---@field timeout? moonkeep.Duration how long one try may take, at most a minute (default: "45s")

---A check of healthchecks.io, or of one's own instance: it hears of every start and end.
---@class moonkeep.NotifyHealthchecksKeys
---@field url string|moonkeep.Secret the check's ping URL, `https://hc-ping.com/UUID`
---@field proxy? string|moonkeep.Secret its URL (default: as `https_proxy` and `no_proxy` say)
---@field ca? string a file of certificates, instead of the system's
---@field template? function template(event): returns the text, or `{ title, text }`, or any other table, which is sent as it is; see [events](events.md#what-templates-get)
---@field again? moonkeep.Duration the same problem is not told again before (default: "4h")
---@field timeout? moonkeep.Duration how long one try may take, at most a minute (default: "45s")

---A channel of Slack, Mattermost or Rocket.Chat, by an incoming webhook.
---@class moonkeep.NotifySlackKeys
---@field url string|moonkeep.Secret the webhook's; it is a secret
---@field channel? string another channel, where the service allows that
---@field proxy? string|moonkeep.Secret its URL (default: as `https_proxy` and `no_proxy` say)
---@field ca? string a file of certificates, instead of the system's
---@field template? function template(event): returns the text, or `{ title, text }`, or any other table, which is sent as it is; see [events](events.md#what-templates-get)
---@field again? moonkeep.Duration the same problem is not told again before (default: "4h")
---@field timeout? moonkeep.Duration how long one try may take, at most a minute (default: "45s")

---An HTTP endpoint of your own.
---@class moonkeep.NotifyWebhookKeys
---@field url string|moonkeep.Secret `https://...`
---@field method? string  (default: "POST")
---@field headers? table<string, string|moonkeep.Secret|false> header lines by name; values may be secrets
---@field proxy? string|moonkeep.Secret its URL (default: as `https_proxy` and `no_proxy` say)
---@field ca? string a file of certificates, instead of the system's
---@field template? function template(event): returns the text, or `{ title, text }`, or any other table, which is sent as it is; see [events](events.md#what-templates-get)
---@field again? moonkeep.Duration the same problem is not told again before (default: "4h")
---@field timeout? moonkeep.Duration how long one try may take, at most a minute (default: "45s")

---Rules for every job of a folder, in its `policy.lua`.
---@class moonkeep.PolicyKeys
---@field defaults? table keys of mk.job for jobs that don't have them
---@field require? function require(job): returns nil, or what is wrong with the job and, second, how to mend it; `check` and `run` refuse the job then
---@field before_run? function before_run(job): returns nil, or why the job must not run now
---@field before_expire? function before_expire(backup, plan): returns `false` and why when a backup must not expire; see [what it sees](events.md#what-keep-and-before_expire-see)

---A child process.
---@class moonkeep.ProcessKeys
---@field argv string[] the program and its arguments; nothing goes through a shell
---@field env? table<string, string|moonkeep.Secret|false> added to the environment; `false` removes a name
---@field cwd? string its folder
---@field user? string run as this user
---@field stdin? string what it reads

---Where a restore goes, and what of the backup. A database that does not exist is created with the source's encoding, locale, owner, settings, grants and comment.
---@class moonkeep.RestoreKeys
---@field into moonkeep.Source the server
---@field database? string the database (default: the backup's own name)
---@field existing? "refuse"|"add"|"clean"|"replace" what may be done to a database that is not empty: `refuse`; `add` to it; `clean`, drop what the backup holds first; `replace` it by a new one when all is restored (default: "refuse")
---@field swap? boolean restore beside the database, compare with the backup, then change the names: the old one is kept as `NAME_until_20261127_020000`
---@field resume? boolean go on where a restore of the same backup and options was interrupted; and when this one is, keep what it has for that
---@field table? string|string[] only these tables, `name` or `schema.name`, with `*` and `?`
---@field schema? string|string[] only these schemas
---@field exclude_schema? string|string[] not these
---@field dependencies? boolean with `table`: also what these tables need (types, sequences, functions, schemas) and what belongs to them (indexes, constraints, triggers)
---@field section? string|string[] only these parts: `pre-data`, `data`, `post-data`
---@field schema_only? boolean no rows
---@field data_only? boolean rows only
---@field truncate? boolean with `data_only`: first empties the tables, in the same transaction
---@field disable_triggers? boolean with `data_only`: triggers do not fire (of a stream of pg_dump's: nor are foreign keys checked, and it takes a superuser)
---@field foreign_keys? "check"|"after" with `data_only`: `check` them as rows come, in the order that they want; or drop them, and make them again `after` all rows, which checks them (default: "check")
---@field no_owner? boolean everything belongs to who restores
---@field no_privileges? boolean without grants
---@field no_comments? boolean without comments
---@field no_tablespaces? boolean without tablespaces
---@field role? string SET ROLE first
---@field globals? boolean first create the roles that the backup's globals have and the server has not
---@field properties? boolean `false`: a created database gets encoding and locale only (default: true)
---@field jobs? integer connections; for what can be read at any place: backups of the native engine, and custom format with `compress = "none"`
---@field on_error? "stop"|"continue" `stop` at the first error and undo; or `continue`, then fail with the list of all: a new database is then kept under the name `NAME_incomplete_...` (default: "stop")
---@field extra? string[] more long options of pg_restore or psql, as they are

---Retries of a failed run. Mistakes in the recipe, a stop from outside and the deadline are not retried.
---@class moonkeep.RetryKeys
---@field tries integer how often in all
---@field wait? moonkeep.Duration before the second try; doubled each time (default: "1m")
---@field max_wait? moonkeep.Duration at most (default: "15m")

---Options of a store in a bucket of an S3 service. Credentials that are not given are looked for as Amazon's own programs do: environment, web identity, profile, container, instance.
---@class moonkeep.S3Keys
---@field offsite? boolean it is at another place than the database
---@field keep? moonkeep.KeepKeys|false|fun(backup: table, all: table[]): string|boolean? what stays here, instead of what the job's `keep` says
---@field rate? moonkeep.Size bytes a second that it is given at most, such as `"20MiB"`
---@field stall? moonkeep.Duration when it has taken nothing for so long while another store goes on, the backup is made without it, and it gets its copy afterwards; of a bucket also: a connection on which nothing moves is given up after it (default: "1m")
---@field region? string the bucket's (default: `AWS_REGION`, or `us-east-1`)
---@field endpoint? string URL of another service than Amazon's (default: `AWS_ENDPOINT_URL_S3`)
---@field path_style? boolean the bucket's name is in the path, not in the host's name (default: with an `endpoint`)
---@field access_key? string|moonkeep.Secret with `secret_key`
---@field secret_key? moonkeep.Secret a secret
---@field session_token? moonkeep.Secret of credentials that expire
---@field profile? string of `~/.aws/credentials` (default: `AWS_PROFILE`, or `default`)
---@field storage_class? string such as `STANDARD_IA`
---@field encryption? string the service's own: `AES256`, `aws:kms`, or `aws:kms:KEY`
---@field encryption_key? moonkeep.Secret with a key of yours (SSE-C), 32 bytes as base64; without it nobody reads them again
---@field tags? table<string, string> of every object
---@field lock? moonkeep.Duration object lock: nothing can be deleted or changed for so long; the bucket must have been made for it
---@field lock_mode? "GOVERNANCE"|"COMPLIANCE" `COMPLIANCE`: not even by the account's owner (default: "GOVERNANCE")
---@field checksums? boolean the service also keeps the SHA-256 of each object, for `verify = "stored"` (default: at Amazon's, and with `lock`)
---@field parallel? integer parts of 16 MiB that are sent at once, for each object (default: 2)
---@field retries? integer how often a request is tried again (default: 4)
---@field lease? moonkeep.Duration a run that has given no sign of life for so long is dead, and what it left is removed by the next one (default: "15m")
---@field ca? string a file of certificates, instead of the system's
---@field proxy? string|moonkeep.Secret its URL (default: as `https_proxy` and `no_proxy` say)

---When a job runs: one of `cron`, `at` or `every`. Times are of the zone `tz`. At a change of clocks, a time that does not exist is run right after the gap, a time that exists twice is run once.
---@class moonkeep.ScheduleKeys
---@field cron? string five fields, names, ranges, steps, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`; as in cron, day of month and day of week are ORed when both are given
---@field at? string|string[] times of day, `"02:30"`
---@field on? string with `at`, the days: `"monday"`, `"mon,thu"`, `"weekdays"`, `"first monday"`, `"last friday"`, `"day 15"`, `"last day"`
---@field every? moonkeep.Duration `"15m"`, `"6h"`: counted from midnight; must divide a day
---@field tz? string an IANA zone such as `"Europe/Paris"`; "local" is the machine's (default: "local")
---@field jitter? moonkeep.Duration a delay of up to so long, the same at every run of this job on this machine

---Options of a throwaway cluster.
---@class moonkeep.ScratchKeys
---@field major? integer the version (default: the newest installed)
---@field settings? table server settings by name

---Options of a store: of every kind.
---@class moonkeep.StoreKeys
---@field offsite? boolean it is at another place than the database
---@field keep? moonkeep.KeepKeys|false|fun(backup: table, all: table[]): string|boolean? what stays here, instead of what the job's `keep` says
---@field rate? moonkeep.Size bytes a second that it is given at most, such as `"20MiB"`
---@field stall? moonkeep.Duration when it has taken nothing for so long while another store goes on, the backup is made without it, and it gets its copy afterwards; of a bucket also: a connection on which nothing moves is given up after it (default: "1m")

---A task: something that is run by hand, with arguments.
---@class moonkeep.TaskKeys
---@field name string the name to run it by
---@field description? string one sentence, shown by `check` and `plan`
---@field args? table<string, moonkeep.Arg> its arguments by name, given with `--set name=value`
---@field deadline? moonkeep.Duration the supervisor stops the run after this long
---@field run function run(ctx, args)

---Options of a transaction.
---@class moonkeep.TransactionKeys
---@field isolation? "read committed"|"repeatable read"|"serializable" the isolation level (default: "read committed")
---@field read_only? boolean no writes

---What `notify` (its `size`) and `moonkeep history` take for unusual, in percent of the median of the last 7 backups.
---@class moonkeep.UnusualKeys
---@field below? integer a size below this (default: 50)
---@field above? integer a size above this (default: 200)
---@field slower? integer a duration above this (default: none)

---A job that proves the backups of other jobs again, in every store: those first that have not been for the longest. What is damaged fails the run, and is told.
---@class moonkeep.VerifyKeys
---@field name string the name to run it by
---@field description? string one sentence, shown by `check` and `plan`
---@field jobs moonkeep.Job[] whose backups
---@field levels? "stored"|"read"|"decoded"|"restored" what to prove, one after the other (default: "read")
---@field sample? string|integer how much at most in one run, of each level: `"10%"` of all bytes, `"50GiB"`, or a number of copies (default: all)
---@field again? moonkeep.Duration only what has not been proved so for this long
---@field repair? boolean replace a damaged copy by one of another store that is whole
---@field schedule? moonkeep.ScheduleKeys when
---@field deadline? moonkeep.Duration the supervisor stops the run after this long
---@field retry? moonkeep.RetryKeys what to do when a run fails
---@field overlap? "skip"|"queue" when it is still running (default: "skip")
---@field fresh? moonkeep.Duration the age from which its last good run is stale
---@field notify? moonkeep.NotifyKeys whom to tell of what becomes of a run

---@class moonkeep.Context
local Context = {}

---@class moonkeep.Source
local Source = {}

---@class moonkeep.Connection
local Connection = {}

---@class moonkeep.Cluster
local Cluster = {}

---@class moonkeep.Store
local Store = {}

---@class moonkeep.Child
local Child = {}

---@class moonkeep.Answer
local Answer = {}

---@class moonkeep
local mk = {}

---@class moonkeep.secret
mk.secret = {}

---@class moonkeep.notify
mk.notify = {}

---@class moonkeep.arg
mk.arg = {}

---@class moonkeep.flow
mk.flow = {}

---@class moonkeep.process
mk.process = {}

---@class moonkeep.http
mk.http = {}

---@class moonkeep.fs
mk.fs = {}

---@class moonkeep.clock
mk.clock = {}

---@class moonkeep.json
mk.json = {}

---@class moonkeep.log
mk.log = {}

---@class moonkeep.pg
---@overload fun(what: table<string, string|integer|moonkeep.Secret>|string|moonkeep.Secret): moonkeep.Source
mk.pg = {}

---a job; raises `INVALID` with every mistake
---@param keys moonkeep.JobKeys
---@return moonkeep.Job
function mk.job(keys) end

---a task
---@param keys moonkeep.TaskKeys
---@return moonkeep.Job
function mk.task(keys) end

---a job that proves the backups of others again
---@param keys moonkeep.VerifyKeys
---@return moonkeep.Job
function mk.verify(keys) end

---rules for every job of a folder, in its `policy.lua`
---@param keys moonkeep.PolicyKeys
function mk.policy(keys) end

---a place for backups: `file:///var/backups/app`, `s3://bucket/prefix`
---@param name string
---@param url string
---@param options? moonkeep.StoreKeys|S3Keys
---@return moonkeep.Store
function mk.store(name, url, options) end

---a throwaway cluster, removed when its block is left
---@param options? moonkeep.ScratchKeys
---@return moonkeep.Cluster
function mk.pg.scratch(options) end

---an environment variable; no child process inherits it any more
---@param name string
---@return moonkeep.Secret
function mk.secret.env(name) end

---the text of a file
---@param path string
---@return moonkeep.Secret
function mk.secret.file(path) end

---what a program prints
---@param argv string[]
---@return moonkeep.Secret
function mk.secret.cmd(argv) end

---a file of age's private keys, by which encrypted backups can be read in this recipe
---@param identity moonkeep.Secret
function mk.identity(identity) end

---a systemd credential
---@param name string
---@return moonkeep.Secret
function mk.secret.credential(name) end

---An HTTP endpoint of your own.
---@param options moonkeep.NotifyWebhookKeys|string|moonkeep.Secret
---@return moonkeep.Notifier
function mk.notify.webhook(options) end

---A channel of Slack, Mattermost or Rocket.Chat, by an incoming webhook.
---@param options moonkeep.NotifySlackKeys|string|moonkeep.Secret
---@return moonkeep.Notifier
function mk.notify.slack(options) end

---Mail, by an SMTP server.
---@param options moonkeep.NotifyEmailKeys|string|moonkeep.Secret
---@return moonkeep.Notifier
function mk.notify.email(options) end

---A check of healthchecks.io, or of one's own instance: it hears of every start and end.
---@param options moonkeep.NotifyHealthchecksKeys|string|moonkeep.Secret
---@return moonkeep.Notifier
function mk.notify.healthchecks(options) end

---A program: it reads the message, or what `template` returns, and has the event in its environment (`MOONKEEP_KIND`, `MOONKEEP_JOB`, `MOONKEEP_TITLE`, `MOONKEEP_EVENT` as JSON).
---@param options moonkeep.NotifyCommandKeys|string|moonkeep.Secret
---@return moonkeep.Notifier
function mk.notify.command(options) end

---a text
---@type moonkeep.Arg
mk.arg.string = nil

---a whole number
---@type moonkeep.Arg
mk.arg.integer = nil

---a number
---@type moonkeep.Arg
mk.arg.number = nil

---true or false
---@type moonkeep.Arg
mk.arg.boolean = nil

---`90m`
---@type moonkeep.Arg
mk.arg.duration = nil

---`64MiB`
---@type moonkeep.Arg
mk.arg.size = nil

---`2026-11-22T02:00:00Z`; becomes seconds since 1970
---@type moonkeep.Arg
mk.arg.time = nil

---the name of a table
---@type moonkeep.Arg
mk.arg.table = nil

---the name of a database
---@type moonkeep.Arg
mk.arg.database = nil

---an absolute path
---@type moonkeep.Arg
mk.arg.path = nil

---one of a list of texts
---@param choices string[]
---@return moonkeep.Arg
function mk.arg.one_of(choices) end

---dump, compress, upload, verify as the job's keys say; options override them. With `databases` a list of backups; what was backed up of roles is `backup.roles`
---@param options? moonkeep.BackupKeys
---@return moonkeep.Backup
function Context:backup(options) end

---describes a dump without starting it
---@param options? moonkeep.DumpOfKeys
---@return moonkeep.Stream
function Context:dump(options) end

---decorates a stream
---@param stream moonkeep.Stream
---@param codec moonkeep.Codec
---@return moonkeep.Stream
function Context:compress(stream, codec) end

---moves the bytes and publishes: `{ id, job, series, manifest, stores, proof, missing, rows }`; `missing` are the stores that have no copy, `{ store, error }`; `rows["public.orders"]` how many rows a table had
---@param stream moonkeep.Stream
---@param stores? moonkeep.Store[]
---@return moonkeep.Backup
function Context:upload(stream, stores) end

---copies it into more stores, byte for byte
---@param backup moonkeep.Backup
---@param stores moonkeep.Store[]
---@return moonkeep.Backup
function Context:copy(backup, stores) end

---reads it again, in each of its stores
---@param backup moonkeep.Backup
---@param level moonkeep.Level
---@return moonkeep.Backup
function Context:verify(backup, level) end

---restores it, or a part of it; see [ctx:restore](#ctxrestore)
---@param backup moonkeep.Backup
---@param options moonkeep.RestoreKeys
---@return moonkeep.Source
function Context:restore(backup, options) end

---compares two databases, or a database and a backup: objects, rows, sequences, settings, extensions, roles; raises `DIFFERENT` with every difference
---@param a moonkeep.Source|moonkeep.Backup
---@param b moonkeep.Source|moonkeep.Backup
---@return integer tables
---@return integer rows
function Context:compare(a, b) end

---looks a database over, after a restore: counts rows, finds the latest ones, and raises `CHECK_FAILED` with all that is not sound; `{ tables = { { schema, name, rows, latest, latest_column, expected } ... }, rows, bytes, problems }`
---@param source moonkeep.Source
---@param options? moonkeep.CheckupKeys
---@return table report
function Context:checkup(source, options) end

---raises `CHECK_FAILED` unless `a op b` holds
---@param what string
---@param a any
---@param op "=="|"~="|"<"|"<="|">"|">="
---@param b any
function Context:check(what, a, op, b) end

---asks whoever runs this to type the name; raises `NOT_CONFIRMED`
---@param action string
---@param name string
function Context:confirm(action, name) end

---a line on stdout
---@param text any
---@param ... any
function Context:show(text, ...) end

---a connection, closed when its block is left
---@param options? moonkeep.ConnectKeys
---@return moonkeep.Connection
function Source:connect(options) end

---the same server with other keys
---@param keys table<string, string|integer|moonkeep.Secret>
---@return moonkeep.Source
function Source:with(keys) end

---for client programs: a conninfo without the password, and the environment that has it
---@return string conninfo
---@return table<string, string> env
function Source:for_program() end

---rows as tables by column name, and `affected`; parameters are `$1`, `$2`, ...
---@param sql string
---@param ... string|number|boolean|nil
---@return table[] rows
function Connection:query(sql, ...) end

---the first row
---@param sql string
---@param ... string|number|boolean|nil
---@return table?
function Connection:row(sql, ...) end

---the only column of the first row
---@param sql string
---@param ... string|number|boolean|nil
---@return any
function Connection:value(sql, ...) end

---BEGIN ... COMMIT, any error rolls back
---@param options moonkeep.TransactionKeys|fun(connection: moonkeep.Connection)
---@param fn? fun(connection: moonkeep.Connection)
---@return any
function Connection:transaction(options, fn) end

---the server's major version
---@return integer
function Connection:major() end

---closes it
function Connection:close() end

---one of its databases
---@param name string
---@return moonkeep.Source
function Cluster:database(name) end

---a new one
---@param name string
---@return moonkeep.Source
function Cluster:create_database(name) end

---runs a file of SQL with psql
---@param source moonkeep.Source
---@param file string
function Cluster:load(source, file) end

---stops and removes it
function Cluster:close() end

---the newest backup
---@param job string
---@param series string
---@return moonkeep.Backup?
---@return string? why
function Store:latest(job, series) end

---a backup by its id
---@param job string
---@param series string
---@param id string
---@return moonkeep.Backup
function Store:backup(job, series, id) end

---the jobs that have backups here
---@return string[]
function Store:jobs() end

---the series of a job
---@param job string
---@return string[]
function Store:series(job) end

---ids, oldest first
---@param job string
---@param series string
---@return string[]
function Store:list(job, series) end

---the manifest of a backup
---@param job string
---@param series string
---@param id string
---@return table
function Store:manifest(job, series, id) end

---runs them at once, returns their results in order
---@param functions (fun(): any)[]
---@return any ...
function mk.all(functions) end

---fn(item, index) for each, at most `parallel` at a time
---@param list any[]
---@param options moonkeep.EachKeys|fun(item: any, index: integer): any
---@param fn? fun(item: any, index: integer): any
---@return any[]
function mk.each(list, options, fn) end

---waits
---@param duration moonkeep.Duration
function mk.sleep(duration) end

---fn's results, or raises `TIMEOUT`
---@param duration moonkeep.Duration
---@param fn fun(...): ...
---@param ... any
---@return any ...
function mk.timeout(duration, fn, ...) end

---holds cancellation off while fn runs, for closers that must wait (default limit 10s)
---@param fn fun(): ...
---@param limit? moonkeep.Duration
---@return any ...
function mk.shield(fn, limit) end

---sources `copy`, `file`, `process`, `memory`, `mk.http.source`; transforms `encode`, `decode`; `tee`; sinks `copy`, `file`, `process`, `sha256`, `xxh3`, `null`
---@param stages table[]
---@param options? { title?: string, total?: integer, independent?: boolean }
---@return table<string, moonkeep.FlowReport>
function mk.flow.run(stages, options) end

---takes a codec apart
---@param spec moonkeep.Codec
---@return string name
---@return integer level
---@return string suffix
function mk.flow.codec(spec) end

---bytes of the block pool
---@return integer in_use
---@return integer peak
function mk.flow.memory() end

---runs a program to its end; raises `PROCESS_FAILED`
---@param options moonkeep.ProcessKeys
---@return string stdout
function mk.process.run(options) end

---starts one
---@param options moonkeep.ProcessKeys
---@return moonkeep.Child
function mk.process.spawn(options) end

---our user
---@return integer
function mk.process.uid() end

---our process
---@return integer
function mk.process.pid() end

---its process
---@return integer
function Child:pid() end

---whether it still runs
---@return boolean
function Child:running() end

---sends a signal
---@param signal "TERM"|"INT"|"QUIT"|"KILL"
function Child:kill(signal) end

---waits for its end
---@return integer code
---@return string stderr
function Child:wait() end

---ends it
function Child:close() end

---an HTTP request: `{ status, headers, body }` and `json()`; names of headers are in lower case. Raises `HTTP_STATUS`, `NETWORK`, `TIMEOUT`, `TLS`
---@param options moonkeep.HttpKeys
---@return moonkeep.Answer
function mk.http.request(options) end

---the same
---@param url string|moonkeep.Secret
---@param options? moonkeep.HttpKeys
---@return moonkeep.Answer
function mk.http.get(url, options) end

---the same
---@param url string|moonkeep.Secret
---@param options? moonkeep.HttpKeys
---@return moonkeep.Answer
function mk.http.post(url, options) end

---the source of a flow; an answer that is cut off goes on where it was
---@param url string|moonkeep.Secret
---@param options? moonkeep.HttpKeys
---@return table stage
function mk.http.source(url, options) end

---its body, decoded
---@return any
function Answer:json() end

---the table of contents of an archive of pg_dump's: a directory, a custom or a tar file. `archive.entries` has `id`, `kind`, `schema`, `name`, `owner`, `section`, `needs` and more; raises `CORRUPT`, `UNSUPPORTED`
---@param path string
---@return table archive
function mk.toc.open(path) end

---the same of its bytes
---@param text string
---@return table archive
function mk.toc.read(text) end

---its bytes
---@param archive table
---@return string
function mk.toc.write(archive) end

---the entries that restore these tables, with all they need
---@param archive table
---@param tables string|string[]
---@param dependencies? boolean
---@return table[] entries
function mk.toc.choose(archive, tables, dependencies) end

---each after what it depends on
---@param entries table[]
---@return table[] entries
function mk.toc.order(entries) end

---as `pg_restore --list` shows them
---@param entries table[]
---@return string[]
function mk.toc.lines(entries) end

---a file of at most 16 MiB
---@param path string
---@return string
function mk.fs.read(path) end

---durable; mode 0600; with `exclusive` raises `ALREADY_EXISTS`
---@param path string
---@param text string
---@param mode? integer
---@param exclusive? boolean
function mk.fs.write(path, text, mode, exclusive) end

---with its parents; mode 0700
---@param path string
---@param mode? integer
function mk.fs.mkdir(path, mode) end

---a file, or a folder with all in it
---@param path string
function mk.fs.remove(path) end

---replaces what is there
---@param from string
---@param to string
function mk.fs.rename(from, to) end

---how many bytes can be written there
---@param path string
---@return integer
function mk.fs.space(path) end

---the names in a folder
---@param path string
---@return string[]
function mk.fs.list(path) end

---what is there
---@param path string
---@return moonkeep.FileStat?
function mk.fs.stat(path) end

---whether something is there
---@param path string
---@return boolean
function mk.fs.exists(path) end

---the path without links
---@param path string
---@return string
function mk.fs.realpath(path) end

---a closable lock; nil when another process has it
---@param path string
---@return table?
function mk.fs.lock(path) end

---a closable temporary folder
---@return { path: string }
function mk.fs.tempdir() end

---a folder; ends with XXXXXX
---@param template string
---@return string
function mk.fs.mkdtemp(template) end

---gives it to a user
---@param path string
---@param user string
function mk.fs.chown(path, user) end

---milliseconds for durations
---@return integer
function mk.clock.monotonic() end

---milliseconds since 1970 UTC
---@return integer
function mk.clock.wall() end

---"2026-11-22T02:00:00Z", of seconds since 1970, or now
---@param time? integer
---@return string
function mk.clock.iso(time) end

---"20261122T020000Z"
---@return string
function mk.clock.compact() end

---integers stay exact
---@param value any
---@param pretty? boolean
---@return string
function mk.json.encode(value, pretty) end

---the other way
---@param text string
---@return any
function mk.json.decode(text) end

---a list that is one also when it is empty
---@param list table
---@return table
function mk.json.array(list) end

---shown with -v
---@param text string
---@param ... any
function mk.log.debug(text, ...) end

---a message; arguments as for string.format
---@param text string
---@param ... any
function mk.log.info(text, ...) end

---a warning
---@param text string
---@param ... any
function mk.log.warn(text, ...) end

---an error
---@param text string
---@param ... any
function mk.log.error(text, ...) end

---a line on stdout
---@param text any
---@param ... any
function mk.log.show(text, ...) end

---an event of its own
---@param event table
---@param important? boolean
function mk.log.event(event, important) end

---raises an error value
---@param code string
---@param message string
---@param fields? { hint?: string, detail?: string }
function mk.error(code, message, fields) end

return mk
