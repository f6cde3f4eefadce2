-- Apache asks Portcullis whether a request may pass: put this file where apache.conf names it.

require "apache2"
local socket = require "socket"

-- Where Portcullis is asked.
local PORTCULLIS = { host = "127.0.0.1", port = 8080 }
local TIMEOUT = 10

-- Belong to one connection, to the body that stays here, or to what Apache says itself.
local NOT_PASSED_ON = {
  ["connection"] = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true,
  ["transfer-encoding"] = true, ["upgrade"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true,
  ["x-forwarded-for"] = true, ["x-forwarded-host"] = true, ["x-forwarded-proto"] = true, ["forwarded"] = true,
  ["x-forwarded-uri"] = true, ["x-forwarded-method"] = true, ["x-original-method"] = true, ["x-original-url"] = true,
  ["x-original-uri"] = true,
}

-- What of a yes is no header for the application.
local NO_HEADER = {
  ["cache-control"] = true, ["connection"] = true, ["content-length"] = true, ["date"] = true, ["set-cookie"] = true,
  ["transfer-encoding"] = true,
}

-- What of a no is written in another way.
local NOT_COPIED = {
  ["connection"] = true, ["content-length"] = true, ["content-type"] = true, ["date"] = true, ["set-cookie"] = true,
  ["transfer-encoding"] = true,
}

-- Sends the question and reads the answer: its status, its header lines, its body. HTTP/1.0 ends with the connection.
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
  if line ~= "" then
    wire:close()
    return nil
  end
  local body = wire:receive("*a") or ""
  wire:close()
  return status, headers, body
end

-- A cookie that Portcullis clears, or the one of a sign-in that begins.
local function hand_on_cookie(r, line)
  local key, value = line:match("^([^=;]+)=([^;]*)")
  if not key then return end
  local age = tonumber(line:match("[Mm]ax%-[Aa]ge=(%-?%d+)"))
  r:set_cookie({
    key = key, value = value, path = "/", secure = line:find("; Secure", 1, true) ~= nil, httponly = true,
    expires = age and (age > 0 and os.time() + age or 1) or 0,
  })
end

local function say_no(r, status, headers, body)
  r.status = status
  for _, line in ipairs(headers) do
    if line[1] == "content-type" then r.content_type = line[2]
    elseif line[1] == "set-cookie" then hand_on_cookie(r, line[2])
    elseif not NOT_COPIED[line[1]] then r.err_headers_out[line[1]] = line[2] end
  end
  if r.method ~= "HEAD" then r:puts(body) end
  return apache2.DONE
end

function ask(r)
  -- The path as it came. Portcullis guards its own endpoints itself; questions are Apache's to ask.
  local target = r.unparsed_uri
  if target:match("^/%.auth/verify$") or target:match("^/%.auth/verify[/?]") then return 404 end
  if target:sub(1, 7) == "/.auth/" then return apache2.OK end

  local host = r.headers_in["Host"]
  if not host then return 400 end
  local lines = {
    "GET /.auth/verify/redirect HTTP/1.0",
    "Host: " .. host,
    "X-Original-Method: " .. r.method,
    "X-Original-URL: https://" .. host .. target,
    "X-Forwarded-For: " .. r.useragent_ip,
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: " .. host,
  }
  for name, value in pairs(r:headers_in_table()) do
    if not NOT_PASSED_ON[name:lower()] then lines[#lines + 1] = name .. ": " .. value end
  end
  local status, headers, body = exchange(table.concat(lines, "\r\n") .. "\r\n\r\n")
  if not status then return 502 end
  if status ~= 200 and status ~= 202 then return say_no(r, status, headers, body) end

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
