"""Command line: ``python3 -m codegen generate|check|explain NAME|coverage [--strict] [--registry DIR] [--output DIR]``."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from codegen import explain
from codegen.analysis import Analysis
from codegen.errors import InputError, Place
from codegen.model import Model, build_model
from codegen.plan import Lowering, Plan
from codegen.policy import Policy, load_policy
from codegen.registry import read_registry
from codegen.render import ROOT, Renderer, differences_orphans, write

DEFAULT_REGISTRY = Path("/usr/share/vulkan/registry")


def load(registry: Path, policy_path: Path, strict: bool) -> tuple[Model, Policy, Plan]:
    """Everything up to the plan. With ``strict`` whatever is unclassified fails."""
    vk_xml, video_xml = registry / "vk.xml", registry / "video.xml"
    if not vk_xml.exists():
        raise InputError(Place(str(vk_xml), 0), "not found: install vulkan-headers or name the folder with --registry")
    model = build_model(read_registry(vk_xml, video_xml if video_xml.exists() else None))
    policy = load_policy(policy_path, model)
    plan = Lowering(Analysis(model, policy)).run(strict)
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
            lines = difflib.unified_diff(old.splitlines(), file.text.splitlines(), str(path), "generated", lineterm="")
            print("\n".join(list(lines)[:20]))
    for orphan in differences_orphans({f.path for f in files}, output):
        problems += 1
        print(f"{orphan}: no template makes this file")
    if problems:
        print(f"{problems} files differ; run: python3 -m codegen generate")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m codegen", description=__doc__)
    parser.add_argument("action", choices=("generate", "check", "explain", "coverage"))
    parser.add_argument("name", nargs="?", help="explain: a command or struct")
    parser.add_argument("--strict", action="store_true", help="fail where anything is unclassified")
    parser.add_argument("--registry", type=Path, default=DEFAULT_REGISTRY, help="folder of vk.xml and video.xml")
    parser.add_argument("--output", type=Path, default=ROOT / "generated")
    parser.add_argument("--policy", type=Path, default=ROOT / "codegen" / "policy.toml")
    arguments = parser.parse_args()
    try:
        model, policy, plan = load(arguments.registry, arguments.policy, arguments.strict)
        renderer = Renderer(model, policy, plan)
        own = model.header_version == manifest_version(ROOT / "generated")
        if own and plan.quarantined:
            error = next(iter(plan.quarantined.values()))
            raise InputError(error.place, f"{error.message} (add a row to policy.toml)")
        files = renderer.files()
        if own or arguments.strict:
            policy.check_used()
        if arguments.action == "generate":
            changed = write(files, arguments.output)
            print(f"{len(files)} files, {changed} changed, {len(plan.quarantined)} things quarantined")
        elif arguments.action == "check":
            return check(renderer, arguments.output)
        elif arguments.action == "explain":
            print(explain.explain(arguments.name or "", model, policy, plan))
        else:
            print(explain.coverage(model, policy, plan, renderer))
    except InputError as error:
        print(f"codegen: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
