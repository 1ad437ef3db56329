"""Fixtures: the small registry and a whole one, each read once. VESPER_REGISTRY names the folder of the latter."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import ROOT, Made, make

from codegen.__main__ import default_registry, load, manifest_version


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="session")
def full() -> Made:
    registry = Path(os.environ.get("VESPER_REGISTRY") or default_registry())
    return Made(*load(registry, ROOT / "codegen" / "policy", strict=False))


@pytest.fixture(scope="session")
def own_registry(full: Made) -> Made:
    """The registry that generated/ was made from, where it is the one at hand."""
    if full.model.header_version != manifest_version(ROOT / "generated"):
        pytest.skip("the registry at hand is not the one that generated/ was made from")
    return full
