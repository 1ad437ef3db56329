"""lowering.py: every operation of the plan, in the small registry; what nobody classified is isolated."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import MINI_POLICY, MINI_XML, Made, edited, line_of, make

from codegen.errors import InputError
from codegen.plan import ELEMENTS, OPS

CASES = [
    # owner, field, op, element, direction
    ("vkCreateThing", "device", "handle", "handle", "in"),
    ("vkCreateThing", "pCreateInfo", "struct", "deep", "in"),
    ("vkCreateThing", "pAllocator", "none", "none", "in"),
    ("vkCreateThing", "pThing", "new_handle", "handle", "out"),
    ("vkFreeThings", "pThings", "array", "handle", "in"),
    ("vkGetThingData", "pDataSize", "count", "size", "inout"),
    ("vkGetThingData", "pData", "blob", "byte", "out"),
    ("vkGetThingAnything", "pAnything", "chain", "none", "out"),
    ("vkGetThingCapture", "pData", "blob", "byte", "out"),
    ("vkGetThingCapture", "pData_size", "scalar", "size", "in"),
    ("vkCmdDraw", "pDraws", "array", "copy", "in"),
    ("vkCmdDraw", "blend", "fixed_array", "scalar", "in"),
    ("vkCmdBuild", "ppRanges", "array", "copy", "in"),
    ("vkCmdMark", "pMarker", "opaque", "scalar", "in"),
    ("VkThingCreateInfo", "pNext", "chain", "none", "in"),
    ("VkThingCreateInfo", "flags", "scalar", "scalar", "in"),
    ("VkThingCreateInfo", "kind", "scalar", "renamed", "in"),
    ("VkThingCreateInfo", "choice", "union", "union", "in"),
    ("VkThingCreateInfo", "raw", "struct", "copy", "in"),
    ("VkThingCreateInfo", "bits", "struct", "flat", "in"),
    ("VkThingCreateInfo", "strings", "struct", "deep", "in"),
    ("VkThingCreateInfo", "uuid", "fixed_array", "scalar", "in"),
    ("VkThingCreateInfo", "pCode", "array", "scalar", "in"),
    ("VkThingCreateInfo", "pData", "blob", "byte", "in"),
    ("VkThingCreateInfo", "pGap", "struct", "flat", "in"),
    ("VkStrings", "pName", "string", "byte", "in"),
    ("VkStrings", "ppNames", "string_array", "byte", "in"),
    ("VkThingFeedback", "pFeedback", "struct", "copy", "out"),
    ("VkThingOwner", "object", "handle", "object", "in"),
]


@pytest.mark.parametrize(("owner", "name", "op", "element", "direction"), CASES)
def test_operations(mini: Made, owner: str, name: str, op: str, element: str, direction: str) -> None:
    field = mini.field(owner, name)
    assert (field.op, field.element, field.direction) == (op, element, direction)


def test_the_small_registry_has_every_operation(mini: Made) -> None:
    plans = (*mini.plan.commands.values(), *mini.plan.structs.values(), *mini.plan.flats.values())
    fields = [f for made in plans for f in made.fields]
    assert {f.op for f in fields} == set(OPS)
    assert {f.element for f in fields} == set(ELEMENTS)


def test_lengths_become_expressions(mini: Made) -> None:
    assert mini.field("VkThingCreateInfo", "pCode").count == "v.codeSize / 4"
    assert mini.field("vkGetThingData", "pData").count == "Value(v.pDataSize)"
    assert mini.field("vkGetThingData", "pData").capacity == "pDataSize"
    ranges = mini.field("vkCmdBuild", "ppRanges")
    assert (ranges.count, ranges.inner_count) == ("v.infoCount", "v.pInfos[i].rangeCount")
    assert mini.field("vkCmdDraw", "pDraws").stride == "v.stride"


def test_a_length_that_is_a_property_travels(mini: Made) -> None:
    size = mini.field("vkGetThingCapture", "pData_size")
    assert (size.measures, size.device_property) == ("pData", "VkThingProperties::dataSize")
    command = mini.plan.commands["vkGetThingCapture"]
    assert command.argument_declarations[-1] == "size_t pData_size"
    assert len(command.declarations) == 3


def test_counts_inside_outputs_go_both_ways(mini: Made) -> None:
    count = mini.field("VkThingProperties", "extentCount", "out")
    assert (count.op, count.direction) == ("count", "inout")
    assert mini.field("VkThingProperties", "pExtents", "out").capacity == "extentCount"


def test_conditions_and_ignored_handles(mini: Made) -> None:
    siblings = mini.field("VkThingCreateInfo", "pSiblings")
    assert "VK_KIND_EXTENT" in siblings.condition and "FUTURE" not in siblings.condition
    assert mini.field("VkThingCreateInfo", "base").use == "kIgnorable"
    assert mini.field("vkCreateThing", "device").use == "kRequired"


def test_chains_hold_what_may_extend(mini: Made) -> None:
    structs = mini.plan.structs
    chain = ("VkThingExtra", "VkThingFeedback", "VkThingOwner")
    assert structs["VkThingCreateInfo", "in"].chain == chain
    assert structs["VkThingProperties", "out"].chain == ("VkThingMoreProperties",)
    assert mini.plan.commands["vkGetThingAnything"].chain == ("VkThingMoreProperties",)


def test_modes(mini: Made) -> None:
    modes = {c.name: c.mode for c in mini.plan.commands.values() if c.on_wire}
    assert modes["vkCmdDraw"] == "record" and modes["vkCreateThing"] == "post"
    assert modes["vkGetThingData"] == "ask" and modes["vkGetThingAddress"] == "ask"
    ask_if = mini.plan.commands["vkCreateThing"].ask_if
    assert "VK_SHAPE_REPLAY_BIT" in ask_if and "Echoes(v.pCreateInfo, 1)" in ask_if


def test_overrides_keep_the_name_of_their_row(mini: Made) -> None:
    assert mini.plan.commands["vkGetThingProperties"].client_override == "GetThingPropertiesKHR"
    assert mini.plan.commands["vkEnumeratePhysicalDevices"].server_override == "EnumeratePhysicalDevices"


def test_fixed_parts_do_not_overlap(full: Made) -> None:
    for made in (*full.plan.structs.values(), *full.plan.commands.values()):
        placed = [f for f in made.fields if f.request_offset >= 0 and f.element != "bits"]
        ranges = sorted((f.request_offset, f.request_offset + f.size * (f.extent or 1)) for f in placed)
        assert all(a[1] <= b[0] for a, b in zip(ranges, ranges[1:])), made.name


# --- what is unclassified ------------------------------------------------------------------------------------------


def unclassified(folder: Path, xml: str, part: str, message: str, policy: str = MINI_POLICY) -> None:
    """Strictly, the edited registry fails in the line of ``part``."""
    with pytest.raises(InputError) as caught:
        make(folder, xml, policy)
    assert caught.value.place.line == line_of(xml, part), str(caught.value)
    assert message in caught.value.message


def test_bytes_without_a_length(tmp_path: Path) -> None:
    old = '<member optional="true" len="dataSize">const <type>void</type>* <name>pData</name></member>'
    new = '<member optional="true">const <type>void</type>* <name>pData</name></member>'
    unclassified(tmp_path, edited(MINI_XML, (old, new)), new, "bytes without a length")


def test_a_length_that_names_nothing(tmp_path: Path) -> None:
    xml = edited(MINI_XML, ('len="siblingCount"', 'len="siblingNumber"'))
    unclassified(tmp_path, xml, '<member noautovalidity="true" len="siblingNumber"', "names nothing known")


def test_a_union_without_a_selector(tmp_path: Path) -> None:
    xml = edited(MINI_XML, ('<member selector="kind">', "<member>"))
    unclassified(tmp_path, xml, "<member><type>VkChoice", "the union VkChoice has no selector")


def test_a_selector_that_is_no_member(tmp_path: Path) -> None:
    xml = edited(MINI_XML, ('<member selector="kind">', '<member selector="sort">'))
    unclassified(tmp_path, xml, '<member selector="sort">', "the selector sort is no member")


def test_a_pointer_to_a_pointer(tmp_path: Path) -> None:
    old = '[[member]]\nof = "vkCmdBuild"\nname = "ppRanges"\nlength = "infoCount,pInfos[i].rangeCount"\n'
    policy = edited(MINI_POLICY, (old + 'why = "one array per info"\n', ""))
    unclassified(tmp_path, MINI_XML, '<param len="infoCount">const <type>VkExtent', "no rule for", policy)


def test_an_output_of_no_type(tmp_path: Path) -> None:
    new = '<param noautovalidity="true"><type>VkBaseOutStructure</type>* <name>pAnything</name></param>'
    old = new.replace("><type>", ' validstructs="VkThingMoreProperties"><type>', 1)
    unclassified(tmp_path, edited(MINI_XML, (old, new)), new, "a struct of no type of its own")


def test_a_function_pointer(tmp_path: Path) -> None:
    new = "<member><type>PFN_vkVoidFunction</type> <name>enabled</name></member>"
    xml = edited(MINI_XML, ("<member><type>VkBool32</type> <name>enabled</name></member>", new))
    unclassified(tmp_path, xml, new, "no rule for")


def test_a_property_that_is_none(tmp_path: Path) -> None:
    policy = edited(MINI_POLICY, ("property VkThingProperties dataSize", "property VkThingProperties size"))
    with pytest.raises(InputError) as caught:
        make(tmp_path, policy=policy)
    row = line_of(policy, '[[member]]\nof = "vkGetThingCapture"')
    assert (caught.value.place.file, caught.value.place.line) == ("policy.toml", row)


NOWHERE = "<member>const <type>void</type>* <name>pNowhere</name></member>"
RANGE_COUNT = "<member><type>uint32_t</type> <name>rangeCount</name></member>"
QUARANTINED = edited(
    MINI_XML,
    (RANGE_COUNT, RANGE_COUNT + NOWHERE),
    ("<member><type>VkBool32</type> <name>enabled</name></member>", NOWHERE),
)


def test_quarantine_isolates(tmp_path: Path) -> None:
    made = make(tmp_path, QUARANTINED, strict=False)
    assert set(made.plan.quarantined) == {"vkCmdBuild", "VkThingExtra"}
    assert made.plan.commands["vkCmdBuild"].status == "quarantined"
    assert "VkRanges" in made.plan.commands["vkCmdBuild"].reason
    assert made.plan.structs["VkThingCreateInfo", "in"].chain == ("VkThingFeedback", "VkThingOwner")
    assert made.plan.commands["vkCreateThing"].status == "covered"


def test_nothing_that_travels_refers_to_a_quarantined_struct(tmp_path: Path) -> None:
    """A struct deep inside one that many commands take, reached again while it is being planned."""
    again = '<member optional="true">const <type>VkThingCreateInfo</type>* <name>pAgain</name></member>'
    count = '<member optional="true"><type>uint32_t</type> <name>nameCount</name></member>'
    xml = edited(MINI_XML, (count, again + NOWHERE + count))
    made = make(tmp_path, xml, strict=False)
    assert "vkCreateThing" in made.plan.quarantined
    planned = set(made.plan.structs)
    for each in (*made.plan.structs.values(), *(c for c in made.plan.commands.values() if c.on_wire)):
        for field in each.fields:
            if field.element in ("deep", "union"):
                assert (field.type, field.role) in planned
        assert {(n, each.role) for n in each.chain} <= planned
    with pytest.raises(InputError, match="add a row to codegen/policy"):
        make(tmp_path, xml)
