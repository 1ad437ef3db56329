"""What people ask of the generator: how one name travels, and what is covered."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

from codegen.model import Model
from codegen.plan import CommandPlan, Field, Plan
from codegen.policy import Policy
from codegen.render import Renderer


def _describe(field: Field) -> str:
    parts = [f"{field.direction:6} {field.op}"]
    for part in fields(field):
        value = getattr(field, part.name)
        if part.name not in ("name", "op", "direction") and value not in ("", 0, -1, False, "none", ()):
            parts.append(f"{part.name}={value}")
    return f"    {field.name}: {' '.join(parts)}"


def explain(name: str, model: Model, policy: Policy, plan: Plan) -> str:
    """Policy, plan and places of a command or struct."""
    name = model.canonical(name)
    lines: list[str] = []
    if name in plan.commands:
        command = plan.commands[name]
        lines += [f"{name} ({command.place}): {command.status}, {command.mode}" + (f" {command.reason}" if command.reason else "")]
        if command.ask_if:
            lines.append(f"    waits if {command.ask_if}")
        lines += [_describe(f) for f in command.fields]
        row = policy.rows["command"].get((name,))
        if row:
            lines.append(f"    policy {row.place}: {row.values}")
        lines += [f"    generated/{side}/{command.family}.cpp" for side in ("client", "wire", "server") if command.on_wire]
        if command.client_override:
            lines.append(f"    client/overrides/{command.family}.cpp")
        if command.server_override:
            lines.append(f"    server/overrides/{command.family}.cpp")
    for (struct, role), made in plan.structs.items():
        if struct == name:
            lines.append(f"{name} as {role} ({made.place}), chain of {len(made.chain)}")
            lines += [_describe(f) for f in made.fields]
            lines.append(f"    generated/wire/{made.family}_structs.cpp")
    if name in plan.flats:
        lines.append(f"{name}: {plan.flats[name].size} bytes{', copied' if plan.flats[name].copy else ''}")
        lines += [_describe(f) for f in plan.flats[name].fields]
    return "\n".join(lines) or f"{name}: neither a command nor a struct that travels"


def coverage(model: Model, policy: Policy, plan: Plan, renderer: Renderer) -> str:
    """The table of what is covered, local, refused or quarantined, in Markdown."""
    commands = list(plan.commands.values())
    counts = Counter(c.status for c in commands)
    # A beta extension counts as a platform's, as in the registry's own statistics.
    done = counts["covered"] + counts["local"]
    lines = [
        f"Registry {model.header_version}: {len(commands)} commands outside platform extensions, "
        f"{100 * done / len(commands):.1f} % covered or local.",
        "",
        "| | covered | local | refused | quarantined |",
        "|---|---|---|---|---|",
        f"| commands | {counts['covered']} | {counts['local']} | {counts['refused']} | {counts['quarantined']} |",
        _struct_row(model, policy, plan),
        f"| handle types | {len(model.handles)} | 0 | 0 | 0 |",
        _extension_row(renderer),
        "",
        "| not covered | status | reason |",
        "|---|---|---|",
    ]
    for command in commands:
        if command.status != "covered":
            lines.append(f"| {command.name} | {command.status} | {_cell(command)} |")
    for name, error in plan.quarantined.items():
        if name not in plan.commands:
            lines.append(f"| {name} | quarantined | {error.message} |")
    lines += ["", "| extension not offered by the server | side | reason |", "|---|---|---|"]
    for row in renderer.extensions():
        if row["side"] != "kRemote" and not str(row["why"]).startswith('"belongs to the platform'):
            lines.append(f"| {row['name']} | {str(row['side'])[1:].lower()} | {str(row['why']).strip(chr(34))} |")
    return "\n".join(lines)


def _cell(command: CommandPlan) -> str:
    return command.reason.replace("|", "/")


def _struct_row(model: Model, policy: Policy, plan: Plan) -> str:
    travelling = {name for name, _ in plan.structs} | set(plan.flats)
    local = [n for (n,), row in policy.rows["struct"].items() if n in model.structs]
    quarantined = [n for n in plan.quarantined if n in model.structs]
    return f"| structs | {len(travelling)} | {len(local)} | 0 | {len(quarantined)} |"


def _extension_row(renderer: Renderer) -> str:
    sides = Counter(str(r["side"]) for r in renderer.extensions())
    return f"| extensions | {sides['kRemote']} | {sides['kLocal']} | {sides['kRefused']} | 0 |"
