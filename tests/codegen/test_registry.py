"""registry.py: what the XML says, with the line it says it in."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import MINI_XML, edited, line_of

from codegen.errors import InputError
from codegen.registry import Registry, parse_xml, read_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    path = tmp_path_factory.mktemp("registry") / "vk.xml"
    path.write_text(MINI_XML)
    return read_registry(path, None)


def test_declarations_become_members(registry: Registry) -> None:
    members = {m.name: m for m in registry.types["VkThingCreateInfo"].members}
    assert members["pSiblings"].const and members["pSiblings"].pointers == 1
    assert members["uuid"].dimensions == ("VK_UUID_SIZE",)
    assert members["uuid"].declaration == "uint8_t uuid[VK_UUID_SIZE]"
    matrix = registry.types["VkMatrix"].members[0]
    assert matrix.dimensions == ("3", "4")
    assert [m.bits for m in registry.types["VkBits"].members] == [24, 8, 0]
    names = registry.types["VkStrings"].members[2]
    assert names.pointers == 2 and names.declaration == "const char* const* ppNames"


def test_other_apis_are_left_out(registry: Registry) -> None:
    assert registry.header_version == 7
    assert len(registry.commands["vkCreateThing"].params) == 4
    assert "onlyElsewhere" not in {m.name for m in registry.types["VkThingCreateInfo"].members}
    assert "VK_KIND_ELSEWHERE" not in registry.enums
    assert "VKSC_VERSION_1_0" not in {p.name for p in registry.providers}
    assert "VK_EXT_disabled" not in {p.name for p in registry.providers}


def test_enumerators_have_values(registry: Registry) -> None:
    assert registry.enums["VK_STRUCTURE_TYPE_THING_EXTRA"].value == 1000001001
    assert registry.enums["VK_STRUCTURE_TYPE_THING_EXTRA"].group == "VkStructureType"
    assert registry.enums["VK_WIDE_HIGH_BIT"].value == 1 << 40
    assert registry.enums["VK_ERROR_UNKNOWN"].value == -13
    assert registry.enums["VK_WHOLE"].value is None


def test_places_are_lines(registry: Registry) -> None:
    assert registry.types["VkGap"].place.line == line_of(MINI_XML, '<type category="struct" name="VkGap">')
    assert registry.tags == ("KHR", "EXT")


def test_video_types_replace_their_names(tmp_path: Path) -> None:
    (tmp_path / "vk.xml").write_text(
        edited(MINI_XML, ("<type requires", '<type name="StdThing"/><type requires'))
    )
    (tmp_path / "video.xml").write_text(
        '<registry><types><type category="struct" name="StdThing"><member><type>uint32_t</type>'
        '<name>a</name></member></type></types><extensions><extension name="vulkan_video_std" supported="vulkan">'
        '<require><type name="StdThing"/></require></extension></extensions></registry>'
    )
    registry = read_registry(tmp_path / "vk.xml", tmp_path / "video.xml")
    assert [m.name for m in registry.types["StdThing"].members] == ["a"]
    assert [p.is_video for p in registry.providers if p.name == "vulkan_video_std"] == [True]


def test_malformed_xml_fails_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "vk.xml").write_text("<registry>\n<types>\n</registry>")
    with pytest.raises(InputError, match=r"^vk\.xml:3: no well-formed XML"):
        parse_xml(tmp_path / "vk.xml")


def test_another_document_is_no_registry(tmp_path: Path) -> None:
    (tmp_path / "vk.xml").write_text("<html/>")
    with pytest.raises(InputError, match=r"vk\.xml:1: VK_HEADER_VERSION is not defined"):
        read_registry(tmp_path / "vk.xml", None)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.xml:0: cannot be read"):
        parse_xml(tmp_path / "nowhere.xml")
