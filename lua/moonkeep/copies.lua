--- The copies of a backup that is being made: one read of the source, a session in each store, each
--- with a verdict of its own.
---
--- A store that fails, or that takes nothing for its `stall` while another goes on, falls behind:
--- the dump goes on without it. When the backup is published in the others (and the dump's snapshot
--- is released), its copy is completed from one of them, byte for byte. What fails then as well is
--- told by `missing`. Only when every store has failed so has the backup.
---
--- Small objects are kept until they are published, so that no store's slowness holds the snapshot.
local clock = require "moonkeep.clock"
local copy_of = require "moonkeep.copy"
local core_task = require "moonkeep.core.task"
local envelopes = require "moonkeep.encryption.envelope"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local hash = require "moonkeep.core.hash"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local pieces = require "moonkeep.store.pieces"
local redact = require "moonkeep.redact"
local restore_text = require "moonkeep.restore_text"
local signatures = require "moonkeep.signature"
local stores = require "moonkeep.store"
local tasks = require "moonkeep.task"
local trust = require "moonkeep.trust"
local units = require "moonkeep.units"

local M = {}

-- ---- one store's -----------------------------------------------------------------------------------

local Copy = {}
Copy.__index = Copy

--- From now on nothing goes into it.
function Copy:fall_behind(err)
  if self.err then -- another flow has found it, too
    return
  end
  self.err = errors.explain(errors.of(err))
  if self.is_one_of_many then
    log.warn("store %s is left behind: %s: %s", self.store.name, self.err.code, self.err.message)
  end
end

function Copy:begin(job, series, id)
  if self.identity then
    self.identity:check(self.store)
  end
  self.session = self.store:begin(job, series, id)
end

-- The sink of a new object.
function Copy:sink(name)
  local sink = self.session:sink(name, self.piece_bytes)
  sink.label, sink.optional = "copy " .. self.number, true
  sink.stall_ms = self.is_one_of_many and units.duration(self.store:stall()) or nil
  function sink.ended(err)
    if err then
      self:fall_behind(err)
    else
      self.has[name] = true
    end
  end
  return sink
end

-- Writes what a published backup has beside its objects, last of all the manifest.
function Copy:publish(small, manifest_text)
  self.must_clear = true -- if it fails
  for _, object in ipairs(small) do
    self.session:put(object.name, object.text)
  end
  if self.identity then
    self.identity:settle(self.store)
  end
  self.session:publish(manifest_text)
end

-- A session that what is missing can be copied into.
function Copy:prepare(backup)
  if self.session and not pcall(self.session.check, self.session) then
    self.session:close() -- others may have removed what is there
    self.session, self.has = nil, {}
  end
  if not self.session then
    self:begin(backup.job, backup.series, backup.id)
  elseif self.must_clear then
    self.session:clear()
    self.has, self.must_clear = {}, false
  end
end

-- Brings it up to date from the stores that have the backup.
function Copy:complete(sources, backup, small, manifest_text)
  self:prepare(backup)
  copy_of.from_any(sources, function(from)
    log.info("completing the copy of %s in %s from %s", backup.id, self.store.name, from.name)
    copy_of.objects(backup, from, self.session, self.has)
  end)
  self:publish(small, manifest_text)
  log.info("the copy of %s in %s is complete", backup.id, self.store.name)
end

-- ---- all of them -----------------------------------------------------------------------------------

local Copies = {}
Copies.__index = Copies

local CLOSE_MS = 12000

--- Without a published manifest, what a store has is removed: from all of them at once, for one may
--- hang.
function Copies:close()
  core_task.shield(function()
    local scope <close> = core_task.scope()
    for _, copy in ipairs(self) do
      if copy.session then
        scope:spawn(copy.session.close, copy.session)
      end
    end
    scope:join()
  end, CLOSE_MS)
end
Copies.__close = Copies.close

-- What failed in the first store, with the others beside it.
local function error_of(self)
  local first
  for _, copy in ipairs(self) do
    local err = copy.err
    err = errors.new(err.code, ("store %s: %s"):format(copy.store.name, err.message), { hint = err.hint,
      detail = err.detail, status = err.status, fault = err.fault })
    if first then
      first.also = first.also or {}
      table.insert(first.also, err)
    end
    first = first or err
  end
  return first
end

--- The first store that keeps up, or nil.
function Copies:first()
  for _, copy in ipairs(self) do
    if not copy.err then
      return copy.store
    end
  end
end

--- Raises what has ended the dump: when it is that no store is left, what each of them has said.
function Copies:blame(err)
  error(self:first() and err or error_of(self), 0)
end

