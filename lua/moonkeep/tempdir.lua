--- Temporary folders that cannot be left behind: removed when their block is left, and, after a
--- kill -9, by the next run that makes one.
---
--- Each has a lock file that its run holds; the kernel lets go of it when the run ends, however it
--- ends. Whoever can take the lock knows that the maker is dead.
local core = require "moonkeep.core.fs"
local core_process = require "moonkeep.core.process"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"

local M = {}

local PREFIX = "moonkeep-tmp-"
-- A folder without a lock file is just being made; after this long its maker is dead.
local MAKING_SECONDS = 60

local function parent()
  return os.getenv "TMPDIR" or "/tmp"
end

-- A scratch server may outlive its killed run for a moment; see moonkeep.pg.scratch.
local function quit_server(folder)
  local ok, text = pcall(core.read, folder .. "/data/postmaster.pid")
  local pid = ok and tonumber(text:match "^%d+")
  local read, cmdline = pcall(core.read, ("/proc/%d/cmdline"):format(pid or 0))
  if pid and read and cmdline:find(folder, 1, true) then
    core_process.quit_pid(pid)
    core_task.sleep(200)
  end
end

-- Whether the maker of a folder is dead; and its lock, to be held while the folder is removed: otherwise
-- somebody who is just making it could take the lock in between, and lose the folder.
local function is_dead(folder)
  local stat = core.stat(folder)
  local uid = core_process.uid()
  if not stat or stat.type ~= "directory" or (uid ~= 0 and stat.uid ~= uid) then
    return false
  end
  local lock_path = folder .. "/lock"
  if not core.stat(lock_path) then
    return stat.mtime < host.wall() // 1000 - MAKING_SECONDS
  end
  -- not made anew: its maker may be removing the folder, and would find it not empty
  local ok, lock = pcall(core.lock, lock_path, true)
  return ok and lock ~= nil, ok and lock or nil
end

--- Removes what killed runs have left.
function M.sweep()
  for _, name in ipairs(core.list(parent())) do
    local folder, is_left, lock = parent() .. "/" .. name, false, nil
    if name:sub(1, #PREFIX) == PREFIX then
      is_left, lock = is_dead(folder)
    end
    if is_left then
      quit_server(folder)
      local ok, err = pcall(core.remove, folder)
      if ok then
        log.info("removed %s, which an earlier run had left", folder)
      else
        log.warn("could not remove %s: %s", folder, err.message)
      end
    end
    if lock then
      lock:close()
    end
  end
end

local Tempdir = {}
Tempdir.__index = Tempdir

--- Removes the folder and all that is in it. May be called more than once.
function Tempdir:close()
  if self.closed then
    return
  end
  core_task.shield(function()
    core.remove(self.path)
    self.lock:close()
    self.closed = true
  end, 15000)
end
Tempdir.__close = Tempdir.close

--- Makes one (mode 0700): `local dir <close> = mk.fs.tempdir()`; dir.path is its path.
function M.new()
  M.sweep()
  -- Between the making of the lock file and its locking somebody else's sweep may take it, and the
  -- folder.
  local path, ok, lock
  repeat
    path = core.mkdtemp(("%s/%sXXXXXX"):format(parent(), PREFIX))
    ok, lock = pcall(core.lock, path .. "/lock")
    if not ok and errors.of(lock).code ~= "NOT_FOUND" then
      error(lock, 0)
    end
  until ok and lock
  return setmetatable({ path = path, lock = lock }, Tempdir)
end

return M
