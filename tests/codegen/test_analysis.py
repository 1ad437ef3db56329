"""analysis.py: what has a fixed size, which way things go, what comes back inside inputs."""

from __future__ import annotations

import pytest
from support import Made

from codegen.analysis import Analysis, Flat


@pytest.fixture(scope="module")
def analysis(mini: Made) -> Analysis:
    return Analysis(mini.model, mini.policy)


@pytest.mark.parametrize(
    ("struct", "flat"),
    [
        ("VkExtent", Flat(8, 4, True)),
        ("VkMatrix", Flat(48, 4, True)),
        ("VkRaw", Flat(16, 4, True)),
        ("VkGap", Flat(20, 8, False)),  # the gap does not travel, size_t is widened
        ("VkBits", Flat(12, 8, False)),  # no address of a bit-field
        ("VkStrings", None),
        ("VkChoice", None),
        ("VkThingExtra", None),
    ],
)
def test_fixed_sizes(analysis: Analysis, struct: str, flat: Flat | None) -> None:
    assert analysis.flat(struct) == flat


def test_outputs_inside_inputs_are_found_through_chains(analysis: Analysis) -> None:
    assert analysis.echoing == {"VkThingFeedback", "VkThingCreateInfo", "VkThingProperties"}


def test_directions(analysis: Analysis, mini: Made) -> None:
    command = mini.model.commands["vkGetThingData"]
    directions = [analysis.direction(command, p, "in") for p in command.params]
    assert directions == ["in", "in", "inout", "out"]
    struct = mini.model.structs["VkThingProperties"]
    by_name = {m.name: analysis.direction(struct, m, "out") for m in struct.members}
    assert (by_name["extentCount"], by_name["pExtents"], by_name["dataSize"]) == ("inout", "out", "out")


def test_destroyed_objects(analysis: Analysis, mini: Made) -> None:
    names = {n: analysis.destroyed(c) for n, c in mini.model.commands.items()}
    assert {n: p.name for n, p in names.items() if p} == {
        "vkDestroyThing": "thing",
        "vkFreeThings": "pThings",
    }
