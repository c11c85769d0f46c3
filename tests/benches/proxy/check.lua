-- A check of an order as one writes it by hand where the proxy has no schemas: a small JSON reader,
-- and the rules one by one.
local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }
local value

local function blank(s, i)
  return string.find(s, "[^ \t\r\n]", i) or #s + 1
end

local function text(s, i)
  local parts, from = {}, i + 1
  while true do
    local at = string.find(s, '["\\]', from)
    if not at then error("open string") end
    parts[#parts + 1] = string.sub(s, from, at - 1)
    if string.byte(s, at) == 34 then return table.concat(parts), at + 1 end
    local kind = string.sub(s, at + 1, at + 1)
    if kind == "u" then
      parts[#parts + 1] = "?"
      from = at + 6
    else
      parts[#parts + 1] = ESCAPES[kind] or error("escape")
      from = at + 2
    end
  end
end

local function object(s, i)
  local found = {}
  i = blank(s, i + 1)
  if string.byte(s, i) == 125 then return found, i + 1 end
  while true do
    local key
    if string.byte(s, i) ~= 34 then error("name") end
    key, i = text(s, i)
    i = blank(s, i)
    if string.byte(s, i) ~= 58 then error("colon") end
    if found[key] ~= nil then error("twice") end
    found[key], i = value(s, blank(s, i + 1))
    i = blank(s, i)
    local after = string.byte(s, i)
    if after == 125 then return found, i + 1 end
    if after ~= 44 then error("comma") end
    i = blank(s, i + 1)
  end
end

local function array(s, i)
  local found = {}
  i = blank(s, i + 1)
  if string.byte(s, i) == 93 then return found, i + 1 end
  while true do
    found[#found + 1], i = value(s, i)
    i = blank(s, i)
    local after = string.byte(s, i)
    if after == 93 then return found, i + 1 end
    if after ~= 44 then error("comma") end
    i = blank(s, i + 1)
  end
end

value = function(s, i)
  local first = string.byte(s, i)
  if first == 123 then return object(s, i) end
  if first == 91 then return array(s, i) end
  if first == 34 then return text(s, i) end
  if string.sub(s, i, i + 3) == "true" then return true, i + 4 end
  if string.sub(s, i, i + 4) == "false" then return false, i + 5 end
  local from, to = string.find(s, "^-?%d+%.?%d*[eE]?[+-]?%d*", i)
  if not from then error("value") end
  return tonumber(string.sub(s, from, to)), to + 1
end

local function only(found, names)
  for key in pairs(found) do
    if not names[key] then return false end
  end
  return true
end

local ORDER = { customer = true, currency = true, address = true, items = true }
local ITEM = { sku = true, quantity = true, price = true, gift = true }
local CURRENCIES = { EUR = true, USD = true, GBP = true }

local function line(item)
  return type(item) == "table" and only(item, ITEM)
    and type(item.sku) == "string" and string.find(item.sku, "^%u%u%u%-%d%d%d%d$")
    and type(item.quantity) == "number" and item.quantity % 1 == 0 and item.quantity >= 1 and item.quantity <= 100
    and type(item.price) == "number" and item.price >= 0
    and (item.gift == nil or type(item.gift) == "boolean")
end

local function order(found)
  if type(found) ~= "table" or not only(found, ORDER) then return false end
  if type(found.customer) ~= "string" or not string.find(found.customer, "^c%-%d%d%d%d%d%d$") then return false end
  if not CURRENCIES[found.currency] then return false end
  local address = found.address
  if type(address) ~= "table" or type(address.street) ~= "string" or #address.street > 100
    or type(address.city) ~= "string" or #address.city > 100
    or type(address.country) ~= "string" or #address.country ~= 2 then return false end
  if type(found.items) ~= "table" or #found.items < 1 or #found.items > 2000 then return false end
  for _, item in ipairs(found.items) do
    if not line(item) then return false end
  end
  return true
end

function envoy_on_request(handle)
  local body = handle:body(true)
  if body:length() == 0 then return end
  local bytes = body:getBytes(0, body:length())
  local read, found, stop = pcall(value, bytes, blank(bytes, 1))
  if not read or blank(bytes, stop) <= #bytes or not order(found) then
    handle:respond({ [":status"] = "400" }, "the order does not look like one")
  end
end

function envoy_on_response(handle)
  handle:headers():replace("cache-control", "no-store")
end
