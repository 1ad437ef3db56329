"""Fixtures: the small registry and Debian's, each read once."""

from __future__ import annotations

import pytest
from support import ROOT, Made, make

from codegen.__main__ import DEFAULT_REGISTRY, load


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="session")
def full() -> Made:
    return Made(*load(DEFAULT_REGISTRY, ROOT / "codegen" / "policy.toml", strict=False))
