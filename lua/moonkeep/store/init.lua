--- Stores: named places for backups, chosen by URL. How backups lie in them, and what a kind of
--- store has to offer: moonkeep.store.layout.
local errors = require "moonkeep.errors"
local names_of = require "moonkeep.names_of"
local spec = require "moonkeep.spec"
local types = require "moonkeep.definitions.types"

local M = {}

-- The driver of each kind, and the table of its options.
local KINDS = { file = { "moonkeep.store.file", "store" }, s3 = { "moonkeep.store.s3", "s3" } }


-- What a mistake leaves while a recipe is being loaded: nothing ever runs with it.
local Unusable = { __name = "moonkeep.Store" }

local function mistake(text, hint)
  spec.report("mk.store", { { text = text, hint = hint } })
  return setmetatable({ name = "?" }, Unusable)
end

--- mk.store("disk", "file:///var/backups/app", { offsite = true })
function M.new(name, url, options)
  options = options or {}
  if types.name.check(name) then
    return mistake("the name " .. types.name.check(name))
  end
  local kind, rest = tostring(url):match "^(%a%w*)://(.*)$"
  if not kind then
    return mistake(("%q is not a URL"):format(tostring(url)),
      "write it as mk.store(\"disk\", \"file:///var/backups/app\")")
  elseif not KINDS[kind] then
    local kinds = names_of(KINDS)
    local meant = spec.nearest(kind, kinds)
    return mistake(("there is no kind of store %q"):format(kind),
      meant and ("did you mean %q?"):format(meant) or "there is: " .. table.concat(kinds, ", "))
  elseif not spec.check("mk.store", KINDS[kind][2], options) then
    return setmetatable({ name = name }, Unusable)
  end
  local driver, why, hint = require(KINDS[kind][1]).new(rest, options)
  if not driver then
    return mistake(why, hint)
  end
  local store = require("moonkeep.store.layout").new(name, driver, options)
  store.url, store.kind = url, kind
  return store
end

--- The URL that people mean on a command line: a path is a folder.
function M.url_of(text)
  return text:sub(1, 1) == "/" and "file://" .. text or text
end

local Backup = { __name = "moonkeep.Backup" }

-- How many rows each table had when it was dumped: { ["schema.name"] = n }. A name that is none raises.
local function rows_of(backup)
  local rows = {}
  if not backup.manifest.tables then
    errors.raise("UNSUPPORTED", ("%s does not say what rows it has"):format(backup.id), { hint =
      "it is one stream of pg_dump's; or it is encrypted, and was not opened here: " ..
      "ctx:verify(backup, \"decoded\") does that" })
  end
  for _, known in ipairs(backup.manifest.tables) do
    rows[known.schema .. "." .. known.name] = known.rows
  end
  return setmetatable(rows, { __index = function(_, name)
    errors.raise("NOT_FOUND", ("%s has no table %q%s"):format(backup.id, tostring(name),
      spec.suggestion(tostring(name), names_of(rows))))
  end })
end

function Backup.__index(backup, key)
  if key == "rows" then
    local rows = rows_of(backup)
    rawset(backup, "rows", rows)
    return rows
  end
end

function Backup:__tostring()
  return ("backup %s of %s by %s"):format(self.id, self.series, self.job)
end

--- A backup as ctx:verify and ctx:restore take it: { id, job, series, manifest, stores, proof }, and
--- `rows`, how many each table had.
function M.backup(fields)
  return setmetatable(fields, Backup)
end

--- A database's name as the name of a series: percent-encoded, so it can't be a path.
function M.series(name)
  return (name:gsub("[^%w_-]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

--- The name again.
function M.unseries(series)
  return (series:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

--- How many series are read at once: what is read of one is worked on while another is.
M.SERIES_AT_ONCE = 3

--- Of a survey (Store:survey): the id and the marks of each backup that is there, oldest first.
function M.there(ids, states)
  local i = 0
  return function()
    repeat
      i = i + 1
    until not ids[i] or states[i].is_there
    if ids[i] then
      return ids[i], states[i].marks
    end
  end
end

return M
