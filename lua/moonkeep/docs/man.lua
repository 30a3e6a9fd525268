--- The manual page moonkeep(1), in man(7) macros, from definitions/commands.lua.
local commands = require "moonkeep.definitions.commands"
local host = require "moonkeep.core.host"
local parser = require "moonkeep.cli.parser"

local M = {}

local function escape(text)
  return (text:gsub("`", ""):gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("^([.'])", "\\&%1"))
end

local function item(out, left, text)
  out[#out + 1] = (".TP\n.B %s\n%s"):format(escape(left), escape(text))
end

local function option_items(out, options)
  for _, option in ipairs(options) do
    item(out, parser.describe_option(option))
  end
end

--- The page.
function M.page()
  local out = { (".TH MOONKEEP 1 \"\" \"moonkeep %s\" \"User Commands\""):format(host.version()),
    ".SH NAME\nmoonkeep \\- backs PostgreSQL up by Lua recipes, and proves that the backups restore",
    ".SH SYNOPSIS" }
  for _, command in ipairs(commands.list) do
    out[#out + 1] = escape(parser.usage(command)) .. "\n.br"
  end
  out[#out + 1] = ".SH COMMANDS"
  for _, command in ipairs(commands.list) do
    out[#out + 1] = (".SS %s\n%s"):format(escape("moonkeep " .. command[1]), escape(command[2]))
    for _, argument in ipairs(command.arguments) do
      item(out, argument[1]:upper(), argument[2])
    end
    option_items(out, command.options)
    if #command.examples > 0 then
      out[#out + 1] = ".PP\nExamples:\n.nf"
      for _, example in ipairs(command.examples) do
        out[#out + 1] = "  " .. escape(example[1])
      end
      out[#out + 1] = ".fi"
    end
  end
  out[#out + 1] = ".SH OPTIONS\nOf every command:"
  option_items(out, commands.common)
  out[#out + 1] = ".SH ENVIRONMENT"
  for _, variable in ipairs(commands.environment) do
    item(out, variable[1], variable[2])
  end
  out[#out + 1] = ".SH EXIT STATUS"
  for _, exit in ipairs(commands.exits) do
    item(out, tostring(exit[1]), exit[2])
  end
  return table.concat(out, "\n")
end

return M
