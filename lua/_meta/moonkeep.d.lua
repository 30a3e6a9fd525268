---@meta moonkeep
-- Types of everything that a recipe can call, for editors (LuaLS). tests/lua/meta_spec.lua checks
-- that nothing is missing here.

---@alias moonkeep.Duration string # "500ms", "30s", "90m", "3h", "2d"
---@alias moonkeep.Codec string # "none", "gzip:1".."gzip:9", "lz4:1".."lz4:12", "zstd:1".."zstd:19"
---@alias moonkeep.Level "stored"|"read"|"decoded"

---@class moonkeep.Error
---@field code string stable upper-case name, see docs/reference/events.md
---@field message string
---@field hint? string what to do
---@field detail? string
---@field sqlstate? string
---@field where? string recipe file and line
---@field also? moonkeep.Error[]

---@class moonkeep
local mk = {}

---@class moonkeep.JobKeys
---@field name string
---@field source? moonkeep.Source
---@field dump? { format?: "custom" }
---@field compress? moonkeep.Codec
---@field upload? moonkeep.Store[]
---@field verify? moonkeep.Level
---@field deadline? moonkeep.Duration
---@field run? fun(ctx: moonkeep.Context)

---@class moonkeep.Job

---Makes a job. Raises INVALID with every mistake in the table.
---@param keys moonkeep.JobKeys
---@return moonkeep.Job
function mk.job(keys) end

---@class moonkeep.Backup
---@field id string
---@field job string
---@field series string
---@field manifest table
---@field stores moonkeep.Store[]
---@field proof moonkeep.Level

---@class moonkeep.Stream

---@class moonkeep.Context
local Context = {}

---@param options? { source?: moonkeep.Source, dump?: table, compress?: moonkeep.Codec, upload?: moonkeep.Store[], verify?: moonkeep.Level }
---@return moonkeep.Backup
function Context:backup(options) end

---@param options? { source?: moonkeep.Source, dump?: table }
---@return moonkeep.Stream
function Context:dump(options) end

---@param stream moonkeep.Stream
---@param codec moonkeep.Codec
---@return moonkeep.Stream
function Context:compress(stream, codec) end

---@param stream moonkeep.Stream
---@param targets? moonkeep.Store[]
---@return moonkeep.Backup
function Context:upload(stream, targets) end

---@param backup moonkeep.Backup
---@param level moonkeep.Level
---@return moonkeep.Backup
function Context:verify(backup, level) end

---@param backup moonkeep.Backup
---@param options { into: moonkeep.Source, database: string, no_owner?: boolean, no_privileges?: boolean }
---@return moonkeep.Source
function Context:restore(backup, options) end

---@param a moonkeep.Source
---@param b moonkeep.Source
---@return integer tables
---@return integer rows
function Context:compare(a, b) end

---@param what string
---@param a any
---@param op "=="|"~="|"<"|"<="|">"|">="
---@param b any
function Context:check(what, a, op, b) end

---@param text any
---@param ... any
function Context:show(text, ...) end

---@class moonkeep.Source
local Source = {}

---@param options? { timeout?: moonkeep.Duration }
---@return moonkeep.Connection
function Source:connect(options) end

---@param keys table<string, string|integer>
---@return moonkeep.Source
function Source:with(keys) end

---For client programs: a conninfo without the password, and the environment that has it.
---@return string conninfo
---@return table<string, string> env
function Source:for_program() end

---@class moonkeep.Connection
local Connection = {}

---@param sql string
---@param ... string|number|boolean|nil
---@return table[] rows with `affected`
function Connection:query(sql, ...) end

---@param sql string
---@param ... string|number|boolean|nil
---@return table?
function Connection:row(sql, ...) end

---@param sql string
---@param ... string|number|boolean|nil
---@return any
function Connection:value(sql, ...) end

---@overload fun(self: moonkeep.Connection, fn: fun(connection: moonkeep.Connection): ...): ...
---@param options { isolation?: "read committed"|"repeatable read"|"serializable", read_only?: boolean }
---@param fn fun(connection: moonkeep.Connection): ...
---@return ...
function Connection:transaction(options, fn) end

---@return integer
function Connection:major() end

function Connection:close() end

---@class moonkeep.Cluster
---@field folder string its data and its socket
---@field major integer
local Cluster = {}

---@param name string
---@return moonkeep.Source
function Cluster:database(name) end

---@param name string
---@return moonkeep.Source
function Cluster:create_database(name) end

---@param source moonkeep.Source
---@param file string
function Cluster:load(source, file) end

function Cluster:close() end

---@class moonkeep.pg
---@overload fun(what: table<string, string|integer>|string): moonkeep.Source
mk.pg = {}

---@param options? { major?: integer, settings?: table<string, string|integer> }
---@return moonkeep.Cluster
function mk.pg.scratch(options) end

