--- The command line: every command, its arguments and options, with what `--help`, the man page,
--- the completion and docs/reference/commands.md say of them.
---
--- Arguments are { name, doc, args = "?" | "*" | "+" }; options { "-s --long", doc, value = "NAME",
--- many, one_of, default }. Without `value` an option is a flag.
local tables = require "moonkeep.definitions.tables"

local M = {}

local WHERE = { "--from", "where the backups are: a recipe, a folder of recipes, or a store (its " ..
  "URL or its folder)",
  value = "WHERE", default = "$MOONKEEP_FROM, else the recipes of the current folder" }
local JOB = { "--job", "only backups of this job", value = "NAME" }
local SERIES = { "--series", "only backups of this database (or `_globals`)", value = "NAME" }
local STORE = { "--store", "with a recipe: only this store of it", value = "NAME" }
local SET = { "-s --set", "a key of the job, such as compress=gzip:6 or dump.format=plain, or an " ..
  "argument of the task; may be given several times", value = "KEY=VALUE", many = true }
local JSON = { "--json", "print one JSON document instead of text" }
local KEYS = {
  { "--identity", "open what is encrypted with the private keys of this file, and no others",
    value = "FILE", many = true, default = "$MOONKEEP_IDENTITY, and the recipe's" },
  { "--trust", "believe only what this public key of minisign's has signed", value = "KEY",
    many = true },
}
local TRUST = KEYS[2]
local RUNS = {
  { "--watchdog", "how long a recipe may compute without waiting", value = "DURATION",
    default = "10s" },
  { "--lua-memory", "how much memory Lua may use", value = "SIZE", default = "128MiB" },
}

--- Options of every command.
M.common = {
  { "-q --quiet", "only warnings, errors and what was asked for" },
  { "-v --verbose", "debug messages and tracebacks too" },
  { "--log-format", "messages as text for people or as JSON lines", value = "FORMAT",
    one_of = { "human", "json" },
    default = "human on a terminal; json otherwise for run, verify, copy and restore" },
  { "-h --help", "show this help" },
}

M.exits = {
  { 0, "ok" }, { 1, "failed" }, { 2, "wrong usage, or a mistake in a recipe" },
  { 3, "degraded: fewer copies than there should be (run); warnings only (doctor)" },
  { 4, "skipped: the job was still running" }, { 5, "stale, or lost (status)" },
  { "128+n", "stopped by signal n" },
}

M.environment = {
  { "MOONKEEP_FROM", "default of --from" },
  { "MOONKEEP_STATE", "folder of the catalog, locks and run logs; default /var/lib/moonkeep for " ..
    "root, else $XDG_STATE_HOME/moonkeep (~/.local/state/moonkeep)" },
  { "MOONKEEP_PG_PATH", "folders with PostgreSQL's programs, separated by colons, searched first" },
  { "PGHOST, PGPORT, PGUSER, ...", "libpq's variables, ~/.pgpass and service files all count" },
  { "MOONKEEP_IDENTITY", "the path of a file of age's private keys, for encrypted backups" },
  { "MOONKEEP_PASSPHRASE", "a passphrase of encrypted backups" },
  { "NO_COLOR", "no colours, whatever the terminal" },
}

