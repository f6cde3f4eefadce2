-- HAProxy asks Portcullis whether a request may pass: put this file where haproxy.cfg loads it from.

local URL = assert(os.getenv("PORTCULLIS_URL"), "PORTCULLIS_URL is not set") .. "/.auth/verify/redirect"

-- Belong to one connection, or to the body that stays here.
local NOT_PASSED_ON = {
  ["connection"] = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true,
  ["transfer-encoding"] = true, ["upgrade"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true,
}

-- What of a yes is no header for the application.
local NO_HEADER = {
  ["cache-control"] = true, ["connection"] = true, ["content-length"] = true, ["date"] = true, ["set-cookie"] = true,
  ["transfer-encoding"] = true,
}

-- What of a no HAProxy writes itself.
local FRAMING = { ["connection"] = true, ["content-length"] = true, ["transfer-encoding"] = true, ["keep-alive"] = true }

local function lines(headers)
  -- HAProxy numbers values from 0.
  local list = {}
  for number, value in pairs(headers) do list[#list + 1] = { number, value } end
  table.sort(list, function(one, other) return one[1] < other[1] end)
  return list
end

local function refuse(txn, status)
  local reply = txn:reply()
  reply:set_status(status)
  reply:add_header("Cache-Control", "no-store")
  txn:done(reply)
end

core.register_action("portcullis", { "http-req" }, function(txn)
  local question = {}
  for name, values in pairs(txn.http:req_get_headers()) do
    local lower = name:lower()
    if not NOT_PASSED_ON[lower] and lower:sub(1, 11) ~= "x-original-" and lower ~= "x-forwarded-uri"
      and lower ~= "x-forwarded-method" then
      question[lower] = {}
      for _, line in ipairs(lines(values)) do table.insert(question[lower], line[2]) end
    end
  end
  -- `OPTIONS *` is about no path, so nobody can judge it.
  local target = txn.sf:pathq()
  if target:sub(1, 1) ~= "/" then return refuse(txn, 400) end
  local host = txn.sf:req_hdr("host")
  question["host"] = { host }
  question["x-original-method"] = { txn.sf:method() }
  -- Path and query as they came: what is judged is what the application gets.
  question["x-original-url"] = { "https://" .. host .. target }

  local answer = core.httpclient():get({ url = URL, headers = question, timeout = 10000 })
  if not answer or not answer.status or answer.status == 0 then return refuse(txn, 502) end

  if answer.status ~= 200 and answer.status ~= 202 then
    local reply = txn:reply()
    reply:set_status(answer.status)
    for name, values in pairs(answer.headers) do
      if not FRAMING[name] then
        for _, line in ipairs(lines(values)) do reply:add_header(name, line[2]) end
      end
    end
    reply:set_body(answer.body or "")
    return txn:done(reply)
  end

  local first = function(name)
    local values = answer.headers[name]
    return values and lines(values)[1][2]
  end
  for name in (first("x-portcullis-remove") or ""):gmatch("[^,]+") do txn.http:req_del_header(name) end
  txn.http:req_del_header("cookie")
  local cookie = first("x-portcullis-cookie")
  if cookie then txn.http:req_set_header("cookie", cookie) end
  for name, values in pairs(answer.headers) do
    if not NO_HEADER[name] and name:sub(1, 13) ~= "x-portcullis-" then
      txn.http:req_set_header(name, lines(values)[1][2])
    end
  end
  local assertion = first("x-portcullis-assertion")
  if assertion then txn.http:req_set_header("x-portcullis-assertion", assertion) end
  local renewed = answer.headers["set-cookie"]
  if renewed then txn:set_priv(lines(renewed)) end
end, 0)

core.register_action("portcullis_renew", { "http-res" }, function(txn)
  local renewed = txn:get_priv()
  if type(renewed) ~= "table" then return end
  for _, line in ipairs(renewed) do txn.http:res_add_header("set-cookie", line[2]) end
  -- It must not stay in a cache that others are served from.
  txn.http:res_add_header("cache-control", "private")
end, 0)
