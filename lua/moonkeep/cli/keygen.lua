--- moonkeep keygen: a key to encrypt backups to, or to sign them with.
local age = require "moonkeep.encryption.age"
local clock = require "moonkeep.clock"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local signature = require "moonkeep.signature"

local M = {}

local PRIVATE = 256 -- 0400

local function write(path, text)
  local ok, err = pcall(fs.write, path, text, PRIVATE, true)
  if not ok and errors.of(err).code == "ALREADY_EXISTS" then
    errors.raise("ALREADY_EXISTS", path .. " exists, and stays: what it opens would be lost",
      { hint = "name another file" })
  elseif not ok then
    error(err, 0)
  end
end

local function show_age(path, public)
  log.show("%s", public)
  log.show("%s", output.paint("dim", ([[
%s has the private key. Without it nobody reads the backups again: keep it twice, where they are
not (on paper, in a safe), and not on the hosts that make them, which need only the public one:
  encrypt = { recipients = { "%s" } }]]):format(path, public)))
end

local function show_sign(path, public)
  log.show("%s", public)
  log.show("%s", output.paint("dim", ([[
%s has the secret key, which stays on the host that makes backups:
  sign = mk.secret.file "%s", trust = "%s"
Hosts that verify or restore need only the public one: trust, or --trust.]]):format(path, path, public)))
end

-- The text of a file, as age-keygen writes it, and the public key.
local function new_identity()
  local identity, public = age.generate()
  return ("# created: %s\n# public key: %s\n%s\n"):format(clock.iso(), public, identity), public
end

function M.run(options)
  local path = options.file
  local stat = fs.stat(path)
  if stat and stat.type == "directory" or path:sub(-1) == "/" then
    errors.raise("USAGE", path .. " is a folder", { hint = "name the file: " .. path:gsub("/*$", "") ..
      "/key.txt" })
  end
  local private, public = (options.sign and signature.generate or new_identity)()
  write(path, private)
  path = fs.realpath(path)
  if options.json then
    output.json("keygen", { file = path, public_key = public })
  else
    (options.sign and show_sign or show_age)(path, public)
  end
  return runner.OK
end

return M
