--- Loading recipes: text only, in an environment of their own, with strict globals, and without
--- I/O, so that looking at a recipe is always safe. Recipes are
--- trusted as crontabs are; this guards against accidents (a misspelt name, a global that leaks
--- from one job into the next), not against attackers. Except for one case: a recipe that others
--- can write is not run as root.
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local jobs = require "moonkeep.job"
local lines = require "moonkeep.recipe_lines"
local policy = require "moonkeep.policy"
local process = require "moonkeep.process"
local spec = require "moonkeep.spec"

local M = {}

local STANDARD = { "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall",
  "rawequal", "rawget", "rawlen", "rawset", "select", "setmetatable", "tonumber", "tostring",
  "type", "xpcall", "coroutine", "math", "string", "table", "utf8", "_VERSION" }
local OS = { "clock", "date", "difftime", "getenv", "time" }

-- The loader's own reading, while what waits is refused to the recipe.
local function unguarded(fn, ...)
  local before = core_task.guard(false)
  local results = table.pack(xpcall(fn, errors.handler, ...))
  core_task.guard(before)
  if not results[1] then
    error(results[2], 0)
  end
  return table.unpack(results, 2, results.n)
end

local run_file -- one file of a recipe

-- Text chunks only, and in the recipe's own environment unless another one is given.
local function text_load(environment)
  return function(chunk, name, _, env)
    return load(chunk, name, "t", env or environment)
  end
end

-- `require "moonkeep"`, and the recipe's neighbours: `require "shared.stores"` is shared/stores.lua
-- in the recipe's folder, loaded once, in an environment of its own.
local function make_require(loading)
  return function(name)
    if name == "moonkeep" then
      return require "moonkeep"
    end
    if type(name) ~= "string" or not name:match "^[%w_][%w_-]*[%w_.-]*$" or name:find("..", 1, true) then
      errors.raise("INVALID", ("a recipe cannot require %q"):format(tostring(name)),
        { hint = "there is require \"moonkeep\", and the recipe's neighbours by name: require " ..
          "\"stores\" is stores.lua beside it" })
    end
    if loading.modules[name] == nil then
      local path = loading.folder .. "/" .. name:gsub("%.", "/") .. ".lua"
      if not unguarded(fs.exists, path) then
        errors.raise("INVALID", ("there is no %s to require"):format(path),
          { hint = "a recipe can require \"moonkeep\" and files of its own folder" })
      end
      loading.modules[name] = true -- a circle finds this
      local result = run_file(path, loading)
      loading.modules[name] = result == nil and true or result
    end
    return loading.modules[name]
  end
end

local function make_environment(loading)
  local environment = { os = {}, require = make_require(loading) }
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

-- Reads, checks and runs one file of a recipe; returns what it returns.
function run_file(path, loading)
  local real = unguarded(fs.realpath, path)
  unguarded(check_safe, real)
  local text = unguarded(fs.read, real)
  lines.remember(path, text)
  local chunk, why = load(text, "@" .. path, "t", make_environment(loading))
  if why == "not enough memory" then
    error(why, 0)
  elseif not chunk then
    local where, message = why:match "^(.-:%d+): (.*)$"
    errors.raise("SYNTAX", message or why, { where = where,
      hint = why:find("attempt to load a binary chunk", 1, true) and
        "recipes are Lua source text, never compiled" or nil })
  end
  core_task.track_lines(true)
  local results = table.pack(chunk())
  if results.n > 1 and jobs.is_job(results[1]) then -- `return nightly, weekly`
    return results
  end
  return results[1]
end

-- The jobs among what a file has returned; nil when it is something else.
local function jobs_of(result)
  local list = jobs.is_job(result) and { result } or result
  if type(list) ~= "table" or #list == 0 then
    return nil
  end
  for _, job in ipairs(list) do
    if not jobs.is_job(job) then
      return nil
    end
  end
  return list
end

