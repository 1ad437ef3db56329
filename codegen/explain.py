"""What people ask of the generator: how one name travels, and what is covered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields

from codegen.model import Model
from codegen.offers import Offers
from codegen.places import Sources, Stop, codecs, own, way
from codegen.plan import CommandPlan, Field, Plan
from codegen.policy import Policy
from codegen.venus import Venus


def _describe(field: Field) -> str:
    parts = [f"{field.direction:6} {field.op}"]
    for part in fields(field):
        value = getattr(field, part.name)
        if part.name not in ("name", "op", "direction") and value not in ("", 0, -1, False, "none", ()):
            parts.append(f"{part.name}={value}")
    return f"    {field.name}: {' '.join(parts)}"


class Explainer:
    """Policy, plan and places of one name."""

    def __init__(self, model: Model, policy: Policy, plan: Plan, sources: Sources) -> None:
        self.model, self.policy, self.plan, self.sources = model, policy, plan, sources
        self.offers = Offers(model, policy, plan)

    def explain(self, name: str) -> str:
        """What the generator knows of a command or struct."""
        name, plan = self.model.canonical(name), self.plan
        lines: list[str] = []
        command = plan.commands.get(name) or plan.platform_commands.get(name)
        if command:
            lines += self._command(command)
        for (struct, role), made in plan.structs.items():
            if struct == name:
                lines.append(f"{name} as {role} ({made.place}), chain of {len(made.chain)}")
                lines += [_describe(f) for f in made.fields]
                lines += [f"    {self._place(stop)}" for stop in codecs(made)]
        if name in plan.flats:
            lines.append(f"{name}: {plan.flats[name].size} bytes{', copied' if plan.flats[name].copy else ''}")
            lines += [_describe(f) for f in plan.flats[name].fields]
        if name in plan.quarantined and not command:
            lines.append(f"{name}: quarantined: {plan.quarantined[name]}")
        return "\n".join(lines) or f"{name}: neither a command nor a struct that travels"

    def path(self, name: str) -> str:
        """The way of a command, from the application's call to its return, as one reads it."""
        name = self.model.canonical(name)
        command = self.plan.commands.get(name) or self.plan.platform_commands.get(name)
        if not command:
            return f"{name}: no command"
        lines = [f"{name}: {command.status}"]
        lines += [f"  {stop.step:9} {self._place(stop)}" for stop in self.way(command)]
        return "\n".join(lines)

    def way(self, command: CommandPlan) -> list[Stop]:
        return way(command, self.offers.has_entry(command), self.sources)

    def _place(self, stop: Stop) -> str:
        line = self.sources.line(stop)
        return f"{stop.file}:{line} {stop.function}" if line else f"{stop.file} {stop.function} (not there)"

    def _command(self, command: CommandPlan) -> list[str]:
        """Its plan, then every place that is its own; what all commands pass is a matter of path()."""
        lines = [f"{command.name} ({command.place}): {command.status}, {command.mode} {command.reason}".rstrip()]
        if command.ask_if:
            lines.append(f"    waits if {command.ask_if}")
        lines += [_describe(f) for f in command.fields]
        for table in ("command", "way"):
            row = self.policy.rows[table].get((command.name,))
            if row:
                lines.append(f"    policy {row.place}: {row.values}")
        places = own(command, self.offers.has_entry(command), self.sources)
        lines += [f"    {self._place(stop)}" for stop in places]
        lines += [f"    {file}:{line} names it" for file, line in self.sources.mentions(command)]
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
        rows = self.policy.rows["struct"].items()
        local = [n for (n,), row in rows if n in self.model.structs and not row.get("known_chain")]
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
        lines += ["", "## Commands refused", "", "Also where their extension is offered.", ""]
        lines += ["| command | reason |", "|---|---|"]
        lines += [f"| {c.name} | {_cell(c.reason)} |" for c in self.plan.commands.values() if c.status == "refused"]
        return "\n".join(lines)

    def venus(self) -> str:
        """What of Mesa's protocol is served."""
        venus = Venus(self.model, self.policy, self.plan)
        served = {c.number for c in venus.commands}
        own = {number for number, _ in venus.own_commands}
        others = [(n, name) for n, name in venus.numbers.items() if name and n not in served | own]
        known = {self.model.canonical(name) for _, name in others}
        lines = [
            "# What of the Venus protocol is served",
            "",
            f"Registry {self.model.header_version}: {len(served)} commands of the registry and {len(venus.structs)} "
            f"structs, {len(venus.extensions)} extensions that the driver may speak of. Made by "
            "`python3 -m codegen coverage --venus`.",
            "",
            "## Not served",
            "",
            "| number | command | |",
            "|---|---|---|",
        ]
        for number, name in others:
            planned = self.plan.commands.get(self.model.canonical(name))
            why = planned.reason if planned and planned.reason else "not in this registry"
            lines.append(f"| {number} | {name} | {_cell(why)} |")
        lines += ["", "## Commands by family", "", "| family | commands |", "|---|---|"]
        by_family: dict[str, list[str]] = {}
        for command in venus.commands:
            by_family.setdefault(self.policy.family(command.name), []).append(command.short)
        lines += [f"| {family} | {' '.join(sorted(by_family[family]))} |" for family in sorted(by_family)]
        by_extension = [
            (p.name, sum(self.model.canonical(c) in {v.name for v in venus.commands} for c in p.commands))
            for p in self.model.providers
            if p.number in venus.extensions and p.commands and not {self.model.canonical(c) for c in p.commands} & known
        ]
        named = [f"{name} ({count})" for name, count in sorted(by_extension) if count]
        lines += ["", "## Extensions whose commands are served", "", ", ".join(named) + "."]
        return "\n".join(lines)


def _row(title: str, counts: Counter[str]) -> str:
    kinds = ("covered", "local", "refused", "quarantined")
    return f"| {title} | {' | '.join(str(counts[k]) for k in kinds)} |"


def _cell(text: str) -> str:
    return text.replace("|", "/")
