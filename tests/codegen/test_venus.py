"""The tables of the Venus protocol: numbers that never change, and members as they travel."""

from __future__ import annotations

import re

import pytest
from support import Made

from codegen.venus import Venus


@pytest.fixture(scope="module")
def venus(own_registry: Made) -> Venus:
    return Venus(own_registry.model, own_registry.policy, own_registry.plan)


def test_numbers_are_those_of_the_driver(venus: Venus) -> None:
    names = {number: name for number, name in venus.numbers.items()}
    assert len(names) == 283
    assert (names[0], names[18], names[21]) == ("vkCreateInstance", "vkQueueSubmit", "vkAllocateMemory")
    assert (names[0x89], names[177], names[188]) == (
        "vkEnumerateInstanceVersion", "vkGetDeviceMemoryOpaqueCaptureAddress", "vkCreateRingMESA",
    )  # fmt: skip
    assert names[195] == "" and names[282] == "vkGetImageSubresourceLayout2KHR"
    assert len({n for n in names.values() if n}) == 282


def test_what_has_no_table_is_known(venus: Venus) -> None:
    """Commands of the protocol that are not served; the driver answers them itself or never sends them."""
    without = {name for name in venus.numbers.values() if name and not name.endswith("MESA")}
    canonical = venus.model.canonical
    without = {n for n in without if canonical(n) not in {c.name for c in venus.commands}}
    assert without == {
        "vkGetInstanceProcAddr", "vkGetDeviceProcAddr", "vkEnumerateInstanceLayerProperties",
        "vkEnumerateDeviceLayerProperties", "vkMapMemory", "vkUnmapMemory", "vkCreateDescriptorUpdateTemplate",
        "vkDestroyDescriptorUpdateTemplate", "vkUpdateDescriptorSetWithTemplate", "vkGetPhysicalDeviceToolProperties",
        "vkCreatePrivateDataSlot", "vkDestroyPrivateDataSlot", "vkSetPrivateData", "vkGetPrivateData",
        "vkCmdPushDescriptorSetWithTemplateKHR",
    }  # fmt: skip


def members(venus: Venus, name: str) -> dict[str, str]:
    return {re.findall(r"\((\w+)\)", m)[0]: m for m in venus.structs[name].members}


def test_members_say_how_long_arrays_must_be(venus: Venus) -> None:
    shader = members(venus, "VkShaderModuleCreateInfo")
    assert "v.codeSize / 4" in shader["pCode"] and ".array = true" in shader["pCode"]
    layout = members(venus, "VkPipelineLayoutCreateInfo")
    assert ".count = offsetof(S, setLayoutCount)" in layout["pSetLayouts"]
    assert ".counts = true" in layout["setLayoutCount"]
    assert ".what = What::kHandle" in layout["pSetLayouts"]


def test_what_the_walker_has_no_rule_for_is_left_out(venus: Venus) -> None:
    assert "VkDebugUtilsMessengerCreateInfoEXT" not in venus.structs  # functions
    assert "VkPhysicalDeviceFeatures2" in venus.structs


def test_the_mask_has_a_bit_for_each_extension(venus: Venus) -> None:
    assert venus.mask(0) & 1
    (number,) = (p.number for p in venus.model.providers if p.name == "VK_KHR_dynamic_rendering")
    assert venus.mask(number // 32) >> number % 32 & 1
