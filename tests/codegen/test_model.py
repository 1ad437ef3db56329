"""model.py: aliases resolved, platforms set aside, types sized; contradictions fail at their line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import MINI_XML, Made, edited, line_of, make_model

from codegen.errors import InputError
from codegen.model import Kind


def test_aliases_collapse(mini: Made) -> None:
    command = mini.model.commands["vkGetThingProperties"]
    assert command.aliases == ("vkGetThingPropertiesKHR",)
    assert "vkGetThingPropertiesKHR" not in mini.model.commands
    siblings = mini.model.structs["VkThingCreateInfo"].member("pSiblings")
    assert siblings is not None and siblings.type == "VkThing"


def test_kinds_and_sizes(mini: Made) -> None:
    model = mini.model
    assert model.kind("VkChoice") is Kind.UNION and model.kind("VkExtent") is Kind.STRUCT
    assert model.kind("PFN_vkVoidFunction") is Kind.FUNCTION and model.kind("Display") is Kind.OPAQUE
    assert model.scalars["VkWideFlagBits"].size == 8 and not model.scalars["VkWideFlagBits"].is_enum
    assert model.scalars["VkShapeFlagBits"].size == 4 and model.scalars["VkKind"].is_enum
    assert not model.scalars["size_t"].portable


def test_handles_know_their_parents(mini: Made) -> None:
    thing = mini.model.handles["VkThing"]
    assert (thing.dispatchable, thing.parent, thing.object_type) == (
        False,
        "VkDevice",
        "VK_OBJECT_TYPE_THING",
    )
    assert mini.model.handles["VkCommandBuffer"].dispatchable


def test_platforms_and_disabled_extensions_are_set_aside(mini: Made) -> None:
    assert "vkUsePlatformThing" in mini.model.platform_commands
    assert "vkUsePlatformThing" not in mini.model.commands
    assert "VkPlatformThing" not in mini.model.structs and "VkDisabledThing" not in mini.model.structs
    assert "vkUseDisabledThing" not in mini.model.commands


def test_lengths_prefer_c(mini: Made) -> None:
    code = mini.model.structs["VkThingCreateInfo"].member("pCode")
    assert code is not None and code.length == ("codeSize / 4",)
    names = mini.model.structs["VkStrings"].member("ppNames")
    assert names is not None and names.length == ("nameCount", "null-terminated") and names.is_string
    text = mini.model.structs["VkThingProperties"].member("name")
    assert text is not None and not text.is_string and text.extent == 16


def test_the_fingerprint_follows_declarations(mini: Made, tmp_path: Path) -> None:
    same = make_model(tmp_path, edited(MINI_XML, ("<!-- fixed size", "<!-- of fixed size")))
    assert same.fingerprint == mini.model.fingerprint
    longer = make_model(tmp_path, edited(MINI_XML, ("matrix</name>[3][4]", "matrix</name>[4][4]")))
    assert longer.fingerprint != mini.model.fingerprint


def fails(folder: Path, old: str, new: str, message: str) -> None:
    """The edited registry fails in the line where ``new`` stands."""
    xml = edited(MINI_XML, (old, new))
    with pytest.raises(InputError) as caught:
        make_model(folder, xml)
    assert caught.value.place.file == "vk.xml"
    assert caught.value.place.line == line_of(xml, new), str(caught.value)
    assert message in caught.value.message


def test_an_alias_of_nothing(tmp_path: Path) -> None:
    old = '<command name="vkGetThingPropertiesKHR" alias="vkGetThingProperties"/>'
    fails(tmp_path, old, '<command name="vkGetThingPropertiesKHR" alias="vkNothing"/>', "alias of vkNothing")


def test_a_type_alias_of_nothing(tmp_path: Path) -> None:
    old = '<type category="handle" name="VkThingKHR" alias="VkThing"/>'
    fails(tmp_path, old, '<type category="handle" name="VkThingKHR" alias="VkNone"/>', "alias of VkNone")


def test_an_alias_of_itself(tmp_path: Path) -> None:
    old = '<type category="handle" name="VkThingKHR" alias="VkThing"/>'
    fails(
        tmp_path, old, '<type category="handle" name="VkThingKHR" alias="VkThingKHR"/>', "an alias of itself"
    )


def test_an_undefined_array_size(tmp_path: Path) -> None:
    old = "<member><type>uint8_t</type> <name>uuid</name>[<enum>VK_UUID_SIZE</enum>]</member>"
    new = "<member><type>uint8_t</type> <name>uuid</name>[<enum>VK_NO_SIZE</enum>]</member>"
    fails(tmp_path, old, new, "the array size VK_NO_SIZE is not defined")


def test_latexmath_without_altlen(tmp_path: Path) -> None:
    old = '<member len="latexmath:[\\textrm{codeSize} \\over 4]" altlen="codeSize / 4">'
    fails(
        tmp_path,
        old,
        '<member len="latexmath:[\\textrm{codeSize} \\over 4]">',
        "a latexmath length without altlen",
    )


def test_a_member_without_a_name(tmp_path: Path) -> None:
    old, new = (
        "<member><type>float</type> <name>matrix</name>[3][4]",
        "<member><type>float</type> matrix[3][4]",
    )
    fails(tmp_path, old, new, "a member without type or name")


def test_a_required_command_that_is_not_defined(tmp_path: Path) -> None:
    old = '<command name="vkCmdDraw"/>'
    xml = edited(MINI_XML, (old, '<command name="vkCmdUndefined"/>'))
    with pytest.raises(InputError, match="VK_VERSION_1_0 requires vkCmdUndefined, which is not defined"):
        make_model(tmp_path, xml)


def test_a_command_without_a_prototype(tmp_path: Path) -> None:
    new = "<command><param><type>VkDevice</type> <name>device</name></param></command>\n    </commands>"
    fails(tmp_path, "</commands>", new, "a command without a prototype")
