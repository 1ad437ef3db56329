"""What people ask of the generator: how one name travels, and what is covered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields

from codegen.model import Model
from codegen.offers import Offers
from codegen.plan import CommandPlan, Field, Plan
from codegen.policy import Policy


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
        lines += _explain_command(plan.commands[name], policy)
    for (struct, role), made in plan.structs.items():
        if struct == name:
            lines.append(f"{name} as {role} ({made.place}), chain of {len(made.chain)}")
            lines += [_describe(f) for f in made.fields]
            lines.append(f"    generated/wire/{made.family}_structs.cpp")
    if name in plan.flats:
        lines.append(f"{name}: {plan.flats[name].size} bytes{', copied' if plan.flats[name].copy else ''}")
        lines += [_describe(f) for f in plan.flats[name].fields]
    if name in plan.quarantined and name not in plan.commands:
        lines.append(f"{name}: quarantined: {plan.quarantined[name]}")
    return "\n".join(lines) or f"{name}: neither a command nor a struct that travels"


def _explain_command(command: CommandPlan, policy: Policy) -> list[str]:
    lines = [f"{command.name} ({command.place}): {command.status}, {command.mode} {command.reason}".rstrip()]
    if command.ask_if:
        lines.append(f"    waits if {command.ask_if}")
    lines += [_describe(f) for f in command.fields]
    row = policy.rows["command"].get((command.name,))
    if row:
        lines.append(f"    policy {row.place}: {row.values}")
    if command.on_wire:
        lines += [f"    generated/{side}/{command.family}.cpp" for side in ("client", "wire", "server")]
    if command.client_override:
        lines.append(f"    client/overrides/{command.family}.cpp")
    if command.server_override:
        lines.append(f"    server/overrides/{command.family}.cpp")
    return lines


class Coverage:
    """The tables of docs/coverage.md and docs/extensions.md, in Markdown."""

    def __init__(self, model: Model, policy: Policy, plan: Plan, executed: Iterable[str] = ()) -> None:
        self.model, self.policy, self.plan = model, policy, plan
        self.offers = Offers(model, policy, plan)
        self.executed = {model.canonical(name) for name in executed} & set(plan.commands)

    def coverage(self) -> str:
        """What is covered, local, refused or quarantined, and why; what was executed."""
        commands = list(self.plan.commands.values())
        beta = {self.model.canonical(n) for p in self.model.providers if p.is_beta for n in p.commands}
        stable = [c for c in commands if c.name not in beta]
        done = sum(c.status in ("covered", "local") for c in stable)
        lines = [
            "# What travels",
            "",
            f"Registry {self.model.header_version}: {len(stable)} commands outside platform and beta extensions, "
            f"{100 * done / len(stable):.1f} % of them covered or local. "
            f"{len(self.policy.absent)} policy rows name what this registry lacks.",
            "",
            "*Covered*: codecs, dispatch and a round-trip test are generated. *Local*: the client answers. "
            "*Refused*: neither, by policy. *Quarantined*: neither registry nor policy say how; nothing that travels "
            "refers to it.",
            "",
            "| | covered | local | refused | quarantined |",
            "|---|---|---|---|---|",
            _row("commands", Counter(c.status for c in commands)),
            _row("structs", self._structs()),
            _row("handle types", Counter(covered=len(self.model.handles))),
            _row("extensions", self._extensions()),
            "",
            *self._not_covered(commands),
            *self._executed(commands),
        ]
        return "\n".join(lines)

    def _structs(self) -> Counter[str]:
        local = [n for (n,), row in self.policy.rows["struct"].items() if n in self.model.structs]
        return Counter(
            covered=len({name for name, _ in self.plan.structs} | set(self.plan.flats)),
            local=len(local),
            quarantined=len([n for n in self.plan.quarantined if n in self.model.structs]),
        )

    def _extensions(self) -> Counter[str]:
        """A remote extension is covered; one that is hidden because of a quarantine counts there."""
        return Counter(
            "covered" if e.side == "remote" else "quarantined" if e.cause == "quarantine" else e.side
            for e in self.offers.extensions
        )

    def _not_covered(self, commands: list[CommandPlan]) -> list[str]:
        lines = ["## Not covered", "", "| name | status | reason |", "|---|---|---|"]
        for command in commands:
            if command.status != "covered":
                lines.append(f"| {command.name} | {command.status} | {_cell(command.reason)} |")
        for name, error in self.plan.quarantined.items():
            if name not in self.plan.commands:
                lines.append(f"| {name} | quarantined | {_cell(str(error))} |")
        return [*lines, ""]

    def _executed(self, commands: list[CommandPlan]) -> list[str]:
        """Commands that the test-suite has executed on a driver, by family."""
        if not self.executed:
            return []
        lines = ["## Executed on a driver by the tests", ""]
        lines += [f"{len(self.executed)} commands (`scripts/coverage`).", ""]
        lines += ["| family | executed | of | not executed |", "|---|---|---|---|"]
        for family in sorted({c.family for c in commands}):
            own = [c for c in commands if c.family == family and c.status in ("covered", "local")]
            missing = [c.name for c in own if c.name not in self.executed]
            lines.append(f"| {family} | {len(own) - len(missing)} | {len(own)} | {' '.join(missing)} |")
        return [*lines, ""]

    def extensions(self) -> str:
        """Extensions that the server's driver may have and that are not passed on as they are."""
        lines = [
            "# Extensions that are not simply the driver's",
            "",
            "Every other extension of the registry is offered when the server's driver offers it. *Local*: the client "
            "does what it asks for. *Refused*: hidden. Made by `python3 -m codegen coverage --extensions`.",
            "",
            "| extension | side | reason |",
            "|---|---|---|",
        ]
        platforms = []
        for each in self.offers.extensions:
            if each.cause == "platform":
                platforms.append(each.name)
            elif each.side != "remote":
                lines.append(f"| {each.name} | {each.side} | {_cell(each.why)} |")
        lines += ["", "Of other operating systems and window systems, refused: " + ", ".join(platforms) + "."]
        return "\n".join(lines)


def _row(title: str, counts: Counter[str]) -> str:
    kinds = ("covered", "local", "refused", "quarantined")
    return f"| {title} | {' | '.join(str(counts[k]) for k in kinds)} |"


def _cell(text: str) -> str:
    return text.replace("|", "/")
