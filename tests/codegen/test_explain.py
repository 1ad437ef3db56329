"""explain.py and the command line: what people read."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import HERE, MINI_XML, Made, edited, make

from codegen.__main__ import main
from codegen.explain import Coverage, Explainer
from codegen.places import Sources


def explain(name: str, made: Made) -> str:
    return Explainer(made.model, made.policy, made.plan, Sources(HERE, HERE / "generated")).explain(name)


def test_a_command(mini: Made) -> None:
    text = explain("vkCreateThing", mini)
    assert "vkCreateThing (vk.xml:" in text and "covered, post" in text
    assert "waits if" in text and "policy policy.toml:" in text
    assert "generated/wire/misc.cpp EncodeRequest (not there)" in text
    assert "pThing: out    new_handle" in text


def test_an_alias_explains_its_command(mini: Made) -> None:
    text = explain("vkGetThingPropertiesKHR", mini)
    assert text.startswith("vkGetThingProperties (") and "client/overrides/misc.cpp" in text


def test_structs(mini: Made) -> None:
    assert "VkGap: 20 bytes" in explain("VkGap", mini)
    assert "as out" in explain("VkThingProperties", mini)
    assert "neither" in explain("VkNothing", mini)


def test_coverage_counts_and_reasons(mini: Made) -> None:
    text = Coverage(mini.model, mini.policy, mini.plan).coverage()
    assert "| commands | 12 | 1 | 1 | 0 |" in text
    assert "| vkRefusedThing | refused | a pointer without a length |" in text
    assert "Executed" not in text


def test_coverage_of_what_is_quarantined(tmp_path: Path) -> None:
    xml = edited(MINI_XML, ("<member><type>VkBool32</type>", "<member><type>PFN_vkVoidFunction</type>"))
    made = make(tmp_path, xml, strict=False)
    text = Coverage(made.model, made.policy, made.plan).coverage()
    assert "| structs | 14 | 0 | 0 | 1 |" in text and "| VkThingExtra | quarantined | vk.xml:" in text


def test_executed_commands_by_family(mini: Made) -> None:
    executed = ["vkCmdDraw", "vkGetThingPropertiesKHR", "vkNothing"]
    text = Coverage(mini.model, mini.policy, mini.plan, executed).coverage()
    assert "2 commands (`scripts/coverage`)." in text
    assert "| draw | 1 | 3 | vkCmdBuild vkCmdMark |" in text


def command_line(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str, policy: str = "mini.toml"
) -> int:
    (folder / "vk.xml").write_text(MINI_XML)
    common = ["--registry", str(folder), "--policy", str(HERE / policy), "--output", str(folder / "out")]
    monkeypatch.setattr("sys.argv", ["codegen", *arguments, *common])
    return main()


def test_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(monkeypatch, tmp_path, "generate", "--strict") == 0
    assert command_line(monkeypatch, tmp_path, "check") == 0
    assert command_line(monkeypatch, tmp_path, "explain", "--strict", "vkCmdDraw") == 0
    assert command_line(monkeypatch, tmp_path, "coverage", "--extensions") == 0
    assert "| VK_EXT_refused | refused | its command is refused |" in capsys.readouterr().out
    assert command_line(monkeypatch, tmp_path, "coverage", "--checks") == 0
    assert "# What is checked of each command" in capsys.readouterr().out


def test_errors_name_file_and_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.toml").write_text((HERE / "mini.toml").read_text() + "[[comand]]\n")
    assert command_line(monkeypatch, tmp_path, "generate", policy=str(tmp_path / "bad.toml")) == 1
    assert "codegen: bad.toml:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_registry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["codegen", "coverage", "--registry", str(tmp_path / "none")])
    assert main() == 1
    assert "not found: install vulkan-headers" in capsys.readouterr().err