---@class moonkeep.Store
---@field name string
local Store = {}

---@param job string
---@param series string
---@return string[] ids oldest first
function Store:list(job, series) end

---@param job string
---@param series string
---@param id string
---@return table
function Store:manifest(job, series, id) end

---@param job string
---@param series string
---@return moonkeep.Backup?
---@return string? why
function Store:latest(job, series) end

---@param name string
---@param url string "file:///var/backups/app"
---@return moonkeep.Store
function mk.store(name, url) end

---@param duration moonkeep.Duration
function mk.sleep(duration) end

---@param functions (fun(): any)[]
---@return any ...
function mk.all(functions) end

---@overload fun(list: any[], fn: fun(item: any, index: integer): any): any[]
---@param list any[]
---@param options { parallel?: integer }
---@param fn fun(item: any, index: integer): any
---@return any[]
function mk.each(list, options, fn) end

---@param duration moonkeep.Duration
---@param fn fun(...): ...
---@param ... any
---@return ...
function mk.timeout(duration, fn, ...) end

---@param fn fun(): ...
---@param limit? moonkeep.Duration default "10s"
---@return ...
function mk.shield(fn, limit) end

---@class moonkeep.flow
mk.flow = {}

---@param stages table[]
---@param options? { title?: string, independent?: boolean }
---@return table<string, { bytes_in: integer, bytes_out: integer, result?: string, error?: moonkeep.Error }>
function mk.flow.run(stages, options) end

---@param spec moonkeep.Codec
---@return string name
---@return integer level
---@return string suffix
function mk.flow.codec(spec) end

---@return integer in_use bytes
---@return integer peak bytes
function mk.flow.memory() end

---@class moonkeep.Command
---@field argv string[]
---@field env? table<string, string|false>
---@field cwd? string
---@field user? string

---@class moonkeep.process
mk.process = {}

---@param options moonkeep.Command | { stdin?: string }
---@return string stdout
function mk.process.run(options) end

---@class moonkeep.Child
local Child = {}
---@return integer
function Child:pid() end
---@return boolean
function Child:running() end
---@param signal "TERM"|"INT"|"QUIT"|"KILL"
function Child:kill(signal) end
---@return integer code
---@return string stderr
function Child:wait() end
function Child:close() end

---@param options moonkeep.Command
---@return moonkeep.Child
function mk.process.spawn(options) end

---@return integer
function mk.process.uid() end

---@return integer
function mk.process.pid() end

---@class moonkeep.fs
mk.fs = {}

---@param path string
---@return string
function mk.fs.read(path) end

---Durable; with `exclusive` raises ALREADY_EXISTS.
---@param path string
---@param text string
---@param mode? integer default 0600
---@param exclusive? boolean
function mk.fs.write(path, text, mode, exclusive) end

---@param path string
---@param mode? integer default 0700
function mk.fs.mkdir(path, mode) end

---@param path string
function mk.fs.remove(path) end

---@param path string
---@return string[]
function mk.fs.list(path) end

---@param path string
---@return { size: integer, mode: integer, uid: integer, mtime: integer, type: "file"|"directory"|"other" }?
function mk.fs.stat(path) end

---@param path string
---@return boolean
function mk.fs.exists(path) end

---@param path string
---@return string
function mk.fs.realpath(path) end

---@param path string
---@return table? lock closable; nil when another process has it
function mk.fs.lock(path) end

---@return { path: string } closable
function mk.fs.tempdir() end

---@param template string ends with XXXXXX
---@return string
function mk.fs.mkdtemp(template) end

---@param path string
---@param user string
function mk.fs.chown(path, user) end

---@class moonkeep.clock
mk.clock = {}
---@return integer milliseconds
function mk.clock.monotonic() end
---@return integer milliseconds since 1970 UTC
function mk.clock.wall() end
---@return string "2026-11-22T02:00:00Z"
function mk.clock.iso() end
---@return string "20261122T020000Z"
function mk.clock.compact() end

---@class moonkeep.json
mk.json = {}
---@param value any
---@param pretty? boolean
---@return string
function mk.json.encode(value, pretty) end
---@param text string
---@return any
function mk.json.decode(text) end
---@param list table
---@return table
function mk.json.array(list) end

---@class moonkeep.log
mk.log = {}
---@param text string
---@param ... any
function mk.log.debug(text, ...) end
---@param text string
---@param ... any
function mk.log.info(text, ...) end
---@param text string
---@param ... any
function mk.log.warn(text, ...) end
---@param text string
---@param ... any
function mk.log.error(text, ...) end
---@param text any
---@param ... any
function mk.log.show(text, ...) end
---@param event table
---@param important? boolean
function mk.log.event(event, important) end

---@param code string
---@param message string
---@param fields? { hint?: string, detail?: string }
function mk.error(code, message, fields) end

return mk
