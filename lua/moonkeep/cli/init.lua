--- The command line's main: reads it, tells the supervisor how much to show, and runs the command.
--- Each command is a module of this folder with run(options) -> exit code.
local commands = require "moonkeep.definitions.commands"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local keyring = require "moonkeep.encryption.keyring"
local log = require "moonkeep.log"
local parser = require "moonkeep.cli.parser"
local runner = require "moonkeep.runner"
local secret = require "moonkeep.secret"
local signature = require "moonkeep.signature"
local trust = require "moonkeep.trust"
local units = require "moonkeep.units"

local M = {}

-- Commands whose messages are for a log collector when nobody watches.
local IS_RUN = { run = true, verify = true, restore = true, copy = true, rekey = true }

local HELP = { hint = "see: moonkeep run --help" }
local MIN_LUA_MEMORY = 1 << 20

local function set_limits(options)
  local watchdog, why = units.duration(options.watchdog or "10s")
  if not watchdog then
    errors.raise("USAGE", ("--watchdog %s, not %q"):format(why, options.watchdog), HELP)
  end
  local memory = units.size(options.lua_memory or "128MiB")
  if not memory or memory < MIN_LUA_MEMORY then
    errors.raise("USAGE", ("--lua-memory must be a size of at least 1MiB, such as \"64MiB\", not %q")
      :format(options.lua_memory), HELP)
  end
  host.limit(watchdog, memory)
end

local function settings(options)
  local format = options.log_format
  if not format then
    format = IS_RUN[options.command] and not host.is_terminal(2) and "json" or "human"
  end
  log.event({ event = "settings", log_format = format, quiet = options.quiet or false,
    verbose = options.verbose or false }, true)
end

-- Before the command line is understood: a mistake in it is told to people, unless they asked
-- for JSON.
local function first_settings(arguments)
  local format = "human"
  for i, argument in ipairs(arguments) do
    if argument == "--log-format=json" or argument == "--json" or
      argument == "--log-format" and arguments[i + 1] == "json" then
      format = "json"
    end
  end
  log.event({ event = "settings", log_format = format }, true)
end

local OUT_OF_MEMORY = { LUA_MEMORY = true, NO_MEMORY = true } -- nobody's mistake
local MISTAKES = { USAGE = true, INVALID = true, SYNTAX = true, UNSAFE_RECIPE = true }

local function code_of(err, options)
  if options.loading and not OUT_OF_MEMORY[err.code] or MISTAKES[err.code] then
    return runner.USAGE
  end
  return runner.FAILED
end

-- What opens backups, and whose are believed.
local function keys(options)
  local identities = {}
  for i, path in ipairs(options.identity or {}) do
    identities[i] = secret.file(path)
  end
  if #identities > 0 then
    keyring.only(identities)
  end
  for _, line in ipairs(options.trust or {}) do
    if not signature.public_key(line) then
      errors.raise("USAGE", ("--trust takes a public key of minisign's, \"RW...\", not %q"):format(line))
    end
  end
  if #(options.trust or {}) > 0 then
    trust.require_of_all(options.trust)
  end
end

--- Runs in the main task. Returns the exit code.
function M.main()
  local arguments = host.arguments()
  local options = { loading = false }
  if arguments[1] == "deliver" then -- the supervisor's own, not for people
    return require("moonkeep.notify.deliver").run(arguments[2], arguments[3] == "keep")
  end
  first_settings(arguments)
  secret.optional_env "PGPASSWORD" -- no child inherits it
  local ok, result = xpcall(function()
    local parsed, text = parser.parse(arguments)
    if parsed == "help" then
      log.show("%s", text)
      return runner.OK
    end
    options = parsed
    set_limits(options)
    runner.verbose = options.verbose
    settings(options)
    keys(options)
    local module = commands.find(options.command).module or options.command
    return require("moonkeep.cli." .. module).run(options)
  end, errors.handler)
  if ok then
    return runner.exit(result)
  end
  local err = errors.explain(errors.of(result))
  runner.report(err)
  if options.json then
    require("moonkeep.cli.output").json(options.command, { error = runner.plain(err) })
  end
  return runner.exit(code_of(err, options))
end

M.failed = runner.failed

return M
