-- Apache asks Portcullis whether a request may pass: put this file where apache.conf names it.

require "apache2"
local socket = require "socket"

-- Where Portcullis is asked.
local PORTCULLIS = { host = "127.0.0.1", port = 8080 }
local TIMEOUT = 10
-- Its own endpoints there, as the first ProxyPass of apache.conf names them.
local OWN = ("http://%s:%d/.auth/"):format(PORTCULLIS.host, PORTCULLIS.port)
-- What is there for everyone, as further ProxyPass lines name it.
local FOR_EVERYONE = {
  ("http://%s:%d/.well-known/oauth-protected-resource"):format(PORTCULLIS.host, PORTCULLIS.port),
}

-- Belong to one connection, to the body that stays here, or to what Apache says itself.
local NOT_PASSED_ON = {
  ["connection"] = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true,
  ["transfer-encoding"] = true, ["upgrade"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true,
  ["x-forwarded-for"] = true, ["x-forwarded-host"] = true, ["x-forwarded-proto"] = true, ["forwarded"] = true,
}

-- What a question is told by.
local TOLD = {
  ["x-forwarded-uri"] = true, ["x-forwarded-method"] = true, ["x-original-method"] = true, ["x-original-url"] = true,
  ["x-original-uri"] = true,
}

-- What of a yes is no header for the application.
local NO_HEADER = {
  ["cache-control"] = true, ["connection"] = true, ["content-length"] = true, ["date"] = true, ["set-cookie"] = true,
  ["transfer-encoding"] = true,
}

-- Sends the question and reads the head of the answer: its status and its header lines. HTTP/1.0 ends with the connection.
local function exchange(question)
  local wire = assert(socket.tcp())
  wire:settimeout(TIMEOUT)
  if not wire:connect(PORTCULLIS.host, PORTCULLIS.port) or not wire:send(question) then
    wire:close()
    return nil
  end
  local line = wire:receive("*l")
  local status = line and tonumber(line:match("^HTTP/1%.[01] (%d%d%d)"))
  local headers = {}
  line = status and wire:receive("*l")
  while line and line ~= "" do
    local name, value = line:match("^([^:]+):%s*(.-)%s*$")
    if name then headers[#headers + 1] = { name:lower(), value } end
    line = wire:receive("*l")
  end
  wire:close()
  if line ~= "" then return nil end
  return status, headers
end

-- A visitor who names our headers in `Connection` would have Apache take them away again.
local function keep_what_is_set(r)
  local upgrade = (r.headers_in["Upgrade"] or ""):lower() == "websocket"
  r.headers_in["Connection"] = upgrade and "Upgrade" or nil
end

-- Has Portcullis answer the visitor: a redirect to sign in, or a page or problem document with its status. Nothing but /verify/refusal
-- will do here: its answer is never a yes, which holds what is for the application alone.
local function hand_over(r, url)
  for name in pairs(TOLD) do r.headers_in[name] = nil end
  r.headers_in["X-Original-Method"] = r.method
  r.headers_in["X-Original-URL"] = url
  r.filename = "proxy:" .. OWN .. "verify/refusal"
  r.handler = "proxy-server"
  r.proxyreq = apache2.PROXYREQ_REVERSE
  return apache2.OK
end

function ask(r)
  -- What counts is where Apache sends the request, not what its path looks like. Portcullis guards its own endpoints itself, but questions
  -- are Apache's to ask.
  if r.filename:sub(1, 6 + #OWN) == "proxy:" .. OWN then
    local endpoint = r.filename:sub(7 + #OWN)
    if endpoint:match("^verify$") or endpoint:match("^verify[/?]") then return 404 end
    return apache2.OK
  end

  for _, place in ipairs(FOR_EVERYONE) do
    if r.filename:sub(1, 6 + #place) == "proxy:" .. place then return apache2.OK end
  end

  local host = r.headers_in["Host"]
  if not host then return 400 end
  -- The path as it came.
  local url = "https://" .. host .. r.unparsed_uri
  local lines = {
    "GET /.auth/verify/redirect HTTP/1.0",
    "Host: " .. host,
    "X-Original-Method: " .. r.method,
    "X-Original-URL: " .. url,
    "X-Forwarded-For: " .. r.useragent_ip,
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: " .. host,
  }
  for name, value in pairs(r:headers_in_table()) do
    local lower = name:lower()
    if not NOT_PASSED_ON[lower] and not TOLD[lower] then lines[#lines + 1] = name .. ": " .. value end
  end
  local status, headers = exchange(table.concat(lines, "\r\n") .. "\r\n\r\n")
  if not status then return 502 end
  keep_what_is_set(r)
  if status ~= 200 and status ~= 202 then return hand_over(r, url) end

  -- First everything goes that the application must not see as the visitor sent it, then what it has to see is set.
  for _, line in ipairs(headers) do
    if line[1] == "x-portcullis-remove" then
      for name in line[2]:gmatch("[^,]+") do r.headers_in[name] = nil end
    end
  end
  r.headers_in["Cookie"] = nil
  for _, line in ipairs(headers) do
    local name, value = line[1], line[2]
    local number = name:match("^x%-portcullis%-set%-cookie%-(%d)$")
    if number then r.subprocess_env["PORTCULLIS_COOKIE_" .. number] = value
    elseif name == "x-portcullis-cookie" then r.headers_in["Cookie"] = value
    elseif name ~= "x-portcullis-remove" and not NO_HEADER[name] then r.headers_in[name] = value end
  end
  return apache2.OK
end
