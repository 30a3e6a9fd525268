-- XML, as services answer.
local xml = require "moonkeep.core.xml"

describe("XML", function()
  it("becomes tables", function()
    local root = assert(xml.parse "<?xml version='1.0'?>\n<a xmlns='q'><b c='d'>x &amp; y</b> <b/>z</a>")
    assert.same({ "a", " z", 2 }, { root.name, root.text, #root })
    assert.same({ name = "b", text = "x & y" }, root[1])
  end)

  it("that is none is told", function()
    assert.same({ nil, "line 1: mismatched tag" }, { xml.parse "<a><b></a>" })
    assert.matches("no element found", select(2, xml.parse ""))
    assert.same({ nil, "line 1: it is nested too deeply" }, { xml.parse(("<a>"):rep(100)) })
    local bomb = "<!DOCTYPE a [<!ENTITY a0 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'>"
    for i = 1, 12 do
      bomb = bomb .. ("<!ENTITY a%d '%s'>"):format(i, ("&a%d;"):format(i - 1):rep(16))
    end
    assert.matches("amplification", select(2, xml.parse(bomb .. "]><a>&a12;</a>")))
    assert.equal("", xml.parse("<!DOCTYPE a [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><a>&f;</a>").text)
  end)
end)