local function options(...)
  local all = {}
  for _, item in ipairs { ... } do
    if type(item[1]) == "table" then
      table.move(item, 1, #item, #all + 1, all)
    else
      all[#all + 1] = item
    end
  end
  return all
end

local RECIPES = { "recipe", "recipes, or folders of recipes", args = "*" }
local RECIPE = { "recipe", "the recipe", args = "?" }
local JOBS = { "job", "only these jobs, or this task, of the recipe", args = "*" }
local BACKUP_ID = { "backup", "an id, its end (`3f9a2c`) or beginning, or `latest`" }

local AD_HOC = {
  { "--source", "without a recipe: the database to back up, as libpq's keys or a URI",
    value = "CONNECTION" },
  { "--to", "without a recipe: the store", value = "URL", many = true },
}

M.list = {
  { "run", "Runs the jobs of a recipe, or one of its tasks.",
    arguments = { RECIPE, JOBS },
    options = options(SET, AD_HOC, { "-n --dry-run", "the same as `plan`" },
      { "--yes", "the name that `ctx:confirm` would ask for", value = "NAME" }, JSON, RUNS),
    examples = {
      { "moonkeep run nightly.lua", "every job of the recipe" },
      { "moonkeep run nightly.lua nightly -s compress=zstd:9", "one job, with another key" },
      { "moonkeep run rescue.lua rescue-rows -s table=orders", "a task with its argument" },
      { "moonkeep run --source dbname=app --to file:///var/backups/app", "no recipe at all" },
    } },
  { "check", "Checks recipes without connecting to anything.",
    arguments = { RECIPES }, options = options(SET, JSON),
    examples = {
      { "moonkeep check", "the recipes of the current folder" },
      { "moonkeep check /etc/moonkeep", "all of a folder, with its policy.lua" },
    } },
  { "plan", "Shows what a run would do, without doing it.",
    arguments = { RECIPE, JOBS }, options = options(SET, AD_HOC, JSON),
    examples = { { "moonkeep plan nightly.lua", "what, where to, when, and what is there" } } },
  { "next", "Shows when jobs run next, in local time and UTC.",
    arguments = { RECIPES },
    options = options({ "-c --count", "how many times", value = "N", default = "5" },
      { "--after", "count from this time (2026-03-29T00:00:00Z) instead of now",
        value = "TIME" }, JSON),
    examples = { { "moonkeep next --count 5 nightly.lua", "the next five runs" } } },
  { "list", "Lists backups, newest last.",
    arguments = {}, options = options(WHERE, JOB, SERIES, STORE, TRUST, JSON),
    examples = {
      { "moonkeep list", "of the recipes of the current folder" },
      { "moonkeep list --from file:///var/backups/app --job nightly", "of a store" },
    } },
  { "show", "Shows all that is known of a backup.",
    arguments = { BACKUP_ID },
    options = options(WHERE, JOB, SERIES, STORE, KEYS,
      { "--contents", "the archive's table of contents, as pg_restore lists it" }, JSON),
    examples = {
      { "moonkeep show latest --from nightly.lua", "the newest" },
      { "moonkeep show 3f9a2c --contents", "what pg_restore -l would say" },
    } },
  { "history", "Shows how sizes and durations have gone, and what was unusual.",
    arguments = {}, options = options(WHERE, JOB, SERIES, STORE, TRUST,
      { "-c --count", "how many backups of each series", value = "N", default = "40" }, JSON),
    examples = { { "moonkeep history --from nightly.lua", "each series in two lines" } } },
  { "status", "Shows each job's last good backup; exits with 5 when one is stale or lost.",
    arguments = { RECIPES }, options = options({ "--notify", "tell whom a stale job's `notify` names" },
      JSON),
    examples = { { "moonkeep status /etc/moonkeep || page-somebody", "for monitoring" },
      { "moonkeep status --notify -q /etc/moonkeep", "every hour, by cron: finds what never began" },
    } },
  { "notify", "Tries, shows or sends the messages of jobs.",
    arguments = { { "what", "`test`: sends one to everybody whom a recipe names; `flush`: sends what " ..
      "waits; `list`: shows that", one_of = { "test", "flush", "list" } },
      { "recipe", "for `test`: the recipe", args = "?" } },
    options = options({ "--kind", "what the message of `test` is of", value = "KIND", one_of = {
      "failure", "degraded", "success", "recovered", "stale", "size", "skipped", "start" },
      default = "failure" }, JOB, JSON),
    examples = { { "moonkeep notify test nightly.lua", "does it arrive?" },
      { "moonkeep notify list", "what could not be delivered" } } },
  { "verify", "Proves backups again, in every store.",
    arguments = { { "backup", BACKUP_ID[2], args = "?" } },
    options = options(WHERE, JOB, SERIES, STORE, KEYS, { "--all", "every backup" },
      { "--level", "what to prove", value = "LEVEL", one_of = tables.LEVELS,
        default = "decoded" },
      { "--limit", "with --all: so much at most, those first that have not been proved for the " ..
        "longest: 10% of all bytes, 50GiB, or a number of copies", value = "HOW-MUCH" },
      { "--again", "with --all: only what has not been proved so for this long", value = "DURATION" },
      { "--repair", "replace a damaged copy by one of another store that is whole" }, JSON, RUNS),
    examples = {
      { "moonkeep verify --all --level read --limit 10% --repair", "every night: all of them in ten" },
      { "moonkeep verify latest", "decompress it and read its table of contents" },
      { "moonkeep verify latest --level restored", "restore it into a server of its own, and compare" },
      { "moonkeep verify --all --level read --from file:///var/backups/app",
        "read every byte of all of them" },
    } },
  { "copy", "Copies backups into stores that have none, byte for byte.",
    arguments = { { "backup", BACKUP_ID[2], args = "?" } },
    options = options(WHERE, JOB, SERIES, TRUST, { "--all", "every backup that a store lacks" },
      { "--to", "the store: its name in the recipe, its URL, or its folder", value = "STORE",
        default = "every store of the backup's job" },
      { "-n --dry-run", "say what would be copied, and do nothing" }, JSON, RUNS),
    examples = {
      { "moonkeep copy --all --from nightly.lua", "complete what a dead store has missed" },
      { "moonkeep copy latest --to /mnt/usb/backups", "one more copy, somewhere else" },
    } },
  { "prune", "Removes backups that `keep` does not want, and says why each stays or goes.",
    arguments = { RECIPES },
    options = options(JOB, STORE, { "-n --dry-run", "say what would go, and do nothing" }, JSON, RUNS),
    examples = {
      { "moonkeep prune nightly.lua --dry-run", "every backup, and why it stays or goes" },
      { "moonkeep prune nightly.lua --store disk", "the way out of a full disk; runs prune by " ..
        "themselves, but only after they went well" },
    } },
  { "hold", "Keeps a backup from expiring.",
    arguments = { BACKUP_ID },
    options = options(WHERE, JOB, SERIES, STORE, TRUST,
      { "--until", "until when, such as 2027-06-30; the clock is the one of who prunes", value = "TIME",
        default = "for ever" },
      { "--reason", "why, for whoever asks later", value = "TEXT" }, JSON, RUNS),
    examples = { { "moonkeep hold 3f9a2c --until 2027-06-30 --reason \"audit 2026\"",
      "in every store that has it" } } },
  { "release", "Ends what `hold` has begun.",
    arguments = { BACKUP_ID },
    options = options(WHERE, JOB, SERIES, STORE, JSON, RUNS),
    examples = { { "moonkeep release 3f9a2c", "it expires when the rules say so" } } },
  { "keygen", "Makes a key: to encrypt backups to, or to sign them with.",
    arguments = { { "file", "where the private key goes: it must not exist, and is readable for you " ..
      "only" } },
    options = options({ "--sign", "for signatures (minisign), not for encryption (age)" }, JSON),
    examples = {
      { "moonkeep keygen /root/backup-key.txt", "prints the public key, for `encrypt`" },
      { "moonkeep keygen --sign /etc/moonkeep/sign.key", "prints the public key, for `trust`" },
    } },
  { "rekey", "Seals the keys of encrypted backups to the recipients that their job has now.",
    arguments = { { "backup", BACKUP_ID[2], args = "?" } },
    options = options(WHERE, JOB, SERIES, STORE, { "--all", "every backup that is sealed to others" },
      { "--recipient", "without a recipe: a public key of age's", value = "KEY", many = true },
      { "--sign", "without a recipe: the file of the secret key that signs", value = "FILE" },
      KEYS, { "-n --dry-run", "say which would be, and do nothing" }, JSON, RUNS),
    examples = {
      { "moonkeep rekey --all --from nightly.lua --identity old-key.txt",
        "after `recipients` were changed" },
    } },
  { "adopt", "Takes over a job's backups that are of another cluster, or another machine's.",
    arguments = { RECIPES },
    options = options(JOB, STORE, JSON, RUNS),
    examples = { { "moonkeep adopt nightly.lua", "after pg_upgrade, or a restore elsewhere" } } },
  { "restore", "Restores a backup, or a part of it, into a database.",
    arguments = { BACKUP_ID },
    options = options(WHERE, JOB, SERIES, STORE, KEYS,
      { "--into", "the server, as libpq's keys or a URI", value = "CONNECTION", required = true },
      { "-d --database", "the database", value = "NAME", default = "the backup's own name" },
      { "-s --set", "an option of ctx:restore, such as table=orders or data_only=true; may be " ..
        "given several times", value = "KEY=VALUE", many = true },
      { "--existing", "what may be done to a database that is not empty", value = "WHAT",
        one_of = { "refuse", "add", "clean", "replace" }, default = "refuse" },
      { "--yes", "the database's name, as consent to change it when it is not empty",
        value = "NAME" },
      { "--resume", "go on where a restore of the same backup and options was interrupted; and " ..
        "when this one is, keep what it has for that" },
      { "-n --dry-run", "say what would be done, and do nothing" }, JSON, RUNS),
    examples = {
      { "moonkeep restore latest --from file:///var/backups/app --into host=db1",
        "a new database of the old name" },
      { "moonkeep restore latest --into dbname=postgres -d app_old",
        "beside the one that is in use" },
      { "moonkeep restore 3f9a2c --into host=db1 -d app -s table=orders -s data_only=true " ..
        "--existing add --yes app", "the rows of one table" },
    } },
  { "compare", "Compares two databases, or a database and a backup.",
    arguments = { { "first", "a connection, as libpq's keys or a URI; or a backup: an id or `latest`" },
      { "second", "the same" } },
    options = options(WHERE, JOB, SERIES, STORE, KEYS, { "-j --jobs", "connections to each database",
      value = "N", default = "2" }, JSON, RUNS),
    examples = {
      { "moonkeep compare 'host=db1 dbname=app' 'host=db2 dbname=app'",
        "exits with 1, and names what differs, if they are not the same" },
      { "moonkeep compare latest dbname=app_restored --from file:///var/backups/app",
        "what a restore has made of a backup" },
    } },
  { "checkup", "Looks a database over: rows, latest records, what is not sound.",
    arguments = { { "database", "a connection, as libpq's keys or a URI" } },
    options = options({ "--backup", "the backup whose rows it should have: an id or `latest`",
      value = "BACKUP" }, WHERE, JOB, SERIES, STORE, KEYS, { "-j --jobs", "connections", value = "N",
      default = "2" }, JSON, RUNS),
    examples = {
      { "moonkeep checkup dbname=app_restored", "counts, the latest created_at, invalid indexes ..." },
      { "moonkeep checkup dbname=app_restored --backup latest --from file:///var/backups/app",
        "exits with 1 unless it has the backup's rows" },
    } },
  { "init", "Writes a first recipe, with types for editors.",
    module = "setup", arguments = { { "folder", "where", args = "?" } },
    options = options({ "--source", "the database, as libpq's keys or a URI",
      value = "CONNECTION" }, { "--to", "the store", value = "URL" },
      { "--name", "the job's name", value = "NAME", default = "nightly" }, JSON),
    examples = {
      { "moonkeep init", "asks for a connection and a place" },
      { "moonkeep init backups --source dbname=app --to file:///var/backups/app",
        "asks nothing" },
    } },
  { "doctor", "Looks for what would keep jobs from working, and says how to mend it.",
    arguments = { RECIPE, JOBS }, options = options(SET, AD_HOC, JSON),
    examples = { { "moonkeep doctor nightly.lua", "before the first night" } } },
  { "ls", "Lists the tables of a backup, with their rows.",
    arguments = { BACKUP_ID }, options = options(WHERE, JOB, SERIES, STORE, KEYS, JSON),
    examples = { { "moonkeep ls latest", "what is in it, and how much" } } },
  { "cat", "Writes the rows of one table of a backup, with no server.",
    arguments = { BACKUP_ID, { "table", "`name` or `schema.name`" } },
    options = options(WHERE, JOB, SERIES, STORE, KEYS,
      { "--where-key", "only rows with this value: COLUMN=VALUE, or only VALUE of the primary key; " ..
        "several must all fit", value = "VALUE", many = true },
      { "--csv", "as CSV with a line of names, not in COPY's text format" }, RUNS),
    examples = {
      { "moonkeep cat latest orders --where-key 4711", "what an order was last night" },
      { "moonkeep cat latest orders --csv >orders.csv", "for a spreadsheet" },
      { "moonkeep cat 3f9a2c app.orders | psql -d app -c 'COPY app.orders FROM STDIN'",
        "back into a table" },
    } },
  { "export", "Writes a backup for PostgreSQL's own programs, or schedules for others.",
    arguments = { { "what", "a backup: an id or `latest`; or `cron` or `systemd`, for the " ..
      "schedules of recipes" },
      { "recipe", "of schedules: recipes, or folders of recipes", args = "*" } },
    options = options(WHERE, JOB, SERIES, STORE, KEYS,
      { "--format", "of a backup: `custom` and `sql` go to stdout, a `directory` to --output",
        value = "FORMAT", one_of = { "custom", "sql", "directory" }, default = "custom" },
      { "--output", "the folder to write: of a backup, or with systemd of the units",
        value = "FOLDER" }, RUNS, JSON,
      { "--user", "who runs it: the units' user; with cron, for /etc/cron.d", value = "NAME" }),
    examples = {
      { "moonkeep export latest | pg_restore --dbname=app_copy", "with no disk between" },
      { "moonkeep export latest --format sql >app.sql", "as pg_restore would write it" },
      { "moonkeep export latest --format directory --output app.dir", "for pg_restore --jobs" },
      { "moonkeep export cron /etc/moonkeep --user backup", "lines for /etc/cron.d" },
      { "moonkeep export systemd nightly.lua --output /etc/systemd/system", "services and timers" },
    } },
  { "import", "Takes over a dump that pg_dump has made, with a manifest and a proof.",
    arguments = { { "file", "in custom, tar, plain or directory format; also compressed by gzip, " ..
      "zstd or lz4" } },
    options = options({ "--to", "the store", value = "URL", many = true },
      { "--job", "the job that it is to be of", value = "NAME", default = "imported" },
      { "-d --database", "the database it is of, when it does not say it (plain SQL)", value = "NAME" },
      { "--at", "when it was made (2026-11-22T02:00:00Z), when it does not say it, or wrongly",
        value = "TIME" },
      { "--compress", "how what is not compressed is stored", value = "CODEC", default = "zstd:1" },
      { "--level", "what to prove", value = "LEVEL", one_of = tables.LEVELS, default = "decoded" },
      { "--recipient", "encrypt it to this public key of age's", value = "KEY", many = true }, KEYS[1],
      { "--sign", "sign it with the secret key in this file", value = "FILE" }, JSON, RUNS),
    examples = {
      { "moonkeep import app.dump --to /var/backups/app --job nightly", "a file of pg_dump -Fc" },
      { "moonkeep import app.sql.gz --to /var/backups/app -d app --level restored",
        "SQL, restored into a server of its own" },
    } },
  { "catalog", "Makes the catalog anew from what the stores hold.",
    arguments = { { "what", "`rebuild`", one_of = { "rebuild" } }, RECIPES },
    options = options(JSON),
    examples = { { "moonkeep catalog rebuild /etc/moonkeep", "after its file was lost" } } },
  { "version", "Prints the version.", arguments = {}, options = options(JSON), examples = {} },
  { "completion", "Prints the completion script for a shell.",
    arguments = { { "shell", "`bash`, `zsh` or `fish`", one_of = { "bash", "zsh", "fish" } } },
    options = {},
    examples = { { "moonkeep completion bash >/etc/bash_completion.d/moonkeep", "" } } },
  { "man", "Prints the manual page.", arguments = {}, options = {},
    examples = { { "moonkeep man >/usr/local/share/man/man1/moonkeep.1", "" } } },
}

--- The command of that name, or nil.
function M.find(name)
  for _, command in ipairs(M.list) do
    if command[1] == name then
      return command
    end
  end
end

return M
