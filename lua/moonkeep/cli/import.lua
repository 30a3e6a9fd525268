--- moonkeep import: takes over a dump that somebody else has made, and proves it.
local backups = require "moonkeep.backup"
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local import = require "moonkeep.import"
local keyring = require "moonkeep.encryption.keyring"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local proof = require "moonkeep.proof"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local secret = require "moonkeep.secret"
local stores = require "moonkeep.store"
local types = require "moonkeep.definitions.types"
local zone = require "moonkeep.schedule.zone"

local M = {}

local function targets_of(options)
  if #options.to == 0 then
    errors.raise("USAGE", "import needs --to: the store", { hint =
      "for example: moonkeep import app.dump --to /var/backups/app --job nightly" })
  end
  local list = {}
  for i, url in ipairs(options.to) do
    list[i] = stores.new(#options.to == 1 and "store" or "store" .. i, stores.url_of(url))
  end
  return list
end

local function time_of(text)
  if not text then
    return nil
  end
  local ok, time = pcall(zone.parse_time, text)
  if not ok or not time then
    errors.raise("USAGE", ("--at takes a time such as 2026-11-22T02:00:00Z, not %q"):format(text))
  end
  return time
end

-- What `encrypt` of a job would be; nil: it is not encrypted.
local function encryption_of(options)
  local keys = #options.recipient > 0 and { recipients = options.recipient } or nil
  local why = keys and types.recipients.check(keys.recipients)
  if why then
    errors.raise("USAGE", "--recipient " .. why)
  end
  return keys
end

function M.run(options)
  local job = options.job or "imported"
  local why = types.name.check(job)
  if why then
    errors.raise("USAGE", "--job " .. why)
  end
  local targets = targets_of(options)
  run.open_log()
  local backup = import.import(job, options.file, targets, { database = options.database,
    time = time_of(options.at), codec = options.compress or backups.DEFAULT_CODEC,
    encrypt = encryption_of(options), sign = options.sign and secret.file(options.sign) or nil })
  local level = options.level or (#options.recipient > 0 and not keyring.has_identities() and "read") or
    "decoded"
  local ok, err = pcall(proof.prove, backup, level)
  if not ok then
    err = errors.of(err)
    err.left = ("the backup %s is in the store, but not proved"):format(backup.id)
    error(err, 0)
  end
  catalog.record_proof(backup)
  if options.json then
    output.json("import", { backup = run.describe(backup), database = backup.manifest.source.database,
      format = backup.manifest.dump.format, proof = backup.proof })
  else
    log.show("%s  imported %s as %s (%s)", output.paint("green", "OK"), options.file, backup.id,
      backup.proof)
  end
  return runner.OK
end

return M
