"""What follows from model and policy before anything is lowered: sizes, layouts, directions, who ends which object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from codegen.model import Command, Kind, Member, Model, Struct
from codegen.policy import Policy


@dataclass(frozen=True)
class Flat:
    """A struct that travels in a fixed number of bytes; ``copy`` when those are its bytes in C."""

    size: int
    align: int
    copy: bool


def members_of(owner: Struct | Command) -> tuple[Member, ...]:
    """Members of a struct, parameters of a command."""
    return owner.members if isinstance(owner, Struct) else owner.params


class Analysis:
    """Facts about structs and commands; pure functions of model and policy, remembered."""

    def __init__(self, model: Model, policy: Policy) -> None:
        self.model = model
        self.policy = policy
        self._flat: dict[str, Flat | None] = {}

    # --- values ------------------------------------------------------------------------------------------------

    @cached_property
    def renamed(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Enums of which values travel as others: by type, each value and what it becomes in requests."""
        found: dict[str, tuple[tuple[str, str], ...]] = {}
        for (name,), row in self.policy.rows["value"].items():
            for group, names in self.model.enum_groups.items():
                if name in names:
                    row.used = True
                    found[group] = (*found.get(group, ()), (name, str(row.get("travels_as"))))
        return found

    # --- layout ----------------------------------------------------------------------------------------------

    def raw_union(self, struct: Struct) -> bool:
        row = self.policy.row("union", struct.name) if struct.is_union else None
        return row is not None and row.get("as") == "raw"

    def flat(self, name: str) -> Flat | None:
        """The fixed form of a struct or raw union, or None where it holds pointers or a chain."""
        if name not in self._flat:
            self._flat[name] = None  # a struct that contains itself is not flat
            self._flat[name] = self._measure(self.model.structs[name])
        return self._flat[name]

    def _measure(self, struct: Struct) -> Flat | None:
        if struct.is_union and not self.raw_union(struct):
            return None
        size, offset, align, copy, bits = 0, 0, 1, True, 0
        for member in struct.members:
            part = self._measure_member(struct, member)
            if part is None:
                return None
            if member.bits:
                copy = False
                bits += member.bits
                continue
            whole = part.size * (member.extent or 1)
            align = max(align, part.align)
            if struct.is_union:
                size = max(size, whole)
                continue
            offset = (offset + part.align - 1) // part.align * part.align
            copy = copy and part.copy and offset == size
            offset += whole
            size += whole
        size += (bits + 31) // 32 * 4
        padded = (size + align - 1) // align * align
        if struct.is_union:
            return Flat(padded, align, True)
        return Flat(size, align, copy and padded == size)

    def _measure_member(self, struct: Struct, member: Member) -> Flat | None:
        if struct.is_union and member.kind is Kind.VOID and member.pointers == 1:
            return Flat(8, 8, True)  # an address, which policy calls raw
        if member.pointers:
            return None
        if member.kind is Kind.SCALAR:
            scalar = self.model.scalars[member.type]
            same = scalar.portable and not member.object_type and member.type not in self.renamed
            return Flat(scalar.size, scalar.size, same)
        if member.kind is Kind.HANDLE:
            return Flat(8, 8, False)
        if member.kind in (Kind.STRUCT, Kind.UNION):
            return self.flat(member.type)
        return None

    # --- structs and members ---------------------------------------------------------------------------------

    def on_wire(self, name: str) -> bool:
        """False for structs that policy keeps on one side."""
        row = self.policy.row("struct", name)
        return row is None or row.get("wire", True) is not False

    @cached_property
    def extenders(self) -> dict[str, list[str]]:
        """For each struct the structs that may stand in its pNext chain, in the registry's order."""
        found: dict[str, list[str]] = {}
        for struct in self.model.structs.values():
            for base in struct.extends:
                if struct.s_type and self.on_wire(struct.name):
                    found.setdefault(base, []).append(struct.name)
        return found

    def direction(self, owner: Struct | Command, member: Member, role: str) -> str:
        """in, out or inout; ``role`` is that of a struct: who fills it."""
        row = self.policy.row("member", owner.name, member.name)
        if row and row.get("direction"):
            return str(row.get("direction"))
        if member.pointers and member.const:
            return "in"
        if member.pointers == 0 and role == "in":
            return "in"
        return "inout" if member.name in self._counts_of_outputs(owner, role) else "out"

    def _counts_of_outputs(self, owner: Struct | Command, role: str) -> set[str]:
        """Names of members that bound an output array and are overwritten with what was written."""
        if isinstance(owner, Struct) and role == "in":
            return set()
        members = members_of(owner)
        names = {m.length[0] for m in members if m.length and m.pointers == 1 and not m.const}
        pointers = 1 if isinstance(owner, Command) else 0
        return {m.name for m in members if m.name in names and m.pointers == pointers}

    @cached_property
    def echoing(self) -> set[str]:
        """Structs filled by the application that hold outputs, themselves or in what they point to."""
        candidates = [
            s
            for s in self.model.structs.values()
            if s.name != self.policy.rules["allocator"] and self.on_wire(s.name)
        ]
        waiting = [s for s in candidates if not self.flat(s.name)]
        found: set[str] = set()
        while True:
            more = {s.name for s in waiting if s.name not in found and self._echoes(s, found)}
            if not more:
                return found
            found |= more

    def _echoes(self, struct: Struct, found: set[str]) -> bool:
        for member in struct.members:
            row = self.policy.row("member", struct.name, member.name)
            if member.type == self.policy.rules["allocator"] or (
                row and (row.get("local") or row.get("opaque"))
            ):
                continue
            is_chain = member.name == "pNext"
            if member.pointers and not is_chain and self.direction(struct, member, "in") == "out":
                return True
            if member.type in found:
                return True
        return any(e in found for e in self.extenders.get(struct.name, ()))

    # --- commands --------------------------------------------------------------------------------------------

    def destroyed(self, command: Command) -> Member | None:
        """The parameter whose object the command ends."""
        if not command.name.startswith(tuple(self.policy.rules["destroy_prefixes"])):
            return None
        handles = [p for p in command.params if p.kind is Kind.HANDLE]
        return handles[-1] if handles else None
