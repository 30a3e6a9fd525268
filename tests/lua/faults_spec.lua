local errors = require "moonkeep.errors"
local faults = require "moonkeep.pg.faults"
local samples = require "lua.fault_samples"

describe("a known fault", function()
  it("is recognised by its message, each by its own pattern", function()
    assert.equal(#faults, #samples)
    for i, sample in ipairs(samples) do
      local err = errors.explain(errors.new("PROCESS_FAILED", "pg_dump failed with exit code 1",
        { detail = sample[2] }))
      assert.equal(sample[1], err.fault, sample[2])
      assert.is_truthy(err.hint, sample[2])
      assert.is_nil(err.hint:find("%%%d"), err.hint)
      assert.equal(faults[i][1], sample[1])
    end
    assert.is_true(#samples > 100)
  end)

  it("is told with the fix that the golden file has", function()
    local golden = require("support").golden "faults"
    for i, sample in ipairs(samples) do
      local err = errors.explain(errors.new("PROCESS_FAILED", "failed", { detail = sample[2] }))
      golden:check(("%d %s"):format(i, sample[1]), ("%s\nhint: %s"):format(sample[2], err.hint))
    end
    golden:close()
  end)

  it("has names and values of the message in its hint", function()
    local err = errors.explain(errors.new("PG_ERROR", 'role "clerk" does not exist'))
    assert.matches('CREATE ROLE "clerk"', err.hint)
  end)

  it("is not seen in what a program quotes of the user's own", function()
    local err = errors.explain(errors.new("PROCESS_FAILED", "pg_restore failed", { detail =
      "pg_restore: error: something new\nCommand was: SELECT 'No space left on device'" }))
    assert.is_nil(err.fault)
  end)

  it("says more than the server's own hint", function()
    local err = errors.explain(errors.new("PG_ERROR",
      'could not extend file "base/5/16424": wrote only 4096 of 8192 bytes at block 1070',
      { sqlstate = "53100", hint = "Check free disk space." }))
    assert.matches("^the database server's disk is full", err.hint)
    err = errors.explain(errors.new("PG_ERROR", "something new", { hint = "Try it." }))
    assert.equal("Try it.", err.hint)
  end)

  it("never replaces a hint of our own", function()
    local err = errors.explain(errors.new("X", "Connection refused", { hint = "mine" }))
    assert.equal("mine", err.hint)
    assert.is_nil(err.fault)
  end)
end)
