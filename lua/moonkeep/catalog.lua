--- The catalog: what this machine knows of runs, backups and proofs, in SQLite. It is a cache: the
--- stores are the truth, and nothing is lost with it but the history of runs. So a catalog that
--- cannot be used never keeps a backup from being made; what happens to it is said aloud.
---
--- A run is written down when it begins, with a lock that it holds (the kernel lets go of it when
--- the process ends, however it ends); so runs that were killed are found by the next look.
local clock = require "moonkeep.clock"
local core = require "moonkeep.core.db"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local redact = require "moonkeep.redact"
local state = require "moonkeep.state"
local trust = require "moonkeep.trust"
local usual = require "moonkeep.usual"

local M = {}

--- Each migration takes the schema from the version before; its number is the version.
M.MIGRATIONS = {
  { [[CREATE TABLE runs (
        id TEXT PRIMARY KEY, job TEXT NOT NULL, kind TEXT NOT NULL, recipe TEXT, host TEXT,
        started_ms INTEGER NOT NULL, ended_ms INTEGER,
        status TEXT NOT NULL CHECK (status IN ('running', 'ok', 'failed', 'skipped', 'killed')),
        tries INTEGER, error_code TEXT, error_message TEXT, error_where TEXT, log TEXT)]],
    "CREATE INDEX runs_by_job ON runs (job, started_ms)",
    [[CREATE TABLE backups (
        job TEXT NOT NULL, series TEXT NOT NULL, id TEXT NOT NULL, store TEXT NOT NULL,
        created_at TEXT NOT NULL, size INTEGER NOT NULL, decoded_size INTEGER NOT NULL,
        seconds REAL, run TEXT, proof TEXT NOT NULL, proved_ms INTEGER,
        PRIMARY KEY (job, series, id, store))]] },
  { [[CREATE TABLE restores (
        job TEXT NOT NULL, series TEXT NOT NULL, id TEXT NOT NULL, target TEXT NOT NULL,
        ended_ms INTEGER NOT NULL, seconds REAL NOT NULL, decoded_size INTEGER NOT NULL)]],
    "CREATE INDEX restores_by_series ON restores (job, series, ended_ms)" },
  -- a run may also be degraded: SQLite changes a CHECK only by making the table anew
  { "ALTER TABLE runs RENAME TO old_runs",
    [[CREATE TABLE runs (
        id TEXT PRIMARY KEY, job TEXT NOT NULL, kind TEXT NOT NULL, recipe TEXT, host TEXT,
        started_ms INTEGER NOT NULL, ended_ms INTEGER,
        status TEXT NOT NULL CHECK (status IN ('running', 'ok', 'degraded', 'failed', 'skipped',
          'killed')),
        tries INTEGER, error_code TEXT, error_message TEXT, error_where TEXT, log TEXT)]],
    "INSERT INTO runs SELECT * FROM old_runs",
    "DROP TABLE old_runs",
    "CREATE INDEX runs_by_job ON runs (job, started_ms)" },
  -- what people have been told: see moonkeep.notify.notices
  { [[CREATE TABLE notices (notifier TEXT NOT NULL, job TEXT NOT NULL, what TEXT NOT NULL,
        told_ms INTEGER NOT NULL, PRIMARY KEY (notifier, job, what))]],
    "CREATE TABLE messages (notifier TEXT NOT NULL, told_ms INTEGER NOT NULL)",
    "CREATE TABLE held (notifier TEXT PRIMARY KEY, n INTEGER NOT NULL)" },
  -- what retention asks of manifests, and which folders of stores are this machine's jobs'
  { "ALTER TABLE backups ADD COLUMN tags TEXT",
    "ALTER TABLE backups ADD COLUMN globals TEXT",
    "CREATE TABLE identities (store TEXT NOT NULL, job TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY " ..
      "(store, job))" },
  -- whom the manifest was believed (trust.fingerprint)
  { "ALTER TABLE backups ADD COLUMN trusted TEXT NOT NULL DEFAULT ''" },
}

local LOCK_TRIES = 200

local unusable = false -- said once

local function explain_loss(path, err)
  if not unusable then
    unusable = true
    log.warn("the catalog %s cannot be used: %s; backups are made all the same", path, err.message)
  end
