"""What others may build upon: headers that stand by themselves, and a protocol whose documents name its version."""

from __future__ import annotations

import re
from pathlib import Path

from support import ROOT

PUBLIC = ROOT / "compute" / "include"
INCLUDE = re.compile(r'^#\s*include [<"]([^>"]+)[>"]', re.M)


def headers() -> list[Path]:
    return sorted(PUBLIC.rglob("*.h"))


def test_public_headers_include_nothing_private() -> None:
    for path in headers():
        for name in INCLUDE.findall(path.read_text()):
            of_others = "/" not in name or name.startswith("vulkan/")  # the standard library, Vulkan
            assert of_others or (PUBLIC / name).exists(), f"{path.relative_to(ROOT)} includes {name}"


def test_public_headers_say_so() -> None:
    for path in headers():
        assert "Public:" in path.read_text()[:2000], f"{path.relative_to(ROOT)} does not say that it is public"
    for folder in ("client", "server", "runtime", "tools", "compute/src"):
        for path in (ROOT / folder).rglob("*.h"):
            assert "Public:" not in path.read_text(), f"{path.relative_to(ROOT)} is private"


def test_documents_of_the_protocol_name_its_version() -> None:
    code = (ROOT / "runtime" / "handshake.h").read_text()
    version = re.findall(r"kProtocolVersion = (\d+);", code)
    for path in ("docs/wire.md", "runtime/transport/vesper.capnp"):
        assert re.findall(r"protocol version (\d+)", (ROOT / path).read_text()) == version, path
