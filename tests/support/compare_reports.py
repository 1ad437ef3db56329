#!/usr/bin/python3
"""Compares what device_report printed on the local driver with what it printed through Vesper.

Every line must be equal, apart from extensions that codegen/policy/extensions.toml refuses, and from those that it gives
to the client, which offers them whether or not the driver does. Those may be missing and
may not be offered as device extensions (the loader adds some instance extensions by itself). Memory types that
the CPU does not cache are not host-visible where there are cached ones (docs/memory.md). Semaphores of no handle type can be
exported. With --newer
the driver may know more than the registry: then extensions that only the driver has are left out, too, and
the API version.
"""

import argparse
import difflib
import re
import sys
import tomllib
from pathlib import Path


def extensions_of_side(policy: Path, side: str) -> set[str]:
    rows = tomllib.loads(policy.read_text())["extension"]
    return {name for row in rows if row.get("side") == side for name in row.get("names") or [row["name"]]}


def extension_of(line: str) -> str | None:
    words = line.split()
    return words[1] if len(words) == 3 and words[0] == "extension" else None


def offered_though_refused(lines: list[str], refused: set[str]) -> list[str]:
    heading = ""
    found = []
    for line in lines:
        if not line.startswith(" "):
            heading = line
        elif heading == "device extensions:" and extension_of(line) in refused:
            found.append(line.split()[1])
    return found


VISIBLE, COHERENT, CACHED = 2, 4, 8
MEMORY_TYPE = re.compile(r"(  type \d+ = flags )(0x[0-9a-f]+)( heap \d+)")


def without_uncached_types(lines: list[str]) -> list[str]:
    """What server/memory/memory_types.cpp makes of the driver's memory types."""
    mapped = VISIBLE | COHERENT
    flags = [int(found[2], 16) for found in map(MEMORY_TYPE.fullmatch, lines) if found]
    if not any(each & (mapped | CACHED) == mapped | CACHED for each in flags):
        return lines

    def told(found: re.Match[str]) -> str:
        each = int(found[2], 16)
        return f"{found[1]}{hex(each if each & CACHED else each & ~mapped)}{found[3]}"

    return [MEMORY_TYPE.sub(told, line) for line in lines]


EXTERNAL = re.compile(r"(  semaphore 0x[0-9a-f]+ = )0x[0-9a-f]+")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", type=Path, required=True)
    parser.add_argument("--newer", action="store_true", help="the driver is newer than the registry")
    parser.add_argument("local", type=Path)
    parser.add_argument("remote", type=Path)
    arguments = parser.parse_args()
    refused = extensions_of_side(arguments.policy, "refused")
    local = without_uncached_types(arguments.local.read_text().splitlines())
    local = [EXTERNAL.sub(r"\g<1>0x0", line) for line in local]
    remote = arguments.remote.read_text().splitlines()
    own = extensions_of_side(arguments.policy, "local") - {extension_of(line) for line in local}
    remote = [line for line in remote if extension_of(line) not in own]
    if arguments.newer:
        offered = {extension_of(line) for line in remote}
        newer = {extension_of(line) for line in local} - offered - refused
        print(f"{len(newer)} extensions only on the driver: {' '.join(sorted(filter(None, newer)))}")
        local = [line for line in local if extension_of(line) not in newer and "apiVersion = " not in line]
        remote = [line for line in remote if "apiVersion = " not in line]
    wrong = offered_though_refused(remote, refused)
    for name in wrong:
        print(f"{name} is refused by the policy but offered")
    difference = list(
        difflib.unified_diff(
            [line for line in local if extension_of(line) not in refused],
            [line for line in remote if extension_of(line) not in refused],
            "local",
            "remote",
            n=0,
            lineterm="",
        )
    )
    print("\n".join(difference[:200]))
    if wrong or difference:
        return 1
    hidden = [line.split()[1] for line in local if extension_of(line) in refused]
    print(
        f"{len(local)} lines compared; {len(hidden)} extensions hidden by policy: {' '.join(hidden)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
