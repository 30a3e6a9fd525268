--- Types of the arguments of tasks and jobs: `args = { table = mk.arg.string, days = mk.arg.integer
--- { default = 7 } }`. Each parses the text of `--set name=value`.
local errors = require "moonkeep.errors"
local spec = require "moonkeep.spec"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = {}

local Arg = { __name = "moonkeep.Arg" }
Arg.__index = Arg

-- mk.arg.integer { default = 7, doc = "..." }, or just a default: mk.arg.integer(7)
function Arg:__call(options)
  if type(options) ~= "table" then
    options = { default = options }
  end
  spec.check("mk.arg." .. self.kind, "arg", options)
  return setmetatable({ kind = self.kind, parse = self.parse, expects = self.expects,
    default = options.default, doc = options.doc }, Arg)
end

function Arg:__tostring()
  return "mk.arg." .. self.kind
end

local function new(kind, expects, parse)
  return setmetatable({ kind = kind, expects = expects, parse = parse }, Arg)
end

local BOOLEANS = { ["true"] = true, yes = true, ["1"] = true, ["false"] = false, no = false,
  ["0"] = false }

M.string = new("string", "a text", function(text) return text end)
M.integer = new("integer", "a whole number", function(text)
  return text:match "^[+-]?%d+$" and math.tointeger(tonumber(text)) or nil
end)
M.number = new("number", "a number", tonumber)
M.boolean = new("boolean", "true or false", function(text) return BOOLEANS[text] end)
M.duration = new("duration", "a duration such as 90m", function(text)
  return units.duration(text) and text or nil
end)
M.size = new("size", "a size such as 64MiB", function(text)
  return units.size(text) and text or nil
end)
--- Seconds since 1970 UTC.
M.time = new("time", "a time such as 2026-11-22T02:00:00Z or \"2026-11-22 02:00\" (local)",
  function(text) return zone.parse_time(text) end)
M.table = new("table", "the name of a table, name or schema.name", function(text)
  return text ~= "" and text or nil
end)
M.database = new("database", "the name of a database", function(text)
  return text ~= "" and #text <= 63 and text or nil
end)
M.path = new("path", "an absolute path", function(text)
  return text:sub(1, 1) == "/" and text or nil
end)

--- mk.arg.one_of { "a", "b" }
function M.one_of(choices)
  spec.check_argument("mk.arg.one_of", "choices", "list", choices)
  local expects = "one of " .. table.concat(choices, ", ")
  return new("one_of", expects, function(text)
    for _, choice in ipairs(choices) do
      if text == choice then
        return text
      end
    end
  end)
end

--- The values of `args` from the texts of the command line. `what` names the task.
function M.parse(what, args, texts)
  local values, names = {}, {}
  for name in pairs(args) do
    names[#names + 1] = name
  end
  table.sort(names)
  for name, text in pairs(texts) do
    local arg = args[name]
    if not arg then
      errors.raise("USAGE", ("%s has no argument %q%s"):format(what, name,
        spec.suggestion(name, names)), { hint = #names == 0 and "it takes none" or
        "it has " .. table.concat(names, ", ") })
    end
    if type(text) == "table" then
      errors.raise("USAGE", ("%s: %s is given twice"):format(what, name))
    end
    values[name] = arg.parse(text)
    if values[name] == nil then
      errors.raise("USAGE", ("%s: %s must be %s, not %q"):format(what, name, arg.expects, text))
    end
  end
  local missing, hints = {}, {}
  for _, name in ipairs(names) do
    if values[name] == nil then
      values[name] = args[name].default
    end
    if values[name] == nil then
      missing[#missing + 1] = ("%s, %s"):format(name, args[name].expects)
      hints[#hints + 1] = ("--set %s=VALUE"):format(name)
    end
  end
  if #missing > 0 then
    errors.raise("USAGE", ("%s needs %s"):format(what, table.concat(missing, "; ")),
      { hint = "give it: " .. table.concat(hints, " ") })
  end
  return values
end

return M