local function check_names(path, list)
  local seen = {}
  for _, job in ipairs(list) do
    if seen[job.name] and job.name ~= "?" then -- "?": a job with mistakes
      spec.report(path, { { text = ("two jobs are called %q"):format(job.name), where = job.where } })
    end
    seen[job.name] = true
    job.path = path
  end
  for _, job in ipairs(list) do
    for _, name in ipairs(job:folders()) do
      if name ~= job.name and seen[name] then
        spec.report(path, { { text = ("job %s was %q, which another job is called now"):format(job.name,
          name), where = job.where } })
      end
    end
    for _, mistake in ipairs(job.kind == "job" and not job.is_verification and policy.violations(job) or
      {}) do
      spec.report("policy", { mistake })
    end
  end
end

local POLICY = "policy.lua"

local function load_file(path, is_optional)
  if not unguarded(fs.exists, path) then
    errors.raise("NOT_FOUND", ("there is no recipe %s"):format(path),
      { hint = "moonkeep init writes a first one" })
  end
  local folder = path:match "^(.*)/[^/]*$" or "."
  local loading = { folder = folder, modules = {} }
  return policy.scope(function()
    local rules = folder .. "/" .. POLICY
    if path:match "[^/]*$" ~= POLICY and unguarded(fs.exists, rules) then
      local result = run_file(folder == "." and POLICY or rules, loading)
      if result ~= nil or not policy.is_used() then
        errors.raise("INVALID", ("%s makes no policy"):format(rules), { hint =
          "it calls mk.policy { ... }, and returns nothing" })
      end
    end
    local found = jobs_of(run_file(path, loading))
    if not found and not is_optional and spec.n_collected() == 0 then
      errors.raise("INVALID", ("%s returns no job"):format(path),
        { hint = "end it with: return mk.job { name = \"...\", ... }" })
    end
    check_names(path, found or {})
    return found or {}
  end)
end

-- Loading does no I/O of the recipe's: what waits is refused meanwhile (see core.task.guard).
local function guarded(path, is_optional)
  core_task.guard(true)
  local results = table.pack(pcall(spec.collecting, path, load_file, path, is_optional))
  core_task.guard(false)
  core_task.track_lines(false)
  if not results[1] then
    error(results[2], 0)
  end
  return results[2]
end

--- Loads a file that returns a table like a job's `notify`: the site's notify.lua.
function M.load_notify(path)
  core_task.guard(true)
  local ok, result = pcall(spec.collecting, path, function()
    local loading = { folder = path:match "^(.*)/[^/]*$" or ".", modules = {} }
    local value = policy.scope(run_file, path, loading)
    spec.check("notify.lua", "notify", value)
    return value
  end)
  core_task.guard(false)
  core_task.track_lines(false)
  if not ok then
    error(result, 0)
  end
  return result
end

--- Loads a recipe and returns its list of jobs and tasks. Raises one error with everything that is
--- wrong with it.
function M.load(path)
  return guarded(path, false)
end

--- The recipes of a list of paths: files, or folders, of which every .lua file but policy.lua that
--- returns jobs counts. Returns the jobs, and a list of errors of the files that don't load.
function M.load_all(paths)
  local list, failures = {}, {}
  local function add(path, is_optional)
    local ok, result = pcall(guarded, path, is_optional)
    if ok then
      table.move(result, 1, #result, #list + 1, list)
    else
      failures[#failures + 1] = { path = path, error = errors.of(result) }
    end
  end
  for _, path in ipairs(paths) do
    local stat = fs.stat(path)
    if stat and stat.type == "directory" then
      local names = fs.list(path)
      table.sort(names)
      for _, name in ipairs(names) do
        if name:match "%.lua$" and not name:match "%.d%.lua$" and name ~= POLICY and
          name:sub(1, 1) ~= "." then
          add(path == "." and name or path:gsub("/+$", "") .. "/" .. name, true)
        end
      end
    else
      add(path, false)
    end
  end
  return list, failures
end

return M
