--- Finds PostgreSQL's programs of a given major version.
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local process = require "moonkeep.process"

local M = {}

local INSTALLED = "/usr/lib/postgresql"

local function major_of(path)
  local ok, text = pcall(process.run, { argv = { path, "--version" } })
  return ok and tonumber(text:match "%(PostgreSQL%) (%d+)")
end

local function in_path(program)
  for folder in (os.getenv "PATH" or "/usr/bin:/bin"):gmatch "[^:]+" do
    local path = folder .. "/" .. program
    local stat = fs.stat(path)
    if stat and stat.type == "file" and stat.mode & 73 ~= 0 then -- 73: 0111, executable
      return path
    end
  end
end

--- The newest installed major version, or nil.
function M.newest()
  local newest
  for _, name in ipairs(fs.exists(INSTALLED) and fs.list(INSTALLED) or {}) do
    local major = tonumber(name:match "^%d+$")
    if major and fs.exists(("%s/%d/bin/initdb"):format(INSTALLED, major)) then
      newest = math.max(newest or 0, major)
    end
  end
  return newest
end

--- The path of a program ("pg_dump") of that major version: Debian's folder for it first, then
--- PATH. Raises PG_PROGRAM_MISSING with the package to install.
function M.find(program, major)
  local path = ("%s/%d/bin/%s"):format(INSTALLED, major, program)
  if fs.exists(path) then
    return path
  end
  path = in_path(program)
  local found = path and major_of(path)
  if found == major then
    return path
  end
  errors.raise("PG_PROGRAM_MISSING",
    ("the server is version %d, but there is no %s %d%s"):format(major, program, major,
      found and (" (only %d, as %s)"):format(found, path) or ""),
    { hint = ("install it: apt-get install postgresql%s-%d"):format(
      program == "initdb" and "" or "-client", major) })
end

return M
