-- Where credentials of AWS are found, each place a real file or a real server.
local credentials = require "moonkeep.aws.credentials"
local mk = require "moonkeep"
local servers = require "servers"
local support = require "support"

describe("credentials", function()
  local nginx, dir

  setup(function()
    nginx, dir = servers.nginx(), mk.fs.tempdir()
    mk.fs.mkdir(dir.path .. "/.aws")
    mk.fs.write(dir.path .. "/.aws/credentials", [[
[default]
aws_access_key_id = of default
aws_secret_access_key=s4

[ other ]
  aws_access_key_id=of other
aws_secret_access_key = s5
aws_session_token = t5
]])
    mk.fs.write(dir.path .. "/.aws/config", [[
[profile third]
region = eu-west-3
aws_access_key_id = of third
aws_secret_access_key = s6
]])
    mk.fs.write(dir.path .. "/token", "a token\n")
  end)
  teardown(function()
    getmetatable(nginx).__close()
    dir:close()
  end)

  -- What is found with these variables alone.
  local function found(variables, options)
    return credentials.chain(options or {}, function(name) return variables[name] end)
  end

  it("are those of the recipe before all others", function()
    local one = found({ AWS_ACCESS_KEY_ID = "of environment", AWS_SECRET_ACCESS_KEY = "x" },
      { access_key = "of recipe", secret_key = "s" })()
    assert.same({ "of recipe", "s" }, { one.id, one.secret })
    assert.is_nil(one.token)
  end)

  it("are those of the environment", function()
    local one = found({ AWS_ACCESS_KEY_ID = "of environment", AWS_SECRET_ACCESS_KEY = "x",
      AWS_SESSION_TOKEN = "t", HOME = dir.path })()
    assert.same({ "of environment", "x", "t" }, { one.id, one.secret, one.token })
  end)

  it("are those of a profile", function()
    assert.equal("of default", found({ HOME = dir.path })().id)
    local other = found({ HOME = dir.path, AWS_PROFILE = "other" })()
    assert.same({ "of other", "s5", "t5" }, { other.id, other.secret, other.token })
    assert.equal("of third", found({ HOME = dir.path }, { profile = "third" })().id)
    local err = support.caught(found({ HOME = dir.path }, { profile = "none" }))
    assert.same({ "SECRET_MISSING", "there is no profile none with an access key" },
      { err.code, err.message })
  end)

  it("are those of a pod's web identity", function()
    local one = found { AWS_WEB_IDENTITY_TOKEN_FILE = dir.path .. "/token",
      AWS_ROLE_ARN = "arn:aws:iam::1:role/r", AWS_ENDPOINT_URL_STS = nginx.url } ()
    assert.same({ "of web", "s3", "t3", 1893456000 }, { one.id, one.secret, one.token, one.expires })
  end)

  it("are those of a container", function()
    local variables = { AWS_CONTAINER_CREDENTIALS_FULL_URI = nginx.url .. "/container",
      AWS_CONTAINER_AUTHORIZATION_TOKEN = "may I" }
    assert.equal("of container", found(variables)().id)
    mk.fs.write(dir.path .. "/may", "may I\n")
    variables.AWS_CONTAINER_AUTHORIZATION_TOKEN = nil
    variables.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = dir.path .. "/may"
    assert.equal("of container", found(variables)().id)
    variables.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = nil
    local err = support.caught(found(variables))
    assert.equal("SECRET_MISSING", err.code)
    assert.matches("/container answered 403", err.message)
  end)

  it("are those of an instance", function()
    local variables = { AWS_EC2_METADATA_SERVICE_ENDPOINT = nginx.url .. "/" }
    local one = found(variables)()
    assert.same({ "of instance", "s1", "t1", 1893456000 }, { one.id, one.secret, one.token,
      one.expires })
    variables.AWS_EC2_METADATA_DISABLED = "true"
    assert.equal("SECRET_MISSING", support.caught(found(variables)).code)
  end)

  it("that are nowhere are asked for, with all the ways there are", function()
    local err = support.caught(found { AWS_EC2_METADATA_SERVICE_ENDPOINT = "http://127.0.0.1:1" })
    assert.equal("there are no credentials for S3", err.message)
    assert.matches("AWS_ACCESS_KEY_ID", err.hint)
  end)

  it("leave the environment of child processes as it is", function()
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      local store = mk.store("s", "s3://bucket", { endpoint = %q, retries = 0 })
      return mk.task { name = "t", run = function(ctx)
        pcall(store.jobs, store)
        ctx:show(mk.process.run { argv = { "sh", "-c", "echo $HOME $AWS_PROFILE" } })
      end }]]):format(nginx.url), { env = { HOME = dir.path, AWS_PROFILE = "other" } })
    assert.equal(0, run.code, run.stderr)
    assert.matches(dir.path .. " other", run.stdout, 1, true)
  end)

  it("sign for the region that the bucket turns out to be in", function()
    local driver = require("moonkeep.store.s3").new("bucket-elsewhere", { endpoint = nginx.url,
      access_key = "a", secret_key = "b", region = "us-east-1" })
    assert.equal("found", driver:read "anything")
    assert.equal("eu-west-3", driver.client.region)
  end)

  it("are asked for again before they expire", function()
    local variables = { AWS_EC2_METADATA_SERVICE_ENDPOINT = nginx.url }
    local get = found(variables)
    assert.equal(get(), get()) -- good until 2030
    variables = { AWS_CONTAINER_CREDENTIALS_FULL_URI = nginx.url .. "/container",
      AWS_CONTAINER_AUTHORIZATION_TOKEN = "may I" }
    get = found(variables)
    assert.not_equal(get(), get()) -- expired in 2020
  end)
end)
