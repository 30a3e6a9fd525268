--- Mail by SMTP: RFC 5322 (the message), 2045 and 2047 (UTF-8 in it), sent by libcurl.
local errors = require "moonkeep.errors"
local hash = require "moonkeep.core.hash"
local host = require "moonkeep.core.host"
local list_of = require "moonkeep.list_of"

local TOTAL_MS, CONNECT_MS, TRIES = 20000, 10000, 2
local LINE_BYTES = 57 -- 76 as base64

local function base64_lines(text)
  local lines = {}
  for from = 1, #text, LINE_BYTES do
    lines[#lines + 1] = hash.base64(text:sub(from, from + LINE_BYTES - 1))
  end
  return table.concat(lines, "\r\n")
end

local WORD_BYTES = 42 -- an encoded word has at most 75

-- A header's text: as it is, or in encoded words, each of whole characters.
local function header_text(text)
  text = text:gsub("[%c]+", " ")
  if not text:find "[\128-\255]" and #text < 70 then
    return text
  end
  local words, from = {}, 1
  while from <= #text do
    local last = math.min(from + WORD_BYTES - 1, #text)
    while last < #text and (text:byte(last + 1) & 0xc0) == 0x80 do
      last = last - 1
    end
    words[#words + 1] = "=?utf-8?B?" .. hash.base64(text:sub(from, last)) .. "?="
    from = last + 1
  end
  return table.concat(words, "\r\n ")
end

-- "Ops <ops@example.org>" -> ops@example.org
local function address(text)
  return text:match "<([^<>]+)>%s*$" or text
end

-- A name in it may be of any characters.
local function shown_address(text)
  local name, found = text:match "^%s*(.-)%s*(<[^<>]+>)%s*$"
  if not name or name == "" then
    return address(text)
  elseif not name:find "[\128-\255]" and name:find "[^%w%s!#$%%&'*+/=?^_`{|}~-]" then
    name = ('"%s"'):format(name:gsub('^"(.*)"$', "%1"):gsub('["\\]', "\\%0"))
  end
  return header_text(name) .. " " .. found
end
local function message_text(options, message)
  local to = {}
  for i, one in ipairs(list_of(options.to)) do
    to[i] = shown_address(one)
  end
  local domain = address(options.from):match "@(.*)$"
  return table.concat({
    "From: " .. shown_address(options.from),
    "To: " .. table.concat(to, ",\r\n "),
    "Subject: " .. header_text(message.title),
    "Date: " .. os.date("!%a, %d %b %Y %H:%M:%S +0000"),
    ("Message-ID: <%s@%s>"):format(host.random(16), domain),
    "Auto-Submitted: auto-generated",
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Transfer-Encoding: base64",
    "",
    base64_lines((message.text:gsub("\r?\n", "\r\n"))),
    "",
  }, "\r\n")
end

return {
  name = "email",
  doc = "Mail, by an SMTP server.",
  keys = {
    { "url", "secret_text", "`smtps://mail.example.org`, or `smtp://mail.example.org:587`, where " ..
      "STARTTLS is insisted on", required = true },
    { "from", "address", "the sender: an address, or `Name <address>`", required = true },
    { "to", "addresses", "who gets it", required = true },
    { "user", "secret_text", "to log in with" },
    { "password", "secret", "a secret" },
    { "tls", "string", "`optional` for a server of this machine or network that has none",
      one_of = { "required", "optional" }, default = '"required"' },
    { "ca", "string", "a file of certificates, instead of the system's" },
  },
  send = function(options, _, message)
    local to = {}
    for i, one in ipairs(list_of(options.to)) do
      to[i] = address(one)
    end
    local request = { method = "MAIL", url = options.url, ca = options.ca,
      body = message_text(options, message), repeats = true, tries = TRIES, total_ms = TOTAL_MS,
      connect_ms = CONNECT_MS, mail = { from = address(options.from), to = to, user = options.user,
        password = options.password, plain = options.tls == "optional" } }
    local ok, err = pcall(require("moonkeep.http").try, function() return request end)
    if not ok then
      local answer = errors.is_error(err) and err.answer
      if answer and answer.status >= 500 then -- the server has said that it will not
        errors.raise(err.code == "NETWORK" and "HTTP_STATUS" or err.code, err.message, {
          status = answer.status, hint = err.hint })
      end
      error(err, 0)
    end
  end,
}
