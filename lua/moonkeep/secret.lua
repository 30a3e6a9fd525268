--- Secrets: values that recipes pass on without seeing them. They print redacted, are read only
--- when they are needed, and whatever has been read is kept out of everything that is logged.
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local redact = require "moonkeep.redact"

local M = {}

local Secret = { __name = "moonkeep.Secret" }
Secret.__index = Secret

-- What a secret is, out of reach of recipes (and of mk.json).
local states = setmetatable({}, { __mode = "k" })

function Secret:__tostring()
  return ("secret %s [redacted]"):format(states[self].shown)
end

-- `kind` and `argument`: what makes it again.
local function new(kind, argument, shown, read)
  local secret = setmetatable({}, Secret)
  states[secret] = { kind = kind, argument = argument, shown = kind .. ":" .. shown, read = read }
  return secret
end

local function check_text(what, text)
  if type(text) ~= "string" or text == "" or text:find "%z" then
    errors.raise("INVALID", ("%s takes a string"):format(what))
  end
end

local function one_line(text)
  return (text:gsub("\r?\n$", ""))
end

local taken = {} -- environment variables that were taken out of the environment

--- mk.secret.env "SLACK_URL": an environment variable. Children of the run do not inherit it.
function M.env(name)
  check_text("mk.secret.env", name)
  if taken[name] == nil then
    taken[name] = host.take_env(name) or false
  end
  return new("env", name, name, function()
    if not taken[name] then
      errors.raise("SECRET_MISSING", ("the environment variable %s is not set"):format(name),
        { hint = ("set it for this command: %s=... moonkeep ..."):format(name) })
    end
    return taken[name]
  end)
end

--- The environment variables that were taken, by name: for a process of our own.
function M.taken()
  local env = {}
  for name, value in pairs(taken) do
    env[name] = value or nil
  end
  return env
end

--- The secret of an environment variable that need not be there, or nil. For the library.
function M.optional_env(name)
  local secret = M.env(name)
  return taken[name] and taken[name] ~= "" and secret or nil
end

-- Not required above: moonkeep.fs and moonkeep.process are checked by what uses secrets.
local function read_file(path, what)
  local ok, text = pcall(require("moonkeep.fs").read, path)
  if not ok then
    local is_denied = errors.of(text).code == "PERMISSION_DENIED"
    errors.raise("SECRET_MISSING", ("%s cannot be read: %s"):format(what, text.message or text),
      { hint = is_denied and "make it readable for this user only: chown, and chmod 0400" or
        "it takes the path of a file: check the spelling" })
  end
  return one_line(text)
end

--- mk.secret.file "/run/secrets/db": the text of a file, without a newline at its end.
function M.file(path)
  check_text("mk.secret.file", path)
  return new("file", path, path, function()
    return read_file(path, "the secret file " .. path)
  end)
end

--- mk.secret.cmd { "pass", "show", "db" }: what a program prints, without a newline at its end.
function M.cmd(argv)
  if type(argv) ~= "table" or type(argv[1]) ~= "string" then
    errors.raise("INVALID", "mk.secret.cmd takes a list of arguments",
      { hint = "write it as mk.secret.cmd { \"program\", \"argument\" }; nothing goes through a shell" })
  end
  return new("cmd", argv, argv[1], function()
    local text = one_line(require("moonkeep.process").run { argv = argv })
    if text == "" then
      errors.raise("SECRET_MISSING", ("%s printed nothing"):format(argv[1]))
    end
    return text
  end)
end

--- mk.secret.credential "db": a systemd credential (LoadCredential=).
function M.credential(name)
  check_text("mk.secret.credential", name)
  if name:find "/" then
    errors.raise("INVALID", "mk.secret.credential takes a name, not a path")
  end
  return new("credential", name, name, function()
    local folder = os.getenv "CREDENTIALS_DIRECTORY"
    if not folder then
      errors.raise("SECRET_MISSING", ("there are no systemd credentials here, but %s is needed")
        :format(name), { hint = ("run it as a service with LoadCredential=%s:PATH"):format(name) })
    end
    return read_file(folder .. "/" .. name, "the credential " .. name)
  end)
end

-- Messages show URLs without user and query: of one that is a secret, not that either.
local function redact_url(value)
  local scheme, rest = value:match "^(%a[%w+.-]*://)([^?#]*)"
  if scheme then
    rest = rest:gsub("^[^/@]*@", ""):gsub("/+$", "")
    redact.add(scheme .. rest)
    redact.add(rest:match "/.*$")
  end
end

--- The text of a secret; any other value as it is. For the library only: recipes get `mk.secret`.
function M.reveal(value)
  local state = states[value]
  if not state then
    return value
  end
  if state.value == nil then
    local text = state.read()
    if text == "" then -- a password, a key, a passphrase that everybody knows
      errors.raise("SECRET_MISSING", M.shown(value) .. " is empty")
    end
    state.value = text
    redact.add(state.value)
    redact_url(state.value)
  end
  return state.value
end

--- What makes the same secret again, without its value: { kind, argument }; nil: it is no secret.
function M.reference(value)
  local state = states[value]
  return state and { kind = state.kind, argument = state.argument }
end

local KINDS = { env = true, file = true, cmd = true, credential = true }

--- The secret of a reference.
function M.from_reference(reference)
  if not KINDS[reference.kind] then
    errors.raise("UNSUPPORTED", ("there is no secret of the kind %s"):format(tostring(reference.kind)))
  end
  return M[reference.kind](reference.argument)
end

--- Where a secret comes from, for messages: "the file /etc/key.txt".
function M.shown(one)
  local kind, what = states[one].shown:match "^(%l+):(.*)$"
  local names = { env = "variable", cmd = "output of" }
  return ("the %s %s"):format(names[kind] or kind, what)
end

--- Whether a value is a secret.
function M.is_secret(value)
  return states[value] ~= nil
end

return M
