-- The tap of gate 1: three fields read, one written.

local ENTITIES = { ["<"] = "&lt;", [">"] = "&gt;", ["&"] = "&amp;" }

local function escape(text)
  return (text:gsub("[<>&]", ENTITIES))
end

local function field(item, name)
  for _, field in ipairs(item.fields) do
    if field.name == name then
      return type(field.value) == "table" and field.value or {}
    end
  end
  return {}
end

local function first(text, characters)
  local stop = utf8.offset(text, characters + 1)
  return stop and text:sub(1, stop - 1) or text
end

function item_presave(item)
  local body = field(item, "body")
  local text = body.formatted and body.formatted.text or body.text or ""
  local tags = field(item, "tags").references or {}
  local html = string.format(
    "<article><h3>%s</h3><p>%s</p><small>%d tags, %d views</small></article>",
    escape(item.header.title), escape(first(text, 100)), #tags, field(item, "views").integer or 0)

  local written = { name = "teaser", value = { formatted = { format = "html", text = html } } }
  local fields = item.fields
  local place = 1
  while fields[place] and fields[place].name < written.name do
    place = place + 1
  end
  if fields[place] and fields[place].name == written.name then
    fields[place] = written
  else
    table.insert(fields, place, written)
  end
  return item
end
