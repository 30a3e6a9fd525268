--- moonkeep init: a first recipe, the types for editors, their settings. Overwrites nothing.
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local pg = require "moonkeep.pg"
local prompt = require "moonkeep.prompt"
local recipe_text = require "moonkeep.cli.setup_recipe"
local runner = require "moonkeep.runner"
local stores = require "moonkeep.store"
local stubs = require "moonkeep.docs.stubs"
local types = require "moonkeep.definitions.types"

local M = {}

local STUBS, LUARC = "moonkeep.d.lua", ".luarc.json"

-- What was given, else what is typed; an empty line takes the proposal.
local function get(given, option, question, proposal)
  if given then
    return given
  end
  local answer = prompt.ask(("%s [%s]"):format(question, proposal))
  if answer == nil then
    errors.raise("USAGE", ("there is nobody to ask for %s"):format(option), { hint =
      "give it: moonkeep init --source dbname=app --to file:///var/backups/app" })
  end
  return answer:match "%S" and answer:match "^%s*(.-)%s*$" or proposal
end

-- A bare name is a database, a path a folder: what people type.
local function connection_of(text)
  if text:find("=", 1, true) or text:find("://", 1, true) then
    return text
  end
  return "dbname=" .. text
end

local function check(source, url, name)
  if types.name.check(name) then
    errors.raise("USAGE", "--name " .. types.name.check(name))
  end
  local made = pg.source(source)
  if made.keys.password then
    errors.raise("USAGE", "the connection has a password in it, which would be in the recipe",
      { hint = "leave it out, and put it into ~/.pgpass (mode 0600), or use mk.secret in the recipe" })
  end
  stores.new("disk", url)
end

local function write(path, text, mode)
  local ok, err = pcall(fs.write, path, text, mode, true)
  if not ok then
    if errors.of(err).code == "ALREADY_EXISTS" then
      err.message, err.hint = path .. " exists already", "nothing was overwritten; give another " ..
        "folder, or another --name"
    end
    error(err, 0)
  end
end

function M.run(options)
  local folder = options.folder or "."
  local name = options.name or "nightly"
  local file = folder == "." and name .. ".lua" or folder:gsub("/+$", "") .. "/" .. name .. ".lua"
  if fs.exists(file) then
    errors.raise("ALREADY_EXISTS", file .. " exists already",
      { hint = "nothing was overwritten; give another folder, or another --name" })
  end
  local source = connection_of(get(options.source, "--source",
    "Which database? A name, libpq's keys or a URI", "dbname=" .. (os.getenv "PGDATABASE" or "app")))
  local url = stores.url_of(get(options.to, "--to", "Where to? A folder or a store's URL",
    "/var/backups/moonkeep"))
  check(source, url, name)
  fs.mkdir(folder)
  write(file, recipe_text.text(file, name, source, url), 420) -- 0644: no secret is in it
  local written = { file }
  for other, text in pairs { [STUBS] = stubs.text(), [LUARC] = stubs.luarc(STUBS) } do
    local path = file:match "^(.*)/[^/]*$" and file:match "^(.*)/[^/]*$" .. "/" .. other or other
    if not fs.exists(path) then
      write(path, text, 420)
      written[#written + 1] = path
    end
  end
  table.sort(written, function(a, b) return a == file or (b ~= file and a < b) end)
  if options.json then
    output.json("init", { files = written, source = source, store = url })
    return runner.OK
  end
  for _, path in ipairs(written) do
    log.show("wrote %s", path)
  end
  log.show ""
  log.show("Next:  moonkeep doctor %s", file)
  log.show("       moonkeep run %s", file)
  return runner.OK
end

return M