end

-- Puts a damaged file aside, so that a new one can be made.
local function put_aside(path, why)
  local aside = ("%s.damaged-%s"):format(path, clock.compact())
  fs.rename(path, aside)
  log.warn("the catalog was damaged (%s): it is now %s, and a new one is begun; `moonkeep catalog " ..
    "rebuild` fills it from the stores", why, aside)
end

local is_new = false -- the catalog was made by this process

local function migrate(path)
  local rows = core.run(path, { { "PRAGMA user_version" } })
  local version = rows[1][1].user_version
  is_new = is_new or version == 0
  if version > #M.MIGRATIONS then
    errors.raise("UNSUPPORTED", ("it has version %d, this moonkeep knows up to %d"):format(version,
      #M.MIGRATIONS), { hint = "install a newer moonkeep, or set MOONKEEP_STATE to another folder" })
  end
  local statements = {}
  for n = version + 1, #M.MIGRATIONS do
    for _, sql in ipairs(M.MIGRATIONS[n]) do
      statements[#statements + 1] = { sql }
    end
  end
  if #statements > 0 then
    statements[#statements + 1] = { ("PRAGMA user_version = %d"):format(#M.MIGRATIONS) }
    core.run(path, statements)
  end
end

-- Calls fn while no other process migrates the catalog or puts it aside.
local function exclusively(path, fn)
  local lock
  for _ = 1, LOCK_TRIES do
    lock = fs.lock(path .. ".lock")
    if lock then
      break
    end
    core_task.sleep(50)
  end
  local ok, err = pcall(fn)
  if lock then
    lock:close()
  end
  if not ok then
    error(err, 0)
  end
end

local function is_damaged(path)
  local ok, err = pcall(core.run, path, { { "SELECT count(*) FROM sqlite_master" } }, true)
  return not ok and errors.of(err).code == "CORRUPT"
end

local ready = {} -- paths that have been looked at

--- Runs statements { sql, parameter..., n = count } in one transaction; returns their rows, or nil
--- when the catalog cannot be used, which has been said.
function M.run(statements, read_only)
  local path = state.catalog_path()
  if not path then
    return nil
  end
  local function attempt()
    if not ready[path] then
      exclusively(path, function() migrate(path) end)
      ready[path] = true
    end
    return core.run(path, statements, read_only)
  end
  local ok, result = pcall(attempt)
  if not ok and errors.of(result).code == "CORRUPT" then
    ready[path] = nil
    local why = result.message
    ok, result = pcall(function()
      exclusively(path, function()
        if is_damaged(path) then -- nobody else has put it aside meanwhile
          put_aside(path, why)
        end
      end)
      return attempt()
    end)
  end
  if ok then
    return result
  end
  result = errors.of(result)
  if result.code == "CANCELED" or result.code == "DEADLINE" then
    error(result, 0)
  end
  explain_loss(path, result)
end

--- Makes it ready, so that several tasks that ask it at once need not wait for one of them to do that.
function M.open()
  M.run({}, true)
end

-- ---- runs ---------------------------------------------------------------------------------------

local function lock_path(id)
  return ("%s/locks/run-%s.lock"):format(state.folder(), id)
end

-- Runs that say they are running, but whose lock is free: their process is dead.
local function find_killed()
  local rows = M.run({ { "SELECT id FROM runs WHERE status = 'running'" } })
  for _, row in ipairs(rows and rows[1] or {}) do
    local path = lock_path(row.id)
    local lock = fs.exists(path) and fs.lock(path)
    if lock or not fs.exists(path) then
      M.run { { [[UPDATE runs SET status = 'killed', error_code = 'WORKER_DIED', error_message =
        'the process was killed, or the machine went down' WHERE id = ?1 AND status = 'running']],
        row.id } }
      if lock then
        lock:close()
        pcall(fs.remove, path)
      end
    end
  end
end

local Run = {}
Run.__index = Run

--- Writes down that a run begins. Returns a closable value with an `id`; finish it with
--- run:finish.
function M.begin(fields)
  find_killed()
  local run = setmetatable({ id = fields.id }, Run)
  if pcall(fs.mkdir, state.folder() .. "/locks", 448) then
    local ok, lock = pcall(fs.lock, lock_path(run.id))
    run.lock = ok and lock or nil
  end
  M.run { { [[INSERT INTO runs (id, job, kind, recipe, host, started_ms, status, log)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'running', ?7)]], run.id, fields.job, fields.kind,
    fields.recipe, host.name(), clock.wall(), fields.log, n = 7 } }
  return run
end

local function backup_statement(backup, store, proof, when)
  local manifest = backup.manifest
  local size, decoded = manifests.sizes(manifest)
  return { [[INSERT INTO backups (job, series, id, store, created_at, size, decoded_size, seconds,
      run, proof, proved_ms, tags, globals, trusted) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
      ?11, ?12, ?13, ?14) ON CONFLICT DO UPDATE SET tags = excluded.tags, globals = excluded.globals,
      trusted = excluded.trusted,
      proof = iif(excluded.proof = 'stored', proof, excluded.proof),
      proved_ms = iif(excluded.proof = 'stored', proved_ms, excluded.proved_ms)]], backup.job,
    backup.series, backup.id, store.url, manifest.created_at, size, decoded,
    manifest.run and manifest.run.seconds, manifest.run and manifest.run.id, proof, when,
    json.encode(manifest.tags or {}), manifest.globals, trust.fingerprint(backup.job), n = 14 }
end

--- Writes down how it ended: "ok", "degraded", "failed" or "skipped", with the error, and what it
--- published.
function Run:finish(status, published, err, tries)
  err = err or {}
  local statements = { { [[UPDATE runs SET ended_ms = ?2, status = ?3, tries = ?4, error_code = ?5,
    error_message = ?6, error_where = ?7 WHERE id = ?1]], self.id, clock.wall(), status, tries,
    err.code, err.message and redact.text(err.message), err.where, n = 7 } }
  for _, backup in ipairs(published) do
    for _, store in ipairs(backup.stores) do
      statements[#statements + 1] = backup_statement(backup, store, backup.proof, clock.wall())
    end
    for _, one in ipairs(backup.missing or {}) do
      if one.error.code == "CORRUPT" then
        statements[#statements + 1] = backup_statement(backup, one.store, "damaged", clock.wall())
      end
    end
  end
  M.run(statements)
  if self.lock then
    self.lock:close()
    pcall(fs.remove, lock_path(self.id))
    self.lock = nil
  end
end

--- Lets go of the lock of a run that did not finish.
function Run:close()
  if self.lock then
    self.lock:close()
    self.lock = nil
  end
end
Run.__close = Run.close

--- The last run of a job: a row of `runs`, or nil.
function M.last_run(job)
  find_killed()
  local rows = M.run { { [[SELECT * FROM runs WHERE job = ?1 AND status <> 'skipped'
    ORDER BY started_ms DESC LIMIT 1]], job } }
  return rows and rows[1][1]
end

--- The id of the newest run of a job, also of one that was skipped; or nil.
function M.latest_run(job)
  local rows = M.run { { "SELECT id FROM runs WHERE job = ?1 ORDER BY started_ms DESC LIMIT 1", job } }
  return rows and rows[1][1] and rows[1][1].id
end

--- When the last run of a job that went well ended: milliseconds since 1970, or nil.
function M.last_good_run(job)
  local rows = M.run { { [[SELECT ended_ms FROM runs WHERE job = ?1 AND status = 'ok'
    ORDER BY started_ms DESC LIMIT 1]], job } }
  return rows and rows[1][1] and rows[1][1].ended_ms
end

--- The path of a run's log, or nil.
function M.log_of(run)
  local rows = run and M.run { { "SELECT log FROM runs WHERE id = ?1", run } }
  return rows and rows[1][1] and rows[1][1].log
end

--- How the run of a job before this one ended, or nil.
function M.status_before(job, run)
  local rows = M.run { { [[SELECT status FROM runs WHERE job = ?1 AND id <> ?2
    AND status NOT IN ('skipped', 'running') ORDER BY started_ms DESC LIMIT 1]], job, run or "" } }
  return rows and rows[1][1] and rows[1][1].status
end

--- How many seconds the good runs of a job before this one took.
function M.durations(job, run)
  local rows = M.run { { [[SELECT (ended_ms - started_ms) / 1000.0 AS seconds FROM runs
    WHERE job = ?1 AND id <> ?2 AND status IN ('ok', 'degraded') ORDER BY started_ms DESC LIMIT ?3]],
    job, run or "", usual.COUNT } }
  local list = {}
  for i, row in ipairs(rows and rows[1] or {}) do
    list[i] = row.seconds
  end
  return list
end

-- ---- backups ------------------------------------------------------------------------------------

--- The backups of a series before an id, newest first: { size, seconds } of each.
function M.backups_before(job, series, id)
  local rows = M.run { { [[SELECT max(size) AS size, max(seconds) AS seconds FROM backups
    WHERE job = ?1 AND series = ?2 AND id < ?3 GROUP BY id ORDER BY id DESC LIMIT ?4]], job, series, id,
    usual.COUNT } }
  return rows and rows[1] or {}
end

--- The newest backup of a job that is not known to be damaged: its id, or nil.
function M.last_good(job)
  local rows = M.run { { [[SELECT max(id) AS id FROM backups WHERE job = ?1 AND proof <> 'damaged'
    AND series NOT LIKE '\_%' ESCAPE '\']], job } }
  return rows and rows[1][1] and rows[1][1].id
end

--- The newest backup of a series that was published in the store of that URL and has not expired, nor is
--- damaged: its id, or nil.
function M.newest(job, series, url)
  local rows = M.run { { [[SELECT max(id) AS id FROM backups WHERE job = ?1 AND series = ?2
    AND store = ?3 AND proof <> 'damaged']], job, series, url } }
  return rows and rows[1][1] and rows[1][1].id
end

--- The series of a job that were published in the store of that URL: { [series] = how many backups }.
function M.series_in(job, url)
  local rows = M.run { { [[SELECT series, count(*) AS n FROM backups WHERE job = ?1 AND store = ?2
    GROUP BY series]], job, url } }
  local found = {}
  for _, row in ipairs(rows and rows[1] or {}) do
    found[row.series] = row.n
  end
  return found
end

--- Writes down what has been proved of a backup in its stores.
function M.record_proof(backup)
  local statements = {}
  for i, store in ipairs(backup.stores) do
    statements[i] = backup_statement(backup, store, backup.proof, clock.wall())
  end
  M.run(statements)
end

--- Writes down that a backup is damaged in a store.
function M.record_damage(backup, store)
  M.run { backup_statement(backup, store, "damaged", clock.wall()) }
end

--- Writes down what is in manifests that have been read: a list of { backup, store }.
function M.record_facts(list)
  local statements = {}
  for i, item in ipairs(list) do
    statements[i] = backup_statement(item.backup, item.store, "stored")
  end
  if #statements > 0 then
    M.run(statements)
  end
end

--- Forgets backups that are no more in a store: a list of { job, series, id }.
function M.forget(list, store)
  local statements = {}
  for i, backup in ipairs(list) do
    statements[i] = { "DELETE FROM backups WHERE job = ?1 AND series = ?2 AND id = ?3 AND store = ?4",
      backup.job, backup.series, backup.id, store.url }
  end
  if #statements > 0 then
    M.run(statements)
  end
end

-- ---- identities ---------------------------------------------------------------------------------

--- The uid that a job's folder in a store had when it was last found to be this machine's; or nil.
function M.identity(job, store)
  local rows = M.run { { "SELECT uid FROM identities WHERE job = ?1 AND store = ?2", job, store.url } }
  return rows and rows[1][1] and rows[1][1].uid
end

function M.record_identity(job, store, uid)
  M.run { { "INSERT OR REPLACE INTO identities (store, job, uid) VALUES (?1, ?2, ?3)", store.url, job,
    uid } }
end

-- ---- restores -----------------------------------------------------------------------------------

--- Writes down how long a backup took to restore, all of it.
function M.record_restore(backup, target, seconds)
  local _, decoded = manifests.sizes(backup.manifest)
  M.run { { "INSERT INTO restores VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", backup.job, backup.series,
    backup.id, target, clock.wall(), seconds, decoded, n = 7 } }
end

--- The last restores of a series, newest first: rows of `restores`.
function M.last_restores(job, series, n)
  local rows = M.run { { [[SELECT * FROM restores WHERE job = ?1 AND series = ?2
    ORDER BY ended_ms DESC LIMIT ?3]], job, series, n } }
  return rows and rows[1] or {}
end

-- ---- proofs -------------------------------------------------------------------------------------

local PAGE = 10000

-- What was in a manifest counts only if it was believed as it would be now.
local KNOWN = [[SELECT id, size, proof, iif(trusted = ?6, tags, NULL) AS tags, globals%s
  FROM backups WHERE job = ?1 AND series = ?2 AND store = ?3 AND id > ?4 ORDER BY id LIMIT ?5]]

-- All that is known of the backups of a series in a store, in pages: { n, [column] = { value... } }.
local function pages_of(job, series, url, more)
  local pages, id, n, sql = {}, "", PAGE, KNOWN:format(more and ", seconds, proved_ms" or "")
  while n == PAGE do
    local found = M.run({ { sql, job, series, url, id, PAGE, trust.fingerprint(job), n = 6,
      by_column = true } }, true)
    local page = found and found[1] or { n = 0 }
    pages[#pages + 1], n = page, page.n
    id = n > 0 and page.id[n]
  end
  return pages
end

--- What is known of a series in a store, which is read at once: a function (id) -> columns and a row of
--- them, or nil when nothing is: columns.size[row], and so proof, tags (as JSON; nil: its manifest was
--- never looked at), globals; if `more`, seconds and proved_ms, too. There may be very many, so they are
--- never made into tables, and are to be asked for in the order of ids.
function M.known(job, series, store, more)
  local pages = pages_of(job, series, store.url, more)
  local at, row, before = 1, 0, ""
  return function(id)
    if id < before then
      at, row = 1, 0
    end
    before = id
    local page = pages[at]
    while page do
      local ids = page.id
      row = row + 1
      while ids[row] and ids[row] ~= id and ids[row] < id do
        row = row + 1
      end
      local found = ids[row]
      if found == id then
        return page, row
      elseif found then
        row = row - 1 -- it comes later
        return nil
      end
      at, row, page = at + 1, 0, pages[at + 1]
    end
  end
end

--- A function (job, series, id, store) -> all of that as a table, or nil. It remembers one series in one
--- store.
function M.knowledge()
  local known, of_job, of_series, of_url
  return function(job, series, id, store)
    if job ~= of_job or series ~= of_series or store.url ~= of_url then
      known, of_job, of_series, of_url = M.known(job, series, store, true), job, series, store.url
    end
    local columns, row = known(id)
    return columns and { size = columns.size[row], seconds = columns.seconds[row],
      proof = columns.proof[row], proved_ms = columns.proved_ms[row], tags = columns.tags[row],
      globals = columns.globals[row] }
  end
end

--- After a catalog was lost: writes down what the stores of a job hold, and says so.
function M.refill(job)
  if not is_new then
    return
  end
  local statements = {}
  for _, store in ipairs(job.keys.upload or {}) do
    pcall(function()
      for _, series in ipairs(store:series(job.name)) do
        for _, id in ipairs(store:list(job.name, series)) do
          local ok, backup = pcall(store.backup, store, job.name, series, id)
          statements[#statements + 1] = ok and backup_statement(backup, store, "stored") or nil
        end
      end
    end)
  end
  if #statements > 0 and M.run(statements) then
    log.warn("the catalog is new; %d backups of %s were found in its stores, and are listed again " ..
      "(what had been proved of them is beside them)", #statements, job.name)
  end
end

--- Makes the list of backups anew from the stores; proofs of backups that are still there are kept.
--- Returns how many there are.
function M.rebuild(found)
  local knowledge, statements = M.knowledge(), { { "DELETE FROM backups" } }
  for _, item in ipairs(found) do
    local backup, store = item.backup, item.store
    local known = knowledge(backup.job, backup.series, backup.id, store)
    statements[#statements + 1] = backup_statement(backup, store, known and known.proof or "stored",
      known and known.proved_ms or nil)
  end
  return M.run(statements) and #statements - 1
end

return M
