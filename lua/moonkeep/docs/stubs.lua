--- The types for editors (LuaLS), from moonkeep.definitions. `init` writes them beside a recipe;
--- lua/_meta/moonkeep.d.lua is the same text.
local functions = require "moonkeep.definitions.functions"
local tables = require "moonkeep.definitions.tables"
local types = require "moonkeep.definitions.types"

local M = {}

local HEAD = [[
---@meta moonkeep
-- Types of everything that a recipe can call, made from lua/moonkeep/definitions.

---@alias moonkeep.Duration string # "500ms", "30s", "90m", "3h", "2d"
---@alias moonkeep.Size string # "64MiB", "10GB"
---@alias moonkeep.Codec string # "none", "gzip:1".."gzip:9", "lz4:1".."lz4:12", "zstd:1".."zstd:19"
---@alias moonkeep.Level "stored"|"read"|"decoded"|"restored"

---@class moonkeep.Error
---@field code string stable upper-case name, see docs/reference/events.md
---@field message string
---@field hint? string what to do
---@field fault? string name of a known fault of PostgreSQL
---@field detail? string
---@field sqlstate? string
---@field where? string recipe file and line
---@field also? moonkeep.Error[]

---@class moonkeep.FileStat
---@field size integer
---@field mode integer
---@field uid integer
---@field mtime integer
---@field type "file"|"directory"|"other"

---@class moonkeep.FlowReport
---@field bytes_in integer
---@field bytes_out integer
---@field result? string
---@field error? moonkeep.Error

---@class moonkeep.Backup
---@field id string
---@field job string
---@field series string
---@field manifest table
---@field stores moonkeep.Store[]
---@field proof moonkeep.Level
---@field missing? { store: moonkeep.Store, error: moonkeep.Error }[]
---@field rows table<string, integer> by "schema.name", when it was dumped
---@field roles? moonkeep.Backup

---@class moonkeep.Job
---@class moonkeep.Stream
---@class moonkeep.Secret
---@class moonkeep.Notifier
---@class moonkeep.Arg
---@overload fun(options: moonkeep.ArgKeys|any): moonkeep.Arg
]]

-- Our own types of a LuaLS type, with their prefix.
local function qualify(text)
  return (text:gsub("%f[%w_.]%u%l[%w]*", function(name)
    return "moonkeep." .. name
  end))
end

--- "dump_of" -> "DumpOfKeys"
function M.class_name(table_name)
  return ("_" .. table_name):gsub("_(%l)", string.upper) .. "Keys"
end

local function type_of(entry)
  if entry.keys then
    local others = types[entry[2]].luals:match "^moonkeep%.%u%a+(|.*)$" -- false, a function
    return "moonkeep." .. M.class_name(entry.keys) .. (others or "")
  elseif entry.one_of then
    return '"' .. table.concat(entry.one_of, '"|"') .. '"'
  elseif entry.of then
    return types[entry.of].luals .. "[]"
  end
  return types[entry[2]].luals
end

local function add_table(out, name, definition)
  out[#out + 1] = ("---%s"):format(definition.doc)
  out[#out + 1] = ("---@class moonkeep.%s"):format(M.class_name(name))
  for _, entry in ipairs(definition.keys) do
    local default = entry.default and (" (default: %s)"):format(entry.default) or ""
    out[#out + 1] = ("---@field %s%s %s %s%s"):format(entry[1], entry.required and "" or "?",
      type_of(entry), entry[3], default)
  end
  out[#out + 1] = ""
end

local function add_function(out, item)
  out[#out + 1] = "---" .. item.doc
  local names = {}
  for i, param in ipairs(item.params) do
    local name, kind = param:match "^([%w_.]+%??): (.*)$"
    names[i] = name:gsub("%?$", "")
    out[#out + 1] = ("---@param %s %s"):format(name, qualify(kind))
  end
  for _, result in ipairs(item.returns) do
    out[#out + 1] = "---@return " .. qualify(result)
  end
  out[#out + 1] = ("function %s(%s) end\n"):format(item.name, table.concat(names, ", "))
end

local CLASSES = { "Context", "Source", "Connection", "Cluster", "Store", "Child", "Answer" }

--- The text of moonkeep.d.lua.
function M.text()
  local out, names = { HEAD }, {}
  for name, definition in pairs(tables) do
    names[#names + 1] = definition.keys and name or nil
  end
  table.sort(names)
  for _, name in ipairs(names) do
    add_table(out, name, tables[name])
  end
  for _, class in ipairs(CLASSES) do
    out[#out + 1] = ("---@class moonkeep.%s\nlocal %s = {}\n"):format(class, class)
  end
  out[#out + 1] = "---@class moonkeep\nlocal mk = {}\n"
  for _, part in ipairs { "secret", "notify", "arg", "flow", "process", "http", "fs", "clock", "json",
    "log" } do
    out[#out + 1] = ("---@class moonkeep.%s\nmk.%s = {}\n"):format(part, part)
  end
  out[#out + 1] = "---@class moonkeep.pg\n---@overload fun(what: table<string, " ..
    "string|integer|moonkeep.Secret>|string|moonkeep.Secret): moonkeep.Source\nmk.pg = {}\n"
  for _, group in ipairs(functions) do
    for _, value in ipairs(group.values or {}) do
      out[#out + 1] = ("---%s\n---@type %s\n%s = nil\n"):format(value[3], qualify(value[2]), value[1])
    end
    for _, item in ipairs(group.functions) do
      if item.name ~= "mk.pg" then -- it can be called and has functions
        add_function(out, item)
      end
    end
  end
  out[#out + 1] = "return mk\n"
  return table.concat(out, "\n")
end

--- The settings for LuaLS in a folder of recipes whose types are in `file`.
function M.luarc(file)
  return ('{\n  "runtime.version": "Lua 5.4",\n  "workspace.library": ["%s"],\n' ..
    '  "diagnostics.globals": []\n}\n'):format(file)
end

return M
