"""render.py: files on disk follow the plan, both ways, and always come out the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import HERE, ROOT, Made

from codegen.__main__ import check
from codegen.render import Renderer, call_arguments, orphans, write

# Files of mini.xml whose text is kept under golden/. After a change of templates: VESPER_UPDATE_GOLDEN=1 pytest.
GOLDEN = (
    "client/misc.cpp", "client/name_table.cpp", "server/misc.cpp", "vk/commands.cpp", "vk/extensions.cpp",
    "wire/chains.cpp", "wire/draw.cpp", "wire/misc.cpp", "wire/misc.h", "wire/misc_structs.cpp",
)  # fmt: skip


def renderer(made: Made) -> Renderer:
    return Renderer(made.model, made.policy, made.plan)


@pytest.mark.parametrize("path", GOLDEN)
def test_golden(mini: Made, path: str) -> None:
    text = next(f.text for f in renderer(mini).files() if f.path == path)
    golden = HERE / "golden" / path
    if os.environ.get("VESPER_UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text(), "look at the difference; VESPER_UPDATE_GOLDEN=1 accepts it"


def test_nothing_golden_is_left_over() -> None:
    found = {str(p.relative_to(HERE / "golden")) for p in (HERE / "golden").rglob("*") if p.is_file()}
    assert found == set(GOLDEN)


def test_write_changes_only_what_differs_and_removes_orphans(mini: Made, tmp_path: Path) -> None:
    files = renderer(mini).files()
    assert write(files, tmp_path) == len(files)
    assert write(files, tmp_path) == 0
    (tmp_path / "wire" / "left_over.cpp").write_text("")
    (tmp_path / "CMakeLists.txt").write_text("by hand")
    assert [p.name for p in orphans({f.path for f in files}, tmp_path)] == ["left_over.cpp"]
    assert write(files, tmp_path) == 1
    assert (tmp_path / "CMakeLists.txt").exists()


def test_check_finds_differences_both_ways(
    mini: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = renderer(mini)
    write(made.files(), tmp_path)
    assert check(made, tmp_path) == 0
    (tmp_path / "wire" / "draw.cpp").write_text("edited\n")
    (tmp_path / "server" / "extra.h").write_text("")
    assert check(made, tmp_path) == 1
    printed = capsys.readouterr().out
    assert "-edited" in printed and "extra.h: no template makes this file" in printed
    assert "2 files differ" in printed


def test_arguments_of_the_driver_leave_out_allocators_and_lengths(mini: Made) -> None:
    commands = mini.plan.commands
    assert call_arguments(commands["vkCreateThing"]) == "v.device, v.pCreateInfo, nullptr, v.pThing"
    assert call_arguments(commands["vkGetThingCapture"]) == "v.device, v.thing, v.pData"


def test_output_does_not_depend_on_hashing(tmp_path: Path) -> None:
    (tmp_path / "vk.xml").write_text((HERE / "mini.xml").read_text())
    texts = []
    for seed in ("1", "2"):
        output = tmp_path / seed
        arguments = [
            "generate",
            "--registry",
            str(tmp_path),
            "--policy",
            str(HERE / "mini.toml"),
            "--output",
            str(output),
        ]
        environment = dict(os.environ, PYTHONHASHSEED=seed)
        subprocess.run(
            [sys.executable, "-m", "codegen", *arguments], cwd=ROOT, env=environment, check=True, timeout=60
        )
        texts.append({p.relative_to(output): p.read_text() for p in output.rglob("*") if p.is_file()})
    assert len(texts[0]) > 20
    assert texts[0] == texts[1]
