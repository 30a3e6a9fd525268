--- Reading the command line: definitions/commands.lua as an argparse parser, and its help.
local argparse = require "argparse"
local commands = require "moonkeep.definitions.commands"
local errors = require "moonkeep.errors"

local M = {}

local function names_of(option)
  local names = {}
  for name in option[1]:gmatch "%S+" do
    names[#names + 1] = name
  end
  return names
end

local function target_of(option)
  return (option[1]:match "%-%-(%S+)":gsub("-", "_"))
end

local function add_options(parser, options)
  for _, option in ipairs(options) do
    if not option.value then
      parser:flag(option[1]):description(option[2]):target(target_of(option))
    else
      local made = parser:option(option[1]):description(option[2]):target(target_of(option))
        :argname(option.value):count(option.many and "*" or "?")
      if option.one_of then
        made:choices(option.one_of)
      end
    end
  end
end

local function add_command(parser, command, is_needed)
  local sub = parser:command(command[1]):summary(command[2]):description(command[2])
    :add_help(false)
  if not is_needed then
    return
  end
  for _, argument in ipairs(command.arguments) do
    local made = sub:argument(argument[1]):description(argument[2]):args(argument.args or 1)
    if argument.one_of then
      made:choices(argument.one_of)
    end
  end
  add_options(sub, command.options)
  add_options(sub, commands.common)
end

--- The commands as an argparse parser: all of them, as completion is made from, or, for a command
--- line, with the options of the command of that name only.
function M.make(name)
  local parser = argparse "moonkeep":add_help(false):require_command(true)
    :command_target "command"
  parser:flag "-h --help":description "show this help":target "help"
  for _, command in ipairs(commands.list) do
    add_command(parser, command, not name or name == command[1])
  end
  return parser
end

-- ---- help ---------------------------------------------------------------------------------------

local WIDTH = 79

-- Text in lines of at most WIDTH, each after `indent` blanks.
local function wrap(text, indent)
  local lines, line = {}, nil
  for word in text:gmatch "%S+" do
    if line and #line + 1 + #word > WIDTH - indent then
      lines[#lines + 1] = line
      line = nil
    end
    line = line and line .. " " .. word or word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. (" "):rep(indent))
end

local COLUMN = 26

local function row(left, right)
  left = "  " .. left
  local gap = #left < COLUMN - 1 and (" "):rep(COLUMN - #left) or "\n" .. (" "):rep(COLUMN)
  return left .. gap .. wrap(right, COLUMN)
end

local ARGUMENT_SHAPES = { ["?"] = "[%s]", ["*"] = "[%s...]", ["+"] = "%s..." }

local function usage(command)
  local parts = { "moonkeep " .. command[1] }
  for _, argument in ipairs(command.arguments) do
    parts[#parts + 1] = (ARGUMENT_SHAPES[argument.args] or "%s"):format(argument[1]:upper())
  end
  for _, option in ipairs(command.options) do
    if option.required then
      parts[#parts + 1] = ("%s %s"):format(names_of(option)[1], option.value)
    end
  end
  parts[#parts + 1] = "[OPTION...]"
  return table.concat(parts, " ")
end
M.usage = usage

--- An option as it is shown: "-s, --set KEY=VALUE", and its text with choices and default.
function M.describe_option(option)
  local left = table.concat(names_of(option), ", ") .. (option.value and " " .. option.value or "")
  local text = option[2]
  if option.one_of then
    text = ("%s: %s"):format(text, table.concat(option.one_of, ", "))
  end
  if option.default then
    text = ("%s (default: %s)"):format(text, option.default)
  end
  return left, text
end

local function option_rows(lines, options)
  for _, option in ipairs(options) do
    lines[#lines + 1] = row(M.describe_option(option))
  end
end

local function section(lines, title)
  lines[#lines + 1] = ""
  lines[#lines + 1] = title
end

local function plain(text)
  return (text:gsub("`", ""))
end

--- The help of one command.
function M.command_help(command)
  local lines = { wrap(command[2], 0), "", "Usage: " .. usage(command) }
  if #command.arguments > 0 then
    section(lines, "Arguments:")
    for _, argument in ipairs(command.arguments) do
      lines[#lines + 1] = row(argument[1]:upper(), plain(argument[2]))
    end
  end
  section(lines, "Options:")
  option_rows(lines, command.options)
  option_rows(lines, commands.common)
  if #command.examples > 0 then
    section(lines, "Examples:")
    for _, example in ipairs(command.examples) do
      lines[#lines + 1] = "  " .. example[1]
      lines[#lines + 1] = example[2] ~= "" and "      " .. example[2] or nil
    end
  end
  section(lines, "Environment:")
  for _, variable in ipairs(commands.environment) do
    lines[#lines + 1] = row(variable[1], variable[2])
  end
  section(lines, "Exit codes:")
  for _, exit in ipairs(commands.exits) do
    lines[#lines + 1] = row(tostring(exit[1]), exit[2])
  end
  return plain(table.concat(lines, "\n"))
end

--- The help of moonkeep itself.
function M.help()
  local lines = { "moonkeep backs PostgreSQL up by Lua recipes, and proves that the backups restore.",
    "", "Usage: moonkeep COMMAND [ARGUMENT...] [OPTION...]" }
  section(lines, "Commands:")
  for _, command in ipairs(commands.list) do
    lines[#lines + 1] = row(command[1], command[2])
  end
  section(lines, "First steps:")
  for _, step in ipairs { { "moonkeep init", "writes a recipe" },
    { "moonkeep doctor nightly.lua", "says what is missing, and how to get it" },
    { "moonkeep run nightly.lua", "makes the first backup" } } do
    lines[#lines + 1] = ("  %-30s %s"):format(step[1], step[2])
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "moonkeep COMMAND --help tells more, with examples."
  return table.concat(lines, "\n")
end

-- ---- parsing ------------------------------------------------------------------------------------

local function wants_help(arguments)
  for _, argument in ipairs(arguments) do
    if argument == "--" then
      return false
    elseif argument == "-h" or argument == "--help" then
      return true
    end
  end
  return false
end

--- Returns the options of the command line, with `command`; or "help" and a text to show. Raises
--- USAGE.
function M.parse(arguments)
  local name = arguments[1]
  if not name or name == "help" and not arguments[2] or name == "-h" or name == "--help" then
    return "help", M.help()
  end
  if name == "help" then
    arguments = { arguments[2], "--help" }
    name = arguments[1]
  end
  local command = commands.find(name)
  if command and wants_help(arguments) then
    return "help", M.command_help(command)
  end
  local ok, result = M.make(name):pparse(arguments)
  if not ok then
    local message, meant = result:match "^(.-)\n(Did you mean.*)$"
    message = (message or result):gsub("'", "\"")
    local help = command and ("moonkeep %s --help"):format(name) or "moonkeep --help"
    errors.raise("USAGE", message, { hint = (meant and meant:gsub("'", "\"") .. " " or "") ..
      "See: " .. help })
  end
  return result
end

return M
