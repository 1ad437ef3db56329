"""Other registries than the checked-in one: VESPER_EXTRA_REGISTRIES names a folder of vk-*.xml and video-*.xml."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support import ROOT, Made

from codegen.__main__ import load
from codegen.errors import InputError
from codegen.explain import Coverage
from codegen.offers import Offers
from codegen.render import Renderer

FOLDER = os.environ.get("VESPER_EXTRA_REGISTRIES", "")
REGISTRIES = sorted(Path(FOLDER).glob("vk-*.xml")) if FOLDER else []
POLICY = ROOT / "codegen" / "policy"

pytestmark = pytest.mark.skipif(not REGISTRIES, reason="VESPER_EXTRA_REGISTRIES names no registries")


@pytest.fixture(scope="module", params=REGISTRIES or [Path("none")], ids=lambda p: p.stem)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("registry")
    (made / "vk.xml").symlink_to(request.param)
    video = request.param.with_name(request.param.name.replace("vk-", "video-"))
    if video.exists():
        (made / "video.xml").symlink_to(video)
    return made


@pytest.fixture(scope="module")
def other(folder: Path) -> Made:
    return Made(*load(folder, POLICY, strict=False))


def test_it_generates(other: Made) -> None:
    files = Renderer(other.model, other.policy, other.plan).files()
    assert 80 < len(files) <= 150
    assert sum(f.text.count("\n") for f in files) <= 175_000


def test_most_of_it_travels(other: Made) -> None:
    commands = list(other.plan.commands.values())
    assert sum(c.status in ("covered", "local") for c in commands) > 0.95 * len(commands)


def test_what_is_quarantined_is_listed_and_hidden(other: Made) -> None:
    table = Coverage(other.model, other.policy, other.plan).coverage()
    refused = {
        e.name for e in Offers(other.model, other.policy, other.plan).extensions if e.side == "refused"
    }
    for name in other.plan.quarantined:
        assert f"| {name} | quarantined | " in table
        for provider in other.model.providers:
            if provider.is_extension and name in {
                other.model.canonical(n) for n in provider.commands | provider.types
            }:
                assert provider.name in refused, name


def test_nothing_refers_to_what_is_quarantined(other: Made) -> None:
    names = [n for n in other.plan.quarantined if n.startswith("Vk")]
    pattern = re.compile(rf"\b(?:Encode|Decode)\w*\([^\n]*\b(?:{'|'.join(names or ['nothing'])})\b")
    for file in Renderer(other.model, other.policy, other.plan).files():
        assert not pattern.search(file.text), file.path
    planned = set(other.plan.structs)
    for each in other.plan.structs.values():
        assert {(n, each.role) for n in each.chain} <= planned


def test_strictly_it_fails_at_the_first_place(folder: Path, other: Made) -> None:
    if not other.plan.quarantined:
        pytest.skip("nothing of it is quarantined")
    with pytest.raises(InputError, match=r"^(vk|video)\.xml:\d+: .*add a row to codegen/policy"):
        load(folder, POLICY, strict=True)
