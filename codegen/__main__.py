"""Command line: ``python3 -m codegen generate|check|explain [--path] NAME|coverage …``."""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
from pathlib import Path

from codegen.analysis import Analysis
from codegen.checked import Checked
from codegen.errors import InputError, Place
from codegen.explain import Coverage, Explainer
from codegen.lowering import Lowering
from codegen.model import Model, build_model
from codegen.mutants import sample
from codegen.places import Sources
from codegen.plan import Plan
from codegen.policy import Policy, load_policy
from codegen.registry import read_registry
from codegen.render import ROOT, Renderer, orphans, write

SYSTEM_REGISTRY = Path("/usr/share/vulkan/registry")


def default_registry() -> Path:
    """That of the headers which the build prefers, if scripts/vulkan-headers has got them, else the system's."""
    command = [str(ROOT / "scripts" / "vulkan-headers"), "--where"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(found.stdout.strip()) / "share/vulkan/registry" if found.returncode == 0 else SYSTEM_REGISTRY


def load(registry: Path, policy_path: Path, strict: bool) -> tuple[Model, Policy, Plan]:
    """Everything up to the plan. With ``strict`` whatever is unclassified fails."""
    vk_xml, video_xml = registry / "vk.xml", registry / "video.xml"
    if not vk_xml.exists():
        message = "not found: install vulkan-headers or name the folder with --registry"
        raise InputError(Place(str(vk_xml), 0), message)
    model = build_model(read_registry(vk_xml, video_xml if video_xml.exists() else None))
    policy = load_policy(policy_path, model)
    strict = strict or model.header_version == manifest_version(ROOT / "generated")
    plan = Lowering(Analysis(model, policy)).run(strict)
    renderer = Renderer(model, policy, plan)
    if strict:
        renderer.files()  # asks for every row that can have an effect
        policy.check_used()
    return model, policy, plan


def manifest_version(output: Path) -> int:
    """The header version that ``output`` was generated from, 0 when there is none."""
    manifest = output / "MANIFEST"
    if not manifest.exists():
        return 0
    words = [line.split() for line in manifest.read_text().splitlines()]
    return next((int(w[1]) for w in words if w and w[0] == "header_version"), 0)


def check(renderer: Renderer, output: Path) -> int:
    """Compares a fresh rendering with ``output``, both ways; prints the differences."""
    files = renderer.files()
    problems = 0
    for file in files:
        path = output / file.path
        old = path.read_text() if path.exists() else ""
        if old != file.text:
            problems += 1
            both = old.splitlines(), file.text.splitlines()
            lines = difflib.unified_diff(*both, str(path), "generated", lineterm="")
            print("\n".join(list(lines)[:20]))
    for orphan in orphans({f.path for f in files}, output):
        problems += 1
        print(f"{orphan}: no template makes this file")
    if problems:
        print(f"{problems} files differ; run: python3 -m codegen generate")
    return 1 if problems else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m codegen", description="Vesper's generator: see docs/codegen.md"
    )
    parser.add_argument("action", choices=("generate", "check", "explain", "coverage"))
    parser.add_argument("name", nargs="?", default="", help="explain: a command or struct")
    parser.add_argument("--strict", action="store_true", help="fail where anything is unclassified")
    parser.add_argument(
        "--registry",
        type=Path,
        help="folder of vk.xml and video.xml (that of scripts/vulkan-headers, else the system's)",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "generated")
    parser.add_argument("--policy", type=Path, default=ROOT / "codegen" / "policy")
    parser.add_argument(
        "--executed", type=Path, help="coverage: names of commands that tests executed, one a line"
    )
    parser.add_argument("--path", action="store_true", help="explain: the command's way through the tree")
    parser.add_argument("--extensions", action="store_true", help="coverage: the table of extensions instead")
    parser.add_argument("--checks", action="store_true", help="coverage: what is checked of each command instead")
    parser.add_argument("--venus", action="store_true", help="coverage: what of Mesa's protocol is served instead")
    parser.add_argument(
        "--mutants",
        metavar="SEED:COUNT",
        default="0:0",
        help="generate faulty codecs too, for the tests to find",
    )
    return parser.parse_intermixed_args()


def run(arguments: argparse.Namespace) -> int:
    """Does what the command line asks for; raises InputError."""
    model, policy, plan = load(arguments.registry or default_registry(), arguments.policy, arguments.strict)
    if arguments.action == "explain":
        explainer = Explainer(model, policy, plan, Sources(ROOT, arguments.output))
        print((explainer.path if arguments.path else explainer.explain)(arguments.name))
        return 0
    if arguments.action == "coverage":
        if arguments.checks:
            print(Checked(model, policy, plan).table())
            return 0
        executed = arguments.executed.read_text().split() if arguments.executed else ()
        table = Coverage(model, policy, plan, executed)
        print(table.extensions() if arguments.extensions else table.venus() if arguments.venus else table.coverage())
        return 0
    seed, count = (int(number) for number in arguments.mutants.split(":"))
    if count and arguments.output == ROOT / "generated":
        raise InputError(Place("--mutants", 0), "faulty codecs need an --output of their own")
    renderer = Renderer(model, policy, plan, sample(plan, seed, count))
    if arguments.action == "check":
        return check(renderer, arguments.output)
    files = renderer.files()
    changed = write(files, arguments.output)
    print(f"{len(files)} files, {changed} changed, {len(plan.quarantined)} things quarantined")
    return 0


def main() -> int:
    try:
        return run(parse_arguments())
    except InputError as error:
        print(f"codegen: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
