--- Finds PostgreSQL's programs of a given major version. They are looked for in the folders of
--- MOONKEEP_PG_PATH, then where distributions put them by version, then in PATH.
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local process = require "moonkeep.process"

local M = {}

-- By version: Debian and Ubuntu; Red Hat.
local INSTALLED = { "/usr/lib/postgresql/%d/bin", "/usr/pgsql-%d/bin" }
local DEBIAN = "/usr/lib/postgresql"

local versions = {} -- path -> "15.20"

--- The version of a program, "15.20"; nil when it does not tell.
function M.version(path)
  if not versions[path] then
    local ok, text = pcall(process.run, { argv = { path, "--version" } })
    versions[path] = ok and text:match "%(PostgreSQL%) (%d+[%w.]*)" or nil
  end
  return versions[path]
end

local function major_of(path)
  return tonumber((M.version(path) or ""):match "^%d+")
end

local function is_program(path)
  local ok, stat = pcall(fs.stat, path) -- a folder of PATH that may not be entered is none
  return ok and stat and stat.type == "file" and stat.mode & 73 ~= 0 -- 73: 0111, executable
end

-- Every program of that name, in the order of preference; those by version first for `major`.
local function candidates(program, major)
  local list = {}
  local function add(folder)
    local path = folder .. "/" .. program
    list[#list + 1] = is_program(path) and path or nil
  end
  for folder in (os.getenv "MOONKEEP_PG_PATH" or ""):gmatch "[^:]+" do
    add(folder)
  end
  for _, folder in ipairs(INSTALLED) do
    add(folder:format(major))
  end
  for folder in (os.getenv "PATH" or "/usr/bin:/bin"):gmatch "[^:]+" do
    add(folder)
  end
  return list
end

-- Majors of the folders by version, newest first.
local function installed_majors(program)
  local majors = {}
  for _, name in ipairs(fs.exists(DEBIAN) and fs.list(DEBIAN) or {}) do
    local major = tonumber(name:match "^%d+$")
    majors[#majors + 1] = major and is_program(("%s/%d/bin/%s"):format(DEBIAN, major, program)) and
      major or nil
  end
  table.sort(majors, function(a, b) return a > b end)
  return majors
end

--- The newest major version of which a server is installed, or nil.
function M.newest()
  return installed_majors("initdb")[1]
end

--- Whether there is a server of any version.
function M.has_server()
  return M.newest() ~= nil or #candidates("initdb", 0) > 0
end

-- Those of other versions too: { path, major, shown }.
local function all(program, major)
  local list = {}
  for _, path in ipairs(candidates(program, major)) do
    local found = major_of(path)
    list[#list + 1] = found and { path = path, major = found,
      shown = ("%s, %s"):format(M.version(path), path) } or nil
  end
  for _, other in ipairs(installed_majors(program)) do
    local folder = ("%s/%d/bin"):format(DEBIAN, other)
    list[#list + 1] = other ~= major and { path = folder .. "/" .. program, major = other,
      shown = ("%d, %s"):format(other, folder) } or nil
  end
  return list
end

local function missing(program, major, others)
  local shown = {}
  for i, other in ipairs(others) do
    shown[i] = other.shown
  end
  errors.raise(#others > 0 and "PG_VERSION_MISMATCH" or "PG_PROGRAM_MISSING",
    ("the server is version %d, but there is no %s %d here%s"):format(major, program, major,
      #others > 0 and (" (only " .. table.concat(shown, "; ") .. ")") or ""),
    { hint = ("install it: apt-get install postgresql%s-%d; or name its folder in MOONKEEP_PG_PATH")
      :format(program == "initdb" and "" or "-client", major) })
end

local found = {} -- "program major" -> path

--- The path of a program ("pg_dump") of that major version. Raises PG_VERSION_MISMATCH when there
--- are only others, PG_PROGRAM_MISSING when there is none; with the package to install.
function M.find(program, major)
  local key = program .. " " .. major
  if found[key] then
    return found[key]
  end
  for _, path in ipairs(candidates(program, major)) do
    if major_of(path) == major then
      found[key] = path
      return path
    end
  end
  missing(program, major, all(program, major))
end

--- The path of a pg_restore that reads what pg_dump of that major version has written: one of that
--- version, else of the next newer one there is, for archives stay readable. Raises as `find` does.
function M.reader(major)
  local ok, path = pcall(M.find, "pg_restore", major)
  if ok then
    return path
  end
  local next_newer
  for _, one in ipairs(all("pg_restore", major)) do
    if one.major > major and (not next_newer or one.major < next_newer.major) then
      next_newer = one
    end
  end
  return next_newer and next_newer.path or error(path, 0)
end

return M
