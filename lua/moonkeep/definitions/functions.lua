--- Every function that a recipe can call: its parameters, what it returns, what it does. The types
--- for editors and the reference are made from it; tests compare it with what is really there.
---
--- A function is { name, doc, params = { "name: type" or "name?: type" }, returns = { "type name" } }.
--- Types are LuaLS's, without the prefix "moonkeep." for our own.
local function fn(name, params, returns, doc)
  return { name = name, params = params, returns = returns, doc = doc }
end

-- One for each service; the first of its options can be given by itself.
local notifiers = {}
for i, service in ipairs(require "moonkeep.notify.services") do
  local class = service.name:gsub("^%l", string.upper)
  local option = ("options: Notify%sKeys|string|Secret"):format(class)
  notifiers[i] = fn("mk.notify." .. service.name, { option }, { "Notifier" }, service.doc)
end

--- Groups, in the order of the reference: { title, note, functions }.
return {
  { title = "What a recipe returns", functions = {
    fn("mk.job", { "keys: JobKeys" }, { "Job" }, "a job; raises `INVALID` with every mistake"),
    fn("mk.task", { "keys: TaskKeys" }, { "Job" }, "a task"),
    fn("mk.verify", { "keys: VerifyKeys" }, { "Job" }, "a job that proves the backups of others again"),
    fn("mk.policy", { "keys: PolicyKeys" }, {}, "rules for every job of a folder, in its " ..
      "`policy.lua`"),
  } },
  { title = "Places", functions = {
    fn("mk.pg", { "what: table<string, string|integer|Secret>|string|Secret" }, { "Source" },
      "a database by libpq's keys, a conninfo string, a URI, or a secret that holds one of the " ..
      "two. Nothing is connected until asked"),
    fn("mk.store", { "name: string", "url: string", "options?: StoreKeys|S3Keys" }, { "Store" },
      "a place for backups: `file:///var/backups/app`, `s3://bucket/prefix`"),
    fn("mk.pg.scratch", { "options?: ScratchKeys" }, { "Cluster" }, "a throwaway cluster, removed " ..
      "when its block is left"),
  } },
  { title = "Secrets", note = "Opaque: they print redacted, are read when they are needed, and " ..
    "what has been read is kept out of logs, argument lists and manifests. They can stand for any " ..
    "of libpq's keys, and in the `env` of a process.", functions = {
    fn("mk.secret.env", { "name: string" }, { "Secret" }, "an environment variable; no child " ..
      "process inherits it any more"),
    fn("mk.secret.file", { "path: string" }, { "Secret" }, "the text of a file"),
    fn("mk.secret.cmd", { "argv: string[]" }, { "Secret" }, "what a program prints"),
    fn("mk.identity", { "identity: Secret" }, {}, "a file of age's private keys, by which encrypted " ..
      "backups can be read in this recipe"),
    fn("mk.secret.credential", { "name: string" }, { "Secret" }, "a systemd credential"),
  } },
  { title = "People", note = "For `notify` of a job. The first option can be given by itself: " ..
    "`mk.notify.slack(mk.secret.env \"SLACK_URL\")`.", functions = notifiers },
  { title = "Types of arguments", note = "For `args` of a task or job; each can be called to give " ..
    "options: `mk.arg.integer { default = 7, doc = \"days\" }`.", functions = {
    fn("mk.arg.one_of", { "choices: string[]" }, { "Arg" }, "one of a list of texts"),
  }, values = {
    { "mk.arg.string", "Arg", "a text" }, { "mk.arg.integer", "Arg", "a whole number" },
    { "mk.arg.number", "Arg", "a number" }, { "mk.arg.boolean", "Arg", "true or false" },
    { "mk.arg.duration", "Arg", "`90m`" }, { "mk.arg.size", "Arg", "`64MiB`" },
    { "mk.arg.time", "Arg", "`2026-11-22T02:00:00Z`; becomes seconds since 1970" },
    { "mk.arg.table", "Arg", "the name of a table" },
    { "mk.arg.database", "Arg", "the name of a database" },
    { "mk.arg.path", "Arg", "an absolute path" },
  } },
  { title = "ctx", note = "What `run`, `before` and `after` get.", functions = {
    fn("Context:backup", { "options?: BackupKeys" }, { "Backup" }, "dump, compress, upload, verify " ..
      "as the job's keys say; options override them. With `databases` a list of backups; what was " ..
      "backed up of roles is `backup.roles`"),
    fn("Context:dump", { "options?: DumpOfKeys" }, { "Stream" }, "describes a dump without starting " ..
      "it"),
    fn("Context:compress", { "stream: Stream", "codec: Codec" }, { "Stream" }, "decorates a stream"),
    fn("Context:upload", { "stream: Stream", "stores?: Store[]" }, { "Backup" }, "moves the bytes " ..
      "and publishes: `{ id, job, series, manifest, stores, proof, missing, rows }`; `missing` are " ..
      "the stores that have no copy, `{ store, error }`; `rows[\"public.orders\"]` how many rows a " ..
      "table had"),
    fn("Context:copy", { "backup: Backup", "stores: Store[]" }, { "Backup" }, "copies it into more " ..
      "stores, byte for byte"),
    fn("Context:verify", { "backup: Backup", "level: Level" }, { "Backup" }, "reads it again, in " ..
      "each of its stores"),
    fn("Context:restore", { "backup: Backup", "options: RestoreKeys" }, { "Source" }, "restores it, " ..
      "or a part of it; see [ctx:restore](#ctxrestore)"),
    fn("Context:compare", { "a: Source|Backup", "b: Source|Backup" },
      { "integer tables", "integer rows" }, "compares two databases, or a database and a backup: " ..
      "objects, rows, sequences, settings, extensions, roles; raises `DIFFERENT` with every difference"),
    fn("Context:checkup", { "source: Source", "options?: CheckupKeys" }, { "table report" },
      "looks a database over, after a restore: counts rows, finds the latest ones, and raises " ..
      "`CHECK_FAILED` with all that is not sound; `{ tables = { { schema, name, rows, latest, " ..
      "latest_column, expected } ... }, rows, bytes, problems }`"),
    fn("Context:check", { "what: string", "a: any", 'op: "=="|"~="|"<"|"<="|">"|">="', "b: any" },
      {}, "raises `CHECK_FAILED` unless `a op b` holds"),
    fn("Context:confirm", { "action: string", "name: string" }, {}, "asks whoever runs this to type " ..
      "the name; raises `NOT_CONFIRMED`"),
    fn("Context:show", { "text: any", "...: any" }, {}, "a line on stdout"),
  } },
  { title = "Databases", note = "bool, integers and floats become Lua values; everything else is " ..
    "text (numeric, to stay exact); NULL is an absent key.", functions = {
    fn("Source:connect", { "options?: ConnectKeys" }, { "Connection" }, "a connection, closed when " ..
      "its block is left"),
    fn("Source:with", { "keys: table<string, string|integer|Secret>" }, { "Source" }, "the same " ..
      "server with other keys"),
    fn("Source:for_program", {}, { "string conninfo", "table<string, string> env" }, "for client " ..
      "programs: a conninfo without the password, and the environment that has it"),
    fn("Connection:query", { "sql: string", "...: string|number|boolean|nil" }, { "table[] rows" },
      "rows as tables by column name, and `affected`; parameters are `$1`, `$2`, ..."),
    fn("Connection:row", { "sql: string", "...: string|number|boolean|nil" }, { "table?" },
      "the first row"),
    fn("Connection:value", { "sql: string", "...: string|number|boolean|nil" }, { "any" },
      "the only column of the first row"),
    fn("Connection:transaction", { "options: TransactionKeys|fun(connection: Connection)",
      "fn?: fun(connection: Connection)" }, { "any" }, "BEGIN ... COMMIT, any error rolls back"),
    fn("Connection:major", {}, { "integer" }, "the server's major version"),
    fn("Connection:close", {}, {}, "closes it"),
    fn("Cluster:database", { "name: string" }, { "Source" }, "one of its databases"),
    fn("Cluster:create_database", { "name: string" }, { "Source" }, "a new one"),
    fn("Cluster:load", { "source: Source", "file: string" }, {}, "runs a file of SQL with psql"),
    fn("Cluster:close", {}, {}, "stops and removes it"),
  } },
  { title = "Stores", note = "A series is a database's name, percent-encoded, or `_globals`.",
    functions = {
    fn("Store:latest", { "job: string", "series: string" }, { "Backup?", "string? why" },
      "the newest backup"),
    fn("Store:backup", { "job: string", "series: string", "id: string" }, { "Backup" },
      "a backup by its id"),
    fn("Store:jobs", {}, { "string[]" }, "the jobs that have backups here"),
    fn("Store:series", { "job: string" }, { "string[]" }, "the series of a job"),
    fn("Store:list", { "job: string", "series: string" }, { "string[]" }, "ids, oldest first"),
    fn("Store:manifest", { "job: string", "series: string", "id: string" }, { "table" },
      "the manifest of a backup"),
  } },
  { title = "Doing several things at once", note = "No task outlives the call that started it; the " ..
    "first error cancels the others and is raised.", functions = {
    fn("mk.all", { "functions: (fun(): any)[]" }, { "any ..." }, "runs them at once, returns their " ..
      "results in order"),
    fn("mk.each", { "list: any[]", "options: EachKeys|fun(item: any, index: integer): any",
      "fn?: fun(item: any, index: integer): any" }, { "any[]" }, "fn(item, index) for each, at " ..
      "most `parallel` at a time"),
    fn("mk.sleep", { "duration: Duration" }, {}, "waits"),
    fn("mk.timeout", { "duration: Duration", "fn: fun(...): ...", "...: any" }, { "any ..." },
      "fn's results, or raises `TIMEOUT`"),
    fn("mk.shield", { "fn: fun(): ...", "limit?: Duration" }, { "any ..." }, "holds cancellation " ..
      "off while fn runs, for closers that must wait (default limit 10s)"),
  } },
  { title = "Underneath", functions = {
    fn("mk.flow.run", { "stages: table[]",
      "options?: { title?: string, total?: integer, independent?: boolean }" },
      { "table<string, FlowReport>" }, "sources `copy`, `file`, `process`, `memory`, " ..
      "`mk.http.source`; transforms `encode`, `decode`; `tee`; sinks `copy`, `file`, `process`, " ..
      "`sha256`, `xxh3`, `null`"),
    fn("mk.flow.codec", { "spec: Codec" }, { "string name", "integer level", "string suffix" },
      "takes a codec apart"),
    fn("mk.flow.memory", {}, { "integer in_use", "integer peak" }, "bytes of the block pool"),
    fn("mk.process.run", { "options: ProcessKeys" }, { "string stdout" }, "runs a program to its " ..
      "end; raises `PROCESS_FAILED`"),
    fn("mk.process.spawn", { "options: ProcessKeys" }, { "Child" }, "starts one"),
    fn("mk.process.uid", {}, { "integer" }, "our user"),
    fn("mk.process.pid", {}, { "integer" }, "our process"),
    fn("Child:pid", {}, { "integer" }, "its process"),
    fn("Child:running", {}, { "boolean" }, "whether it still runs"),
    fn("Child:kill", { 'signal: "TERM"|"INT"|"QUIT"|"KILL"' }, {}, "sends a signal"),
    fn("Child:wait", {}, { "integer code", "string stderr" }, "waits for its end"),
    fn("Child:close", {}, {}, "ends it"),
    fn("mk.http.request", { "options: HttpKeys" }, { "Answer" }, "an HTTP request: `{ " ..
      "status, headers, body }` and `json()`; names of headers are in lower case. Raises " ..
      "`HTTP_STATUS`, `NETWORK`, `TIMEOUT`, `TLS`"),
    fn("mk.http.get", { "url: string|Secret", "options?: HttpKeys" }, { "Answer" }, "the same"),
    fn("mk.http.post", { "url: string|Secret", "options?: HttpKeys" }, { "Answer" }, "the same"),
    fn("mk.http.source", { "url: string|Secret", "options?: HttpKeys" }, { "table stage" }, "the " ..
      "source of a flow; an answer that is cut off goes on where it was"),
    fn("Answer:json", {}, { "any" }, "its body, decoded"),
    fn("mk.toc.open", { "path: string" }, { "table archive" }, "the table of contents of an archive " ..
      "of pg_dump's: a directory, a custom or a tar file. `archive.entries` has `id`, `kind`, " ..
      "`schema`, `name`, `owner`, `section`, `needs` and more; raises `CORRUPT`, `UNSUPPORTED`"),
    fn("mk.toc.read", { "text: string" }, { "table archive" }, "the same of its bytes"),
    fn("mk.toc.write", { "archive: table" }, { "string" }, "its bytes"),
    fn("mk.toc.choose", { "archive: table", "tables: string|string[]", "dependencies?: boolean" },
      { "table[] entries" }, "the entries that restore these tables, with all they need"),
    fn("mk.toc.order", { "entries: table[]" }, { "table[] entries" }, "each after what it depends on"),
    fn("mk.toc.lines", { "entries: table[]" }, { "string[]" }, "as `pg_restore --list` shows them"),
    fn("mk.fs.read", { "path: string" }, { "string" }, "a file of at most 16 MiB"),
    fn("mk.fs.write", { "path: string", "text: string", "mode?: integer", "exclusive?: boolean" },
      {}, "durable; mode 0600; with `exclusive` raises `ALREADY_EXISTS`"),
    fn("mk.fs.mkdir", { "path: string", "mode?: integer" }, {}, "with its parents; mode 0700"),
    fn("mk.fs.remove", { "path: string" }, {}, "a file, or a folder with all in it"),
    fn("mk.fs.rename", { "from: string", "to: string" }, {}, "replaces what is there"),
    fn("mk.fs.space", { "path: string" }, { "integer" }, "how many bytes can be written there"),
    fn("mk.fs.list", { "path: string" }, { "string[]" }, "the names in a folder"),
    fn("mk.fs.stat", { "path: string" }, { "FileStat?" }, "what is there"),
    fn("mk.fs.exists", { "path: string" }, { "boolean" }, "whether something is there"),
    fn("mk.fs.realpath", { "path: string" }, { "string" }, "the path without links"),
    fn("mk.fs.lock", { "path: string" }, { "table?" }, "a closable lock; nil when another process " ..
      "has it"),
    fn("mk.fs.tempdir", {}, { "{ path: string }" }, "a closable temporary folder"),
    fn("mk.fs.mkdtemp", { "template: string" }, { "string" }, "a folder; ends with XXXXXX"),
    fn("mk.fs.chown", { "path: string", "user: string" }, {}, "gives it to a user"),
    fn("mk.clock.monotonic", {}, { "integer" }, "milliseconds for durations"),
    fn("mk.clock.wall", {}, { "integer" }, "milliseconds since 1970 UTC"),
    fn("mk.clock.iso", { "time?: integer" }, { "string" }, '"2026-11-22T02:00:00Z", of seconds since ' ..
      "1970, or now"),
    fn("mk.clock.compact", {}, { "string" }, '"20261122T020000Z"'),
    fn("mk.json.encode", { "value: any", "pretty?: boolean" }, { "string" }, "integers stay exact"),
    fn("mk.json.decode", { "text: string" }, { "any" }, "the other way"),
    fn("mk.json.array", { "list: table" }, { "table" }, "a list that is one also when it is empty"),
    fn("mk.log.debug", { "text: string", "...: any" }, {}, "shown with -v"),
    fn("mk.log.info", { "text: string", "...: any" }, {}, "a message; arguments as for " ..
      "string.format"),
    fn("mk.log.warn", { "text: string", "...: any" }, {}, "a warning"),
    fn("mk.log.error", { "text: string", "...: any" }, {}, "an error"),
    fn("mk.log.show", { "text: any", "...: any" }, {}, "a line on stdout"),
    fn("mk.log.event", { "event: table", "important?: boolean" }, {}, "an event of its own"),
    fn("mk.error", { "code: string", "message: string",
      "fields?: { hint?: string, detail?: string }" }, {}, "raises an error value"),
  } },
}
