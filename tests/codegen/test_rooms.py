"""The rooms of client/ and server/: docs/architecture.md says in which order they are; the includes must agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import ROOT

INCLUDE = re.compile(r'#include "([^"]+)"')
# Rooms that grow with the registry, one module for each family of commands.
BY_FAMILY = {"overrides"}
MAX_MODULES = 10


def order(side: str) -> list[set[str]]:
    """The stages of one side as docs/architecture.md gives them: rooms of one stage stand side by side."""
    lines = (ROOT / "docs" / "architecture.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"    {side}: ")]
    return [set(stage.split(", ")) for stage in line.split(": ", 1)[1].split(" ← ")]


def sources(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in (".h", ".cpp"))


def includes(path: Path) -> list[str]:
    return INCLUDE.findall(path.read_text())


@pytest.mark.parametrize("side", ["client", "server"])
def test_rooms_are_those_of_the_document(side: str) -> None:
    assert {p.name for p in (ROOT / side).iterdir() if p.is_dir()} == set().union(*order(side))
    assert not [p for p in (ROOT / side).iterdir() if p.suffix in (".h", ".cpp")]


@pytest.mark.parametrize("side", ["client", "server"])
def test_no_arrow_runs_against_the_order(side: str) -> None:
    stage = {room: number for number, rooms in enumerate(order(side)) for room in rooms}
    against = []
    for path in sources(side):
        room = path.relative_to(ROOT / side).parts[0]
        for name in includes(path):
            parts = Path(name).parts
            if parts[0] == side and parts[1] != room and stage[parts[1]] >= stage[room]:
                against.append(f"{path.relative_to(ROOT)}: {name}")
    assert against == []


@pytest.mark.parametrize("side", ["client", "server"])
def test_rooms_are_small(side: str) -> None:
    for room in sorted(set().union(*order(side)) - BY_FAMILY):
        modules = {p.stem for p in sources(f"{side}/{room}")}
        assert len(modules) <= MAX_MODULES, f"{side}/{room} has {len(modules)} modules: {sorted(modules)}"


def test_what_both_sides_share_knows_neither() -> None:
    for path in sources("runtime"):
        assert not [name for name in includes(path) if name.startswith(("client/", "server/", "generated/client/"))], path
    for path in sources("client"):
        assert not [name for name in includes(path) if name.startswith("server/")], path
    for path in sources("server"):
        assert not [name for name in includes(path) if name.startswith("client/")], path


@pytest.mark.parametrize("side", ["client", "server"])
def test_classes_have_names_of_their_own(side: str) -> None:
    """Two of one name in a namespace are one to the linker, which takes the functions of either."""
    found: dict[str, set[str]] = {}
    for path in sources(side):
        if path.suffix == ".h":
            for name in re.findall(r"(?m)^(?:struct|class)(?: [A-Z_]+\([^)]*\))? (\w+)[^;()]*\{", path.read_text()):
                found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_no_header_includes_itself() -> None:
    """Neither directly nor through others."""
    folders = ("client", "server", "runtime", "compute", "tools")
    graph = {
        str(path.relative_to(ROOT)): [name for name in includes(path) if (ROOT / name).exists()]
        for folder in folders
        for path in sources(folder)
        if path.suffix == ".h"
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way, name))
        if name in done or name not in graph:
            return
        for other in graph[name]:
            visit(other, (*way, name))
        done.add(name)

    for name in graph:
        visit(name, ())
