local spec = require "moonkeep.spec"

local DEFINITION = { keys = {
  { "name", "string", required = true },
  { "deadline", "duration" },
  { "upload", "list" },
} }

local function mistakes(value)
  local ok, err = pcall(spec.check, "mk.job", DEFINITION, value)
  assert.is_false(ok)
  assert.equal("INVALID", err.code)
  return err.message
end

describe("the check of a table", function()
  it("passes what is right", function()
    spec.check("mk.job", DEFINITION, { name = "n", deadline = "3h", upload = { 1 } })
  end)

  it("reports all mistakes at once", function()
    local text = mistakes { deadline = 5, upload = {} }
    assert.matches("name is missing", text)
    assert.matches("deadline must be a duration", text)
    assert.matches("upload must be a list of at least one", text)
  end)

  it("says which key was probably meant", function()
    assert.matches('unknown key "uplaod", did you mean "upload"%?', mistakes {
      name = "n", uplaod = {} })
    assert.matches('unknown key "zzz"; it has name, deadline, upload', mistakes {
      name = "n", zzz = 1 })
  end)

  it("refuses what is no table", function()
    assert.matches("takes a table, not \"nightly\"", mistakes "nightly")
  end)
end)
