"""offers.py: which extensions are hidden and why, what enables a name, levels, object types."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import MINI_POLICY, MINI_XML, Made, edited, make

from codegen.offers import Offers, satisfiable


def offers(made: Made) -> Offers:
    return Offers(made.model, made.policy, made.plan)


def test_sides_of_extensions(mini: Made) -> None:
    found = {e.name: (e.side, e.cause, e.why) for e in offers(mini).extensions}
    assert found == {
        "VK_KHR_thing_properties": ("remote", "", ""),
        "VK_EXT_capture": ("remote", "", ""),
        "VK_EXT_refused": ("refused", "policy", "its command is refused"),
        "VK_KHR_win32_thing": ("refused", "platform", "belongs to the platform win32"),
        "VK_EXT_needs_refused": ("refused", "dependency", "needs VK_EXT_refused, which is not offered"),
    }


def test_an_extension_with_something_quarantined_is_hidden(tmp_path: Path) -> None:
    old = '<param len="infoCount">const <type>VkExtent</type>* const* <name>ppRanges</name></param></command>'
    xml = edited(MINI_XML, (old, "<param>const <type>void</type>* <name>ppRanges</name></param></command>"))
    policy = edited(MINI_POLICY, ('length = "infoCount,pInfos[i].rangeCount"', "ignorable = true"))
    found = {e.name: e for e in offers(make(tmp_path, xml, policy, strict=False)).extensions}
    assert found["VK_EXT_capture"].side == "refused"
    assert found["VK_EXT_capture"].why == "vkCmdBuild is not classified"


def test_what_structs_and_commands_need(mini: Made) -> None:
    found = offers(mini)
    assert found.needs("vkCreateThing") == found.needs("VkThingExtra") == found.needs("vkGetThingPropertiesKHR") == 0
    assert found.needs("vkRefusedThing") == 1
    assert found.need_lists[found.needs("vkCmdBuild")] == ("VK_EXT_capture",)


def test_promotion(mini: Made) -> None:
    found = {e.name: e.promoted for e in offers(mini).extensions}
    assert found["VK_KHR_thing_properties"] == (1, 1) and found["VK_EXT_capture"] is None


def test_names_and_what_enables_them(mini: Made) -> None:
    names = {n.name: n for n in offers(mini).names}
    core, alias = names["vkGetThingProperties"], names["vkGetThingPropertiesKHR"]
    assert (core.version, core.extensions) == ((1, 1), ())
    assert (alias.version, alias.extensions) == (None, ("VK_KHR_thing_properties",))
    assert core.function == alias.function == "overrides::GetThingPropertiesKHR"
    assert names["vkCmdDraw"].function == "entry::CmdDraw"
    assert "vkRefusedThing" not in names and "vkUsePlatformThing" not in names


def test_a_command_of_a_platform_that_the_client_answers(tmp_path: Path) -> None:
    row = '[[command]]\nname = "vkUsePlatformThing"\nwire = "local"\nwhy = "the client answers"\n'
    made = make(tmp_path, MINI_XML, f"{MINI_POLICY}\n{row}")
    assert "vkUsePlatformThing" not in made.plan.commands, "it has no number"
    names = {n.name: n for n in offers(made).names}
    assert names["vkUsePlatformThing"].function == "overrides::UsePlatformThing"
    assert names["vkUsePlatformThing"].command == ""
    assert names["vkUsePlatformThing"].extensions == ("VK_KHR_win32_thing",)


def test_what_delivers(full: Made) -> None:
    delivers = {n.name: n.delivers for n in offers(full).names}
    assert delivers["vkCreateBuffer"] and delivers["vkWaitForFences"] and delivers["vkDestroyBuffer"]
    assert not delivers["vkCmdDraw"], "recording"
    assert not delivers["vkDestroyInstance"] and not delivers["vkDestroyDevice"], "nothing is left to ask"
    assert not delivers["vkCreateInstance"], "no session yet"


def test_levels(mini: Made) -> None:
    level = offers(mini).level
    commands = mini.plan.commands
    assert level(commands["vkEnumeratePhysicalDevices"]) == "kInstance"
    assert level(commands["vkCmdDraw"]) == "kDevice"


def test_levels_of_real_commands(full: Made) -> None:
    level, commands = offers(full).level, full.plan.commands
    expected = {"vkCreateInstance": "kGlobal", "vkCreateDevice": "kInstance", "vkQueueSubmit": "kDevice"}
    assert {n: level(commands[n]) for n in expected} == expected
    physical = {n.name for n in offers(full).names if n.physical}
    assert "vkGetPhysicalDeviceProperties" in physical and "vkCreateDevice" in physical
    assert "vkEnumeratePhysicalDevices" not in physical and "vkGetDeviceQueue" not in physical


def test_object_types(mini: Made, full: Made) -> None:
    [(name, values)] = offers(mini).object_types()
    assert name == "VkObjectType" and ("VK_OBJECT_TYPE_THING", "Thing") in values and len(values) == 5
    types = dict(offers(full).object_types())
    assert set(types) == {"VkObjectType", "VkDebugReportObjectTypeEXT"}
    report = dict(types["VkDebugReportObjectTypeEXT"])
    assert report["VK_DEBUG_REPORT_OBJECT_TYPE_SURFACE_KHR_EXT"] == "SurfaceKHR"
    assert report["VK_DEBUG_REPORT_OBJECT_TYPE_ACCELERATION_STRUCTURE_NV_EXT"] == "AccelerationStructureNV"
    assert len(report) > 30


@pytest.mark.parametrize(
    ("depends", "hidden", "holds"),
    [
        ("", {"A"}, True),
        ("A", {"A"}, False),
        ("A,B", {"A"}, True),
        ("A+B", {"B"}, False),
        ("(A,B)+C", {"A"}, True),
        ("(A,B)+C", {"A", "B"}, False),
        ("(A+B),VK_VERSION_1_1", {"A", "B"}, True),
        ("A::b+C", {"C"}, False),
    ],
)
def test_dependencies(depends: str, hidden: set[str], holds: bool) -> None:
    assert satisfiable(depends, hidden) is holds
