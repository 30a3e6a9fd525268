-- Signatures against the published examples of AWS's documentation for S3.
local hash = require "moonkeep.core.hash"
local sign = require "moonkeep.aws.sign"

describe("a signature", function()
  -- "Authenticating Requests: Using the Authorization Header", examples of the S3 API Reference.
  local CREDENTIALS = { id = "AKIAIOSFODNN7EXAMPLE",
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" }
  local TIME = 1369353600 -- 2013-05-24T00:00:00Z
  local EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

  local function signature(request)
    request.host, request.query = "examplebucket.s3.amazonaws.com", sign.query(request.parameters)
    request.headers = request.headers or {}
    request.headers["x-amz-content-sha256"] = request.body_sha256
    sign.sign(request, CREDENTIALS, "us-east-1", "s3", TIME)
    return request.headers.authorization:match "Signature=(%x+)$"
  end

  it("of a get is the published one", function()
    assert.equal("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", signature {
      method = "GET", path = "/test.txt", body_sha256 = EMPTY, headers = { range = "bytes=0-9" } })
  end)

  it("of a put is the published one", function()
    local body = hash.hex(hash.sha256 "Welcome to Amazon S3.")
    assert.equal("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd", signature {
      method = "PUT", path = sign.encode("/test$file.text", true), body_sha256 = body,
      headers = { date = "Fri, 24 May 2013 00:00:00 GMT", ["x-amz-storage-class"] =
        "REDUCED_REDUNDANCY" } })
  end)

  it("of a query is the published one", function()
    assert.equal("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", signature {
      method = "GET", path = "/", parameters = { lifecycle = "" }, body_sha256 = EMPTY })
    assert.equal("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", signature {
      method = "GET", path = "/", parameters = { ["max-keys"] = 2, prefix = "J" },
      body_sha256 = EMPTY })
  end)

  it("is of names as they are", function()
    assert.equal("/a%20b/%25_%C3%A9~/..//x", sign.encode("/a b/%_é~/..//x", true))
    assert.equal("a%2Fb=c%3Dd&b=", sign.query { ["a/b"] = "c=d", b = "" })
  end)
end)
