--- Loading recipes: text only, in an environment of their own, with strict globals. Recipes are
--- trusted as crontabs are; this guards against accidents (a misspelt name, a global that leaks
--- from one job into the next), not against attackers. Except for one case: a recipe that others
--- can write is not run as root.
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local host = require "moonkeep.core.host"
local jobs = require "moonkeep.job"
local process = require "moonkeep.process"
local spec = require "moonkeep.spec"

local M = {}

local STANDARD = { "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall",
  "rawequal", "rawget", "rawlen", "rawset", "select", "setmetatable", "tonumber", "tostring",
  "type", "xpcall", "coroutine", "math", "string", "table", "utf8", "_VERSION" }
local OS = { "clock", "date", "difftime", "getenv", "time" }

-- Text chunks only, and in the recipe's own environment unless another one is given.
local function text_load(environment)
  return function(chunk, name, _, env)
    return load(chunk, name, "t", env or environment)
  end
end

local function recipe_require(name)
  if name == "moonkeep" then
    return require "moonkeep"
  end
  errors.raise("INVALID", ("a recipe cannot require %q"):format(tostring(name)),
    { hint = "there is: require \"moonkeep\"" })
end

local function make_environment()
  local environment = { os = {}, require = recipe_require }
  for _, name in ipairs(STANDARD) do
    environment[name] = _G[name]
  end
  for _, name in ipairs(OS) do
    environment.os[name] = os[name]
  end
  environment.print = function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do
      parts[i] = tostring(parts[i])
    end
    require("moonkeep.log").show("%s", table.concat(parts, "\t"))
  end
  environment.load = text_load(environment)
  environment._G = environment

  local names = {}
  for name in pairs(environment) do
    names[#names + 1] = name
  end
  return setmetatable(environment, {
    __index = function(_, name)
      local meant = spec.nearest(tostring(name), names)
      if name == "mk" then
        error("there is no global \"mk\": begin with `local mk = require \"moonkeep\"`", 2)
      end
      error(("there is no global %q%s"):format(tostring(name),
        meant and (", did you mean %q?"):format(meant) or ""), 2)
    end,
    __newindex = function(_, name)
      error(("%s is not declared: write `local %s = ...`"):format(tostring(name),
        tostring(name)), 2)
    end,
  })
end

local WRITABLE_BY_OTHERS = 18 -- 0022: group and others
local STICKY = 512            -- 01000: in such a folder only owners can replace files

local function refuse(path, why)
  errors.raise("UNSAFE_RECIPE", ("%s %s, so somebody else could make root run anything"):format(
    path, why), { hint = ("chown root %s && chmod go-w %s"):format(path, path) })
end

-- Checks the file that is really read, wherever links lead, and every folder above it: whoever can
-- rename one of them can put another recipe there.
local function check_safe(path)
  local file = fs.stat(path)
  if file.type ~= "file" then
    errors.raise("INVALID", path .. " is not a file",
      { hint = "give the recipe itself, for example: moonkeep run nightly.lua" })
  end
  if process.uid() ~= 0 then
    return
  end
  if file.uid ~= 0 then
    refuse(path, "does not belong to root")
  elseif file.mode & WRITABLE_BY_OTHERS ~= 0 then
    refuse(path, "is writable by others")
  end
  local folder = path
  repeat
    folder = folder:match "^(.*)/[^/]*$"
    local shown = folder == "" and "/" or folder
    local stat = fs.stat(shown)
    if stat.uid ~= 0 then
      refuse(shown, "does not belong to root")
    elseif stat.mode & WRITABLE_BY_OTHERS ~= 0 and stat.mode & STICKY == 0 then
      refuse(shown, "is writable by others")
    end
  until folder == ""
end

--- Loads a recipe and returns its list of jobs. Raises on anything that is wrong with it.
function M.load(path)
  if not fs.exists(path) then
    errors.raise("NOT_FOUND", ("there is no recipe %s"):format(path))
  end
  local real = fs.realpath(path)
  check_safe(real)
  local chunk, why = load(fs.read(real), "@" .. path, "t", make_environment())
  if why == "not enough memory" then
    error(why, 0)
  elseif not chunk then
    local where, message = why:match "^(.-:%d+): (.*)$"
    errors.raise("SYNTAX", message or why, { where = where,
      hint = why:find("attempt to load a binary chunk", 1, true) and
        "recipes are Lua source text, never compiled" or nil })
  end
  core_task.track_lines(true)
  local result = chunk(table.unpack(host.arguments())) -- `...` of the recipe
  core_task.track_lines(false)
  local list = jobs.is_job(result) and { result } or result
  local is_list = type(list) == "table" and #list > 0
  for _, job in ipairs(is_list and list or {}) do
    is_list = is_list and jobs.is_job(job)
  end
  if not is_list then
    errors.raise("INVALID", ("%s returns no job"):format(path),
      { hint = "end it with: return mk.job { name = \"...\", ... }" })
  end
  return list
end

return M