-- Calls fn(copy) for every copy that `wanted` says, at once. Returns the error of each.
local function each(self, wanted, fn)
  local failed = {}
  local scope <close> = core_task.scope()
  for _, copy in ipairs(self) do
    if wanted(copy) then
      scope:spawn(function()
        local ok, err = xpcall(fn, errors.handler, copy)
        if not ok and core_task.canceled() then
          error(err, 0)
        end
        failed[copy] = not ok and err or nil
      end)
    end
  end
  scope:join()
  return failed
end

local function is_living(copy)
  return not copy.err
end

local function is_behind(copy)
  return copy.err ~= nil
end

-- Leaves those that failed behind. Raises when no other is left.
local function judge(self, failed)
  for copy, err in pairs(failed) do
    copy:fall_behind(err)
  end
  if not self:first() then
    error(error_of(self), 0)
  end
end

-- What a dead store must not hold up.
local function each_in_time(self, fn)
  local failed = each(self, is_living, function(copy)
    if copy.is_one_of_many then
      return tasks.timeout(copy.store:stall(), fn, copy)
    end
    return fn(copy)
  end)
  judge(self, failed)
end

local LAST_END = 0xffffff

-- Ids are in the order in which backups were made: one of the same second as the newest ends higher.
local function new_id(self, time)
  while true do
    local second, lowest = clock.compact(time), 0
    for _, copy in ipairs(self) do
      local newest = copy.newest or ""
      if newest:sub(1, #second) == second then
        lowest = math.max(lowest, tonumber(newest:match "%x+$", 16) + 1)
      end
    end
    if lowest <= LAST_END then
      local random = tonumber(host.random(3), 16)
      return ("%s-%06x"):format(second, lowest + random % (LAST_END + 1 - lowest))
    end
    core_task.sleep(100)
  end
end

--- Begins a backup in every store of a list: a closable that has its `id`. `options`: `piece_size` of
--- the job; `time` (of Unix) when it was made, default: now; `identity`, what says whose it is
--- (store/identity.lua); `encrypt` of the job; `sign`, the secret key that signs the manifest. Raises
--- only when no store can.
function M.begin(job, series, targets, options)
  options = options or {}
  local self = setmetatable({ small = {}, piece_bytes = pieces.bytes(options.piece_size),
    signer = options.sign and signatures.signer(options.sign) or nil }, Copies)
  if self.signer and not trust.accepts(job, self.signer.id) then
    errors.raise("INVALID", ("`sign` of job %s is the key %s, which its `trust` does not have"):format(
      job, self.signer.id), { hint = ("what it makes would be refused: add %q to `trust`"):format(
      self.signer:public_line()) })
  end
  for i, store in ipairs(targets) do
    self[i] = setmetatable({ store = store, number = i, has = {}, is_one_of_many = #targets > 1,
      piece_bytes = self.piece_bytes, identity = options.identity }, Copy)
  end
  each_in_time(self, function(copy)
    local listed, ids = pcall(copy.store.list, copy.store, job, series)
    if listed then
      copy.newest = ids[#ids]
    elseif not errors.is_denied(ids) then -- whoever may only write needs no list
      error(ids, 0)
    end
  end)
  self.id = new_id(self, options.time)
  self.envelope = options.encrypt and envelopes.begin(options.encrypt, { job = job, series = series,
    id = self.id }) or nil
  local ok, err = pcall(each_in_time, self, function(copy)
    copy:begin(job, series, self.id)
  end)
  if not ok then
    self:close()
    error(err, 0)
  end
  return self
end

--- Adds the end of a flow to its stages: a new object in every store that keeps up, sealed if the
--- backup is encrypted, and its SHA-256 as `stored`. Returns what the object is called then. Raises
--- when there is no store: nothing more need be read.
function Copies:append(stages, name)
  if not self:first() then
    error(error_of(self), 0)
  end
  if self.envelope then
    stages[#stages + 1], name = self.envelope.stage, name .. envelopes.SUFFIX
  end
  local stored = { kind = "tee", { { kind = "sha256", label = "stored" } } }
  for _, copy in ipairs(self) do
    if not copy.err then
      stored[#stored + 1] = { copy:sink(name) }
    end
  end
  stages[#stages + 1] = stored
  return name
end

local MAX_SMALL_BYTES = 1 << 30

-- A small object: what is stored of it, with a checksum of its own, is kept for all of them.
local function keep(self, objects, object, stages)
  stages[#stages + 1] = { kind = "tee", { { kind = "sha256", label = "sum" } },
    { { kind = "text", limit = MAX_SMALL_BYTES, label = "stored" } } }
  local report = flow.run(stages)
  table.insert(self.small, { name = object.name, text = report.stored.result })
  object.size, object.sha256 = #report.stored.result, report.sum.result
  object.decoded_size = report.source.bytes_out
  objects[#objects + 1] = object
end

--- A small object for all of them, sealed if the backup is encrypted.
function Copies:put(objects, name, role, text, codec)
  codec = codec or "none"
  local _, _, suffix = flow.codec(codec)
  local stages = { { kind = "memory", text = text }, { kind = "encode", codec = codec } }
  if self.envelope then
    stages[#stages + 1], suffix = self.envelope.stage, suffix .. envelopes.SUFFIX
  end
  keep(self, objects, { name = name .. suffix, role = role, codec = codec }, stages)
end

--- Removes what there is, to begin anew.
function Copies:clear()
  self.small = {}
  for _, copy in ipairs(self) do -- also those that fell behind: theirs are of another snapshot
    copy.has, copy.must_clear = {}, true
  end
  each_in_time(self, function(copy)
    copy.session:clear()
    copy.must_clear = false
  end)
end

local function small_names(self)
  local is_small = {}
  for _, object in ipairs(self.small) do
    is_small[object.name] = true
  end
  return is_small
end

-- The objects that are kept here go into every store by themselves.
local function without_small(self, backup)
  local is_small, objects = small_names(self), {}
  for _, object in ipairs(backup.manifest.objects) do
    objects[#objects + 1] = not is_small[object.name] and object or nil
  end
  return { id = backup.id, job = backup.job, series = backup.series, manifest = { objects = objects } }
end

-- Which stores have it, and which have not.
local function sort_out(self, backup)
  backup.stores, backup.missing = {}, {}
  for _, copy in ipairs(self) do
    if copy.err then
      table.insert(backup.missing, { store = copy.store, error = copy.err })
    else
      table.insert(backup.stores, copy.store)
    end
  end
end

--- Completes the copies of a published backup that fell behind. What fails stays in `missing`.
function Copies:complete(backup)
  local copied = without_small(self, backup)
  local failed = each(self, is_behind, function(copy)
    copy:complete(backup.stores, copied, self.small, self.manifest_text)
    copy.err = nil
  end)
  for copy, err in pairs(failed) do
    copy.err = errors.explain(errors.of(err))
    log.warn("store %s has no copy of %s: %s: %s", copy.store.name, backup.id, copy.err.code,
      copy.err.message)
  end
  sort_out(self, backup)
end

local function tell_published(self, manifest)
  local names = {}
  for _, copy in ipairs(self) do
    names[#names + 1] = not copy.err and copy.store.name or nil
  end
  local size, decoded = manifests.sizes(manifest)
  log.info("published %s: %s, %s before compression, in %s", self.id, units.format_size(size),
    units.format_size(decoded), #names > 2 and #names .. " stores" or table.concat(names, " and "))
end

-- Which objects lie in pieces: those that had no room in one. Small ones are written whole.
local function mark_pieces(self, manifest)
  local is_small = small_names(self)
  for _, object in ipairs(manifest.objects) do
    object.piece_size = not is_small[object.name] and object.size > self.piece_bytes and
      self.piece_bytes or nil
  end
end

-- The manifest as it is stored: of an encrypted backup what is confidential becomes an object.
local function enclose(self, manifest)
  if not self.envelope then
    return manifest
  end
  local public, private = envelopes.split(manifest)
  self:put(public.objects, envelopes.PROOF, "proof", private, "zstd:1")
  keep(self, public.objects, { name = envelopes.KEY, role = "key", codec = "none" },
    { { kind = "memory", text = self.envelope.key_text } })
  manifest.encryption, public.encryption = self.envelope.fields, self.envelope.fields
  return public
end

--- Publishes the backup where it can be, and returns it: { id, job, series, manifest, stores, proof,
--- missing }. `stores` have it; `missing`: { store, error } of those that have not, for `complete`.
--- Raises only when no store has it.
function Copies:publish(job, series, manifest)
  manifest.signed_by = self.signer and self.signer.id or nil
  local public = enclose(self, manifest)
  mark_pieces(self, public)
  local text = restore_text.make(public)
  table.insert(self.small, { name = "RESTORE.txt", text = text })
  public.restore_text = { size = #text, sha256 = hash.hex(hash.sha256(text)) }
  manifest.restore_text = public.restore_text
  self.manifest_text = manifests.encode(redact.value(public))
  manifests.decode(self.manifest_text) -- what cannot be read again is no backup
  if self.signer then
    table.insert(self.small, { name = signatures.NAME, text = self.signer:sign(self.manifest_text,
      ("%s/%s/%s"):format(job, series, self.id)) })
  end
  local failed = each(self, is_living, function(copy)
    copy:publish(self.small, self.manifest_text)
  end)
  judge(self, failed)
  local backup = stores.backup { id = self.id, job = job, series = series, manifest = manifest,
    proof = "stored" }
  sort_out(self, backup)
  tell_published(self, manifest)
  return backup
end

return M
