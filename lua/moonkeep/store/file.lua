--- Objects in a folder: file:///var/backups/app. A driver of stores: see moonkeep.store.layout.
---
--- Files are 0600 in folders of 0700. They appear under their names only when complete and synced.
local core = require "moonkeep.core.fs"
local fs = require "moonkeep.fs"

local M = {}

local FOLDER_MODE = 448 -- 0700
local FILE_MODE = 384   -- 0600

local Driver = { has_partials = true }
Driver.__index = Driver

--- What messages call it, and what programs of this machine do.
function Driver:path(key)
  return ("%s/%s"):format(self.root, (key:gsub("/$", "")))
end
Driver.shown = Driver.path

function Driver:read(key)
  return fs.read(self:path(key))
end

function Driver:write(key, text, exclusive)
  fs.write(self:path(key), text, FILE_MODE, exclusive)
end

function Driver:stat(key)
  return fs.stat(self:path(key))
end

function Driver:source(key, n_pieces)
  return { kind = "file", path = self:path(key), pieces = n_pieces }
end

function Driver:sink(key, piece_bytes)
  return { kind = "file", path = self:path(key), piece_bytes = piece_bytes }
end

function Driver:names(folder)
  local path = self:path(folder)
  return fs.exists(path) and fs.list(path) or {}
end

--- See moonkeep.store.layout.
function Driver:stems(folder)
  local path = self:path(folder)
  if fs.exists(path) then
    return core.stems(path)
  end
  return {}, {}
end

function Driver:folders(folder)
  local names, path = {}, self:path(folder)
  for _, name in ipairs(self:names(folder)) do
    local stat = fs.stat(path .. "/" .. name)
    names[#names + 1] = stat and stat.type == "directory" and name or nil
  end
  return names
end

function Driver:make_folder(folder)
  fs.mkdir(self:path(folder), FOLDER_MODE)
end

function Driver:remove(keys)
  for _, key in ipairs(keys) do
    fs.remove(self:path(key))
  end
end

function Driver:remove_folder(folder)
  fs.remove(self:path(folder))
end

local Lock = {}
Lock.__index = Lock

-- The system holds it as long as we live.
function Lock.check() end

-- The file goes while it is still locked: whoever opened it before sees that it is gone.
function Lock:close()
  pcall(fs.remove, self.path)
  self.lock:close()
end
Lock.__close = Lock.close

function Driver:hold(key)
  local path = self:path(key)
  local lock = fs.lock(path)
  return lock and setmetatable({ lock = lock, path = path }, Lock)
end

--- `path` is what follows file:// in the URL. Returns nil, why, hint when it is no proper path.
function M.new(path)
  if path:sub(1, 1) ~= "/" or path:find "%z" then
    return nil, ("\"file://%s\" is not an absolute path"):format(path),
      "write three slashes: file:///var/backups/app"
  end
  return setmetatable({ root = (path:gsub("(.)/+$", "%1")) }, Driver)
end

return M
