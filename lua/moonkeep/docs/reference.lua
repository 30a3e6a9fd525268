--- docs/reference/recipes.md and docs/reference/commands.md, from moonkeep.definitions.
local commands = require "moonkeep.definitions.commands"
local functions = require "moonkeep.definitions.functions"
local parser = require "moonkeep.cli.parser"
local tables = require "moonkeep.definitions.tables"

local M = {}

local RECIPES_HEAD = [[
# Recipes

<!-- Made from lua/moonkeep/definitions by `./dev docs`. -->

A recipe is a Lua 5.4 file that returns a job or a task, or a list of them. It is read as text, in an
environment of its own: undeclared globals are errors, and there is no `io`, `debug`, `package` or
`os.execute`. `require "moonkeep"` gives what is described here; `require "stores"` loads `stores.lua`
beside the recipe. **Loading does no I/O**: what connects, reads or waits belongs into `run`, so `check`,
`plan`, `next` and `list` are always safe. Every table is checked when the recipe is loaded, and all
mistakes are told at once, each with its line.

Everything that takes time waits without blocking, so calls look synchronous and there are no
callbacks. *Verbs raise* an error value (`code`, `message`, `hint`, ...; see [events](events.md));
*questions return* `nil`. What must be undone is a `<close>` variable. Durations are strings: `"500ms"`,
`"30s"`, `"90m"`, `"3h"`, `"2d"`; so are sizes: `"64MiB"`, `"10GB"`.

`moonkeep init` writes types for editors that know LuaLS beside a recipe.
]]

local TABLES = { "job", "dump", "copies", "encrypt", "keep", "unusual", "schedule", "retry", "notify",
  "verify", "task", "restore", "policy",
  "store", "s3" }
for _, service in ipairs(require "moonkeep.notify.services") do
  TABLES[#TABLES + 1] = "notify_" .. service.name
end

local SMALL = { "scratch", "connect", "transaction", "each", "process", "http", "arg" }

local function cell(text)
  return (text:gsub("|", "\\|"))
end

local function describe(entry)
  local text = entry[3]
  if entry.one_of then
    text = ("%s (`%s`)"):format(text, table.concat(entry.one_of, "`, `"))
  end
  if entry.required then
    text = text .. "; required"
  elseif entry.default then
    text = ("%s; default %s"):format(text, entry.default:find '"' and "`" .. entry.default .. "`" or
      entry.default)
  end
  if entry.since then
    text = ("%s; since PostgreSQL %d"):format(text, entry.since)
  end
  return cell(text)
end

local TYPE_NAMES = { sections = "string or list", extra = "list",
  source = "`mk.pg`", stores = "list of `mk.store`", strings = "string or list",
  secret_text = "string or secret", args = "table of `mk.arg`", tags = "table of strings",
  address = "string", addresses = "string or list", notifiers = "`mk.notify`, or list",
  databases = "list or `\"all\"`", globals = "boolean or string", name = "string",
  database = "string", environment = "table", any = "any", recipients = "string or list",
  public_keys = "string or list", secrets = "secret or list", encrypt = "table or `false`",
  escrow = "duration or `false`", keep = "table, function or `false`", jobs = "list of `mk.job`",
  levels = "string or list", sample = "string or integer" }

local function add_table(out, name, level)
  local definition = tables[name]
  out[#out + 1] = ("%s %s\n\n%s\n\n| key | type | meaning |\n|---|---|---|"):format(level,
    definition.title, definition.doc)
  for _, entry in ipairs(definition.keys) do
    out[#out + 1] = ("| `%s` | %s | %s |"):format(entry[1], TYPE_NAMES[entry[2]] or entry[2],
      describe(entry))
  end
  out[#out + 1] = ""
end

local function signature(item)
  local names = {}
  for i, param in ipairs(item.params) do
    names[i] = param:match "^([%w_.]+)"
  end
  local name = item.name:gsub("^Context:", "ctx:"):gsub("^(%u)(%l+):", function(first, rest)
    return first:lower() .. rest .. ":"
  end)
  return ("`%s(%s)`"):format(name, table.concat(names, ", "))
end

--- docs/reference/recipes.md; `tail` is what is written by hand.
function M.recipes(tail)
  local out = { RECIPES_HEAD }
  for _, name in ipairs(TABLES) do
    add_table(out, name, "##")
  end
  for _, group in ipairs(functions) do
    out[#out + 1] = "## " .. group.title .. "\n"
    if group.note then
      out[#out + 1] = group.note .. "\n"
    end
    out[#out + 1] = "| function | does |\n|---|---|"
    for _, value in ipairs(group.values or {}) do
      out[#out + 1] = ("| `%s` | %s |"):format(value[1], cell(value[3]))
    end
    for _, item in ipairs(group.functions) do
      out[#out + 1] = ("| %s | %s |"):format(signature(item), cell(item.doc))
    end
    out[#out + 1] = ""
  end
  out[#out + 1] = "## Options of functions\n"
  for _, name in ipairs(SMALL) do
    add_table(out, name, "###")
  end
  out[#out + 1] = tail
  return table.concat(out, "\n")
end

local COMMANDS_HEAD = [[
# Commands

<!-- Made from lua/moonkeep/definitions/commands.lua by `./dev docs`. -->

Commands that are about backups find them in `--from`: a recipe, a folder of recipes, or a store (its URL
or its folder); without it in `$MOONKEEP_FROM`, else in the recipes of the current folder. A backup is
named by its id, by the six digits at its end, or by `latest`.

Results are on stdout, messages on stderr. With `--json` the result is one JSON document with `version`
(of its shape: 1) and `command`; see [JSON documents](#json-documents).
]]

--- docs/reference/commands.md
function M.commands(tail)
  local out = { COMMANDS_HEAD }
  for _, command in ipairs(commands.list) do
    out[#out + 1] = ("## moonkeep %s\n\n%s\n\n```text\n%s\n```\n"):format(command[1], command[2],
      parser.usage(command))
    if #command.arguments + #command.options > 0 then
      out[#out + 1] = "| | |\n|---|---|"
      for _, argument in ipairs(command.arguments) do
        out[#out + 1] = ("| `%s` | %s |"):format(argument[1]:upper(), cell(argument[2]))
      end
      for _, option in ipairs(command.options) do
        local left, text = parser.describe_option(option)
        out[#out + 1] = ("| `%s` | %s |"):format(left, cell(text))
      end
      out[#out + 1] = ""
    end
    if #command.examples > 0 then
      local lines = {}
      for i, example in ipairs(command.examples) do
        lines[i] = example[2] ~= "" and ("%s  # %s"):format(example[1], example[2]) or example[1]
      end
      out[#out + 1] = ("```text\n%s\n```\n"):format(table.concat(lines, "\n"))
    end
  end
  out[#out + 1] = "## Options of every command\n\n| | |\n|---|---|"
  for _, option in ipairs(commands.common) do
    local left, text = parser.describe_option(option)
    out[#out + 1] = ("| `%s` | %s |"):format(left, cell(text))
  end
  out[#out + 1] = "\n## Environment\n\n| | |\n|---|---|"
  for _, variable in ipairs(commands.environment) do
    out[#out + 1] = ("| `%s` | %s |"):format(variable[1], cell(variable[2]))
  end
  out[#out + 1] = "\n## Exit codes\n\n| | |\n|---|---|"
  for _, exit in ipairs(commands.exits) do
    out[#out + 1] = ("| %s | %s |"):format(exit[1], exit[2])
  end
  out[#out + 1] = "\n" .. tail
  return table.concat(out, "\n")
end

return M
