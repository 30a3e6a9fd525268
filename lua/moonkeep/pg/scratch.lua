--- Throwaway clusters: a PostgreSQL of our own in a temporary folder, reachable by a unix socket
--- in that folder (mode 0700) and by nothing else.
---
--- It is stopped and removed when its block is left, on every path. After a kill -9 the server
--- ends by itself (its death signal), and its folder goes the way of all temporary folders; see
--- moonkeep.tempdir.
local core_task = require "moonkeep.core.task"
local core_process = require "moonkeep.core.process"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local host = require "moonkeep.core.host"
local pg = require "moonkeep.pg"
local process = require "moonkeep.process"
local spec = require "moonkeep.spec"
local tempdir = require "moonkeep.tempdir"
local tools = require "moonkeep.pg.tools"

local M = {}

local START_MS = 30000
local SIGQUIT = 3

-- PostgreSQL refuses to run as root: the account of Debian's packages, or the one with no rights.
local function server_user()
  if core_process.uid() ~= 0 then
    return nil
  end
  for line in fs.read("/etc/passwd"):gmatch "[^\n]+" do
    if line:match "^postgres:" then
      return "postgres"
    end
  end
  return "nobody"
end

local Cluster = { __name = "moonkeep.Cluster" }
Cluster.__index = Cluster

--- The source of one of its databases.
function Cluster:database(name)
  return pg.source({ host = self.folder, port = self.port, user = "postgres" }):with {
    dbname = name }
end

--- Creates a database and returns its source.
function Cluster:create_database(name)
  local connection <close> = self:database("postgres"):connect()
  connection:query("CREATE DATABASE " .. pg.identifier(name))
  return self:database(name)
end

--- Runs a file of SQL in one of its databases, with psql; the first error ends it.
function Cluster:load(source, file)
  local conninfo = source:for_program()
  process.run { argv = { tools.find("psql", self.major), "--no-psqlrc", "--quiet",
    "--set=ON_ERROR_STOP=1", "--dbname=" .. conninfo, "--file=" .. file } }
end

--- Stops the server and removes everything. May be called more than once.
function Cluster:close()
  if self.closed then
    return
  end
  self.closed = true
  core_task.shield(function()
    if self.server then
      self.server:kill "QUIT"
      self.server:wait()
    end
    self.tempdir:close()
  end, 15000)
end
Cluster.__close = Cluster.close

local function start(self, settings)
  local argv = { tools.find("postgres", self.major), "-D", self.folder .. "/data",
    "-k", self.folder, "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700",
    -- Nothing here has to survive a crash.
    "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
    -- In the data folder, so that nothing is left in /dev/shm.
    "-c", "dynamic_shared_memory_type=mmap", "-c", "log_min_messages=fatal" }
  for name, value in pairs(settings) do
    argv[#argv + 1] = "-c"
    argv[#argv + 1] = ("%s=%s"):format(name, value)
  end
  self.server = process.spawn { argv = argv, user = self.user, cwd = self.folder,
    death_signal = SIGQUIT }
  local until_ms = host.monotonic() + START_MS
  repeat
    local database = self:database "postgres"
    local ok, connection = pcall(database.connect, database, { timeout = "5s" })
    if ok then
      connection:close()
      return
    elseif connection.code == "CANCELED" then
      error(connection, 0)
    end
    core_task.sleep(20)
  until not self.server:running() or host.monotonic() > until_ms
  self.server:kill "KILL"
  local _, stderr = self.server:wait()
  errors.raise("SCRATCH_FAILED", "the scratch cluster did not start", { detail = stderr })
end

--- Makes and starts one. Options: major (default: the newest installed), settings (server
--- settings by name). `local cluster <close> = mk.pg.scratch()`
function M.new(options)
  options = options or {}
  spec.check("mk.pg.scratch", "scratch", options)
  local major = options.major or tools.newest()
  if not major then
    errors.raise("PG_PROGRAM_MISSING", "no PostgreSQL server is installed here",
      { hint = "install one: apt-get install postgresql-15" })
  end
  local initdb = tools.find("initdb", major)
  local folder = tempdir.new()
  local self = setmetatable({ major = major, user = server_user(), tempdir = folder,
    folder = folder.path, port = options.settings and options.settings.port }, Cluster)
  local ok, err = pcall(function()
    if self.user then
      fs.chown(self.folder, self.user)
    end
    process.run { argv = { initdb, "--pgdata=" .. self.folder .. "/data", "--username=postgres",
      "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync" }, user = self.user,
      cwd = self.folder }
    start(self, options.settings or {})
  end)
  if not ok then
    self:close()
    error(err, 0)
  end
  return self
end

return M
