"""How commands and structs lie in the streams of Mesa's Venus protocol, as tables for a walker (server/venus/walker.h).

The streams follow the registry's order of members; what they do not say, how many elements an array must have, comes from
the plan. Numbers and structs that no registry has are policy (policy/venus.toml). What the walker has no rule for (bit-fields,
functions, arrays of arrays) is left out: a struct of chains, or the command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from codegen.model import Command, Kind, Member, Model, Struct
from codegen.plan import Field, Plan
from codegen.policy import Policy


class NoRule(Exception):
    """The walker could not read such a member."""


@dataclass(frozen=True)
class VenusTable:
    """A struct, or the arguments of a command: its members as C++ initialisers."""

    name: str
    type: str  # in C++
    s_type: str  # "" without
    is_union: bool
    members: tuple[str, ...]
    tag: int = 0  # of a union, when it is written


@dataclass(frozen=True)
class VenusCommand:
    """A command that has a number and travels."""

    number: int
    name: str
    short: str
    returns: str
    arguments: VenusTable
    destroyed: str  # parameter


@dataclass(frozen=True)
class VenusStruct:
    """One of the protocol's own structs."""

    name: str
    s_type: int
    members: tuple[tuple[str, str], ...]  # type and name


class Venus:
    """The tables of everything that the protocol's commands reach."""

    def __init__(self, model: Model, policy: Policy, plan: Plan) -> None:
        self.model, self.policy, self.plan = model, policy, plan
        self.rules = policy.venus
        self.structs: dict[str, VenusTable] = {}
        self._without: set[str] = set()  # structs that the walker has no rule for
        # every command of the protocol by number, the protocol's own too
        self.numbers: dict[int, str] = dict(enumerate(self.rules.get("numbers", ())))
        self.own = self._own_structs()
        made = [self._command(number, name) for number, name in self.numbers.items()]
        self.commands = [command for command in made if command]

    # --- what policy says ------------------------------------------------------------------------------------

    @property
    def own_commands(self) -> list[tuple[int, str]]:
        """Those that are the protocol's alone."""
        return [(number, name) for number, name in self.numbers.items() if name.endswith("MESA")]

    @property
    def extensions(self) -> list[int]:
        """The numbers of extensions whose structs and commands are understood."""
        return sorted(p.number for p in self.model.providers if p.number and not p.platform)

    def mask(self, word: int) -> int:
        """32 bits of the mask of extensions; bit 0 of all says that it is one."""
        return sum(1 << n % 32 for n in [0, *self.extensions] if n // 32 == word)

    @property
    def by_number(self) -> list[tuple[int, VenusCommand | None]]:
        """All numbers, with what has a table."""
        made = {c.number: c for c in self.commands}
        return [(number, made.get(number)) for number in self.numbers]

    def _own_structs(self) -> list[VenusStruct]:
        first = int(self.rules.get("first_struct", 0))
        made = []
        for index, (name, members) in enumerate(self.rules.get("structs", {}).items()):
            split = tuple((m.split()[0], m.split()[1]) for m in members)
            made.append(VenusStruct(name, first + index, split))
        return made

    # --- commands and structs --------------------------------------------------------------------------------

    def _command(self, number: int, name: str) -> VenusCommand | None:
        planned = self.plan.commands.get(self.model.canonical(name))
        if planned is None or not planned.on_wire:
            return None
        command = self.model.commands[planned.name]
        fields = {f.name: f for f in planned.fields}
        owner = f"wire::{planned.short}Args"
        try:
            members = tuple(self._member(command, p, fields.get(p.name)) for p in command.params)
        except NoRule:
            return None
        table = VenusTable(planned.name, owner, "", False, members)
        return VenusCommand(number, planned.name, planned.short, planned.returns, table, planned.destroyed)

    def _reach(self, name: str) -> None:
        """Makes the table of a struct, of all that it holds, and of what may stand in its chain."""
        if name in self._without or (
            self.model.structs[name].is_union and name not in self.rules.get("unions", {})
        ):
            raise NoRule(name)
        if name in self.structs:
            return
        struct = self.model.structs[name]
        planned = self.plan.structs.get((name, "in")) or self.plan.structs.get((name, "out"))
        fields = {f.name: f for f in planned.fields} if planned else {}
        tag = int(self.rules.get("unions", {}).get(name, 0))
        s_type = struct.s_type
        self.structs[name] = VenusTable(name, name, s_type, struct.is_union, (), tag)
        try:
            members = tuple(
                self._member(struct, m, fields.get(m.name)) for m in struct.members if m.name != "sType"
            )
        except NoRule:
            del self.structs[name]
            self._without.add(name)
            raise
        self.structs[name] = VenusTable(name, name, s_type, struct.is_union, members, tag)
        for extender in self.model.structs.values():
            planned_at_all = {(extender.name, "in"), (extender.name, "out")} & self.plan.structs.keys()
            if name in extender.extends and extender.s_type and planned_at_all:
                try:
                    self._reach(extender.name)
                except NoRule:
                    continue

    # --- one member ------------------------------------------------------------------------------------------

    def _member(self, owner: Struct | Command, member: Member, planned: Field | None) -> str:
        what = self._what(member)
        if what in ("kChain", "kAbsent"):
            return f"VESPER_VENUS({member.name}), .what = What::{what}"
        if member.bits or member.object_type or (member.pointers > 1 and what != "kStrings"):
            raise NoRule(member.name)
        made = [f"VESPER_VENUS({member.name})", f".what = What::{what}"]
        if what == "kPlain":
            made.append(f".size = {'1' if member.kind is Kind.VOID else f'sizeof({member.type})'}")
        if what == "kStruct":
            self._reach(member.type)
            made.append(f".type = &k{member.type}")
        if what == "kHandle":
            made.append(f".handle = HandleType::k{self.model.handles[member.type].short}")
        if member.extent:
            made.append(f".extent = {member.extent}")
        if member.pointers and what != "kString":
            made += self._pointed(owner, member, planned, what)
        if member.pointers and not member.const:
            made.append(".output = true")
        others = owner.params if isinstance(owner, Command) else owner.members
        if any(m.pointers and m.length[:1] == (member.name,) for m in others):
            made.append(".counts = true")
        return ", ".join(made)

    def _what(self, member: Member) -> str:
        if member.name == "pNext":
            return "kChain"
        if member.type == self.policy.rules["allocator"]:
            return "kAbsent"
        if member.is_string:
            return "kString" if member.pointers == 1 else "kStrings"
        if member.kind is Kind.HANDLE:
            return "kHandle"
        if member.kind in (Kind.STRUCT, Kind.UNION):
            return "kStruct"
        if member.kind is Kind.SCALAR or (member.kind is Kind.VOID and member.pointers):
            return "kPlain"
        raise NoRule(member.name)

    def _pointed(
        self, owner: Struct | Command, member: Member, planned: Field | None, what: str
    ) -> list[str]:
        """How many there are behind a pointer."""
        if planned is None or planned.op in ("none", "opaque") or not planned.count:
            raise NoRule(member.name)
        made = [".pointer = true"]
        if member.stride:
            made.append(f".stride = offsetof(S, {member.stride}), .unit = sizeof({member.type})")
        elif what == "kStruct":
            made.append(f".unit = sizeof({member.type})")
        if not member.length and planned.count == "1":
            return made
        made.append(".array = true")
        plain = re.fullmatch(r"v\.(\w+)", planned.count)
        others = owner.params if isinstance(owner, Command) else owner.members
        count = next((m for m in others if plain and m.name == plain.group(1)), None)
        if count and not count.pointers and count.kind is Kind.SCALAR:
            if self.model.scalars[count.type].size == 4:
                return [*made, f".count = offsetof(S, {count.name})"]
        return [*made, f".length = Length<S, [](const S& v) {{ return {planned.count}; }}>"]
