"""What the generated tests know of arguments: tables that say of every member what is valid and who writes it.

Walks the registry model and the rows of the policy, never the plan: a mistake of the lowering step must not be
repeated here, or the tests would agree with it. Hand-written code in tests/wire/ fills, compares and damages arguments
by the tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from codegen.model import Command, Kind, Member, Model, Struct
from codegen.policy import Policy, Scope, condition


@dataclass(frozen=True)
class MemberTable:
    """One member as C++ initialisers, e.g. ``("VESPER_AT(size, uint64_t)", ".scale = 1", …)``."""

    initialisers: tuple[str, ...]

    @property
    def text(self) -> str:
        """The initialisers in braces, in lines of at most 120 columns where they can be broken."""
        lines, line = [], "    {"
        for part in self.initialisers:
            if len(line) + len(part) > 118 and line.strip() != "{":
                lines.append(line.rstrip())
                line = "     "
            line += part + ", "
        return "\n".join([*lines, line.rstrip(", ") + "},"])


@dataclass(frozen=True)
class StructTable:
    """One struct, union, or the arguments of one command."""

    name: str
    symbol: str
    family: str
    type: str  # in C++
    is_union: bool
    s_type: str
    members: tuple[MemberTable, ...]
    extenders: tuple[str, ...]
    surrounds: bool = False  # conditions of what it holds look at it


@dataclass(frozen=True)
class Parameter:
    """How the recording driver takes a parameter."""

    name: str
    declaration: str
    size: str  # of an array parameter, "" for others
    ignored: bool  # the driver is given nullptr


@dataclass(frozen=True)
class CommandTable:
    """One command that travels."""

    name: str
    short: str
    family: str
    returns: str
    codes: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    measured: tuple[str, ...]  # lengths that travel beside the parameters
    arguments: StructTable


class Arguments:
    """The tables of everything that the commands in ``covered`` reach, leaving out what is in ``left_out``."""

    def __init__(self, model: Model, policy: Policy, covered: set[str], left_out: set[str]) -> None:
        self.model, self.policy, self.left_out = model, policy, left_out
        self.structs: dict[str, StructTable] = {}
        self.enums: dict[str, list[int]] = {}
        self._bounding = self._members_that_bound_others()
        self.commands = [self._command(c) for c in model.commands.values() if c.name in covered]

    # --- what travels ------------------------------------------------------------------------------------------

    def _members_that_bound_others(self) -> set[tuple[str, str]]:
        """Members of structs that lengths elsewhere read, e.g. the number of sets in an allocate-info."""
        found: set[tuple[str, str]] = set()
        owners: list[Struct | Command] = [*self.model.commands.values(), *self.model.structs.values()]
        for owner in owners:
            members = owner.params if isinstance(owner, Command) else owner.members
            types = {m.name: m.type for m in members}
            for member in members:
                for text in self._lengths(owner, member):
                    for name, inner in re.findall(r"(\w+)(?:\[i\]\.|->)(\w+)", text):
                        found.add((types[name], inner))
        return found

    def _travels(self, name: str) -> bool:
        row = self.policy.row("struct", name)
        return name not in self.left_out and (row is None or row.get("wire", True) is not False)

    def _surrounds(self, name: str) -> bool:
        row = self.policy.row("struct", name)
        return bool(row and row.get("surrounds"))

    def _is_raw(self, struct: Struct) -> bool:
        row = self.policy.row("union", struct.name) if struct.is_union else None
        return row is not None and row.get("as") == "raw"

    def _reach(self, name: str) -> None:
        if name in self.structs:
            return
        struct = self.model.structs[name]
        extenders = [
            s.name
            for s in self.model.structs.values()
            if name in s.extends and s.s_type and self._travels(s.name)
        ]
        table = StructTable(
            name, f"k{name}", self.policy.family(name), name, struct.is_union, struct.s_type, (), ()
        )
        self.structs[name] = table
        members = tuple(self._member(struct, m) for m in struct.members)
        self.structs[name] = StructTable(
            name, table.symbol, table.family, name, struct.is_union, struct.s_type, members,
            tuple(extenders) if struct.s_type else (), self._surrounds(name),
        )  # fmt: skip
        for extender in extenders:
            self._reach(extender)

    def _command(self, command: Command) -> CommandTable:
        args = f"wire::{command.short}Args"
        family = self.policy.family(command.name)
        members = tuple(self._member(command, p) for p in command.params)
        measured = tuple(
            f"{p.name}_size" for p in command.params if self._lengths(command, p) == [f"v.{p.name}_size"]
        )
        for name in measured:
            members += (MemberTable((f"VESPER_AT({name}, size_t)", ".scale = 1")),)
        outputs = tuple(n for p in command.params for n in p.valid_structs if self._travels(n))
        for name in outputs:
            self._reach(name)
        arguments = StructTable(
            command.name, f"k{command.short}Args", family, args, False, "", members, outputs
        )
        parameters = tuple(
            Parameter(
                p.name, p.declaration, f"sizeof(v.{p.name})" if p.extent else "", self._is_local(command, p)
            )
            for p in command.params
        )
        codes = tuple(c for c in command.success + command.errors if c in self.model.enumerators)
        return CommandTable(
            command.name, command.short, family, command.returns, codes, parameters, measured, arguments
        )

    # --- one member --------------------------------------------------------------------------------------------

    def _is_local(self, owner: Struct | Command, member: Member) -> bool:
        row = self.policy.row("member", owner.name, member.name)
        return member.type == self.policy.rules["allocator"] or bool(row and row.get("local"))

    def _lengths(self, owner: Struct | Command, member: Member) -> list[str]:
        row = self.policy.row("member", owner.name, member.name)
        if row and row.get("local"):
            return []
        if row and str(row.get("length")).startswith("property "):
            return [f"v.{member.name}_size"]
        if row and row.get("length"):
            return [part.strip() for part in str(row.get("length")).split(",")]
        return list(member.length)

    def _is_written(self, owner: Struct | Command, member: Member) -> bool:
        """Whether the callee writes what the member points to."""
        row = self.policy.row("member", owner.name, member.name)
        if row and row.get("direction"):
            return str(row.get("direction")) != "in"
        return bool(member.pointers) and not member.const

    def _what(self, owner: Struct | Command, member: Member) -> str:
        row = self.policy.row("member", owner.name, member.name)
        if member.name == "sType" and member.type == "VkStructureType":
            return "kType"
        if self._is_local(owner, member):
            return "kLocal"
        if row and row.get("opaque"):
            return "kOpaque"
        if member.name == "pNext" or member.valid_structs:
            return "kChain"
        if member.is_string:
            return "kText"
        if member.kind is Kind.SCALAR:
            if member.object_type:
                return "kHidden"
            return "kBits" if member.bits else "kReal" if member.type in ("float", "double") else "kNumber"
        if member.kind is Kind.HANDLE:
            return "kHandle"
        if member.kind in (Kind.STRUCT, Kind.UNION):
            struct = self.model.structs[member.type]
            if self._is_raw(struct):
                return "kNumber"
            self._reach(member.type)
            return "kUnion" if struct.is_union else "kStruct"
        return "kNumber"

    def _member(self, owner: Struct | Command, member: Member) -> MemberTable:
        what = self._what(owner, member)
        if member.bits:
            return MemberTable((f"VESPER_BITS({member.name}, {member.bits})",))
        pointed = what in ("kOpaque", "kLocal", "kChain")
        element = "void*" if pointed else "uint8_t" if member.type == "void" else member.type
        made = [f"VESPER_AT({member.name}, {element})"]
        if what != "kNumber":
            made.append(f".what = What::{what}")
        if member.pointers and not pointed:
            made.append(f".pointers = {member.pointers}")
        if member.extent:
            made.append(f".extent = {member.extent}")
        if member.const:
            made.append(".is_const = true")
        made += self._typed(owner, member, what) + self._counted(owner, member) + self._allowed(owner, member)
        return MemberTable(tuple(made))

    def _typed(self, owner: Struct | Command, member: Member, what: str) -> list[str]:
        members = owner.params if isinstance(owner, Command) else owner.members
        made: list[str] = []
        if what in ("kStruct", "kUnion"):
            made.append(f".type = &k{member.type}")
        if what == "kHandle":
            made.append(f".handle = HandleType::k{self.model.handles[member.type].short}")
            if self._is_written(owner, member):
                made.append(f".ids = offsetof(S, {member.name}_ids)")
            elif isinstance(owner, Command) and member is self._destroyed(owner):
                made.append(f".ids = offsetof(S, {member.name}_id{'s' if member.pointers else ''})")
        if what == "kHidden":
            type_ = f"HandleTypeOf(v.{member.object_type})"
            made.append(f".object = Object<S, [](const S& v) {{ return {type_}; }}>")
        if what == "kUnion":
            made.append(f".selector = Number<S, [](const S& v) {{ return v.{member.selector}; }}>")
        if member.selection:
            values = [f"int64_t{{{s}}}" for s in member.selection]
            made.append(f".selection = Selection<{', '.join(values)}>")
        selects = next((m for m in members if m.selector == member.name), None)
        if selects:
            arms = self.model.structs[selects.type].members
            values = [f"int64_t{{{s}}}" for m in arms for s in m.selection]
            made.append(f".values = Selection<{', '.join(values)}>")
        elif (
            what == "kNumber"
            and member.type in self.model.enum_groups
            and self.model.scalars[member.type].is_enum
        ):
            made.append(f".values = Values{member.type}")
            self._remember(member.type)
            made += self._own_count(owner, member, members)
        elif member.type == self.policy.rules["boolean"]:
            made.append(".values = Selection<int64_t{0}, int64_t{1}>")
        return made

    def _own_count(
        self, owner: Struct | Command, member: Member, members: tuple[Member, ...]
    ) -> list[str]:
        """Where the number of values stands that is this array's alone: the tests fill in every value at times."""
        name = next(iter(self._lengths(owner, member)), "")
        alone = sum(self._lengths(owner, m)[:1] == [name] for m in members if m.pointers) == 1
        count = next((m for m in members if m.name == name), None)
        if not alone or count is None or count.pointers or member.pointers != 1 or not member.const:
            return []
        return [f".own_count = offsetof(S, {name})"]

    def _remember(self, name: str) -> None:
        renamed = {value for (value,) in self.policy.rows["value"]}  # what is read is not what was written
        values = (self.model.enumerators[e] for e in self.model.enum_groups[name] if e not in renamed)
        self.enums.setdefault(name, sorted({v for v in values if v is not None}))

    def _destroyed(self, command: Command) -> Member | None:
        handles = [p for p in command.params if p.kind is Kind.HANDLE]
        ends = command.name.startswith(tuple(self.policy.rules["destroy_prefixes"]))
        return handles[-1] if ends and handles else None

    def _counted(self, owner: Struct | Command, member: Member) -> list[str]:
        """Lengths of arrays, and whether the member itself is one."""
        members = owner.params if isinstance(owner, Command) else owner.members
        made: list[str] = []
        if member.pointers:
            lengths = [text for text in self._lengths(owner, member) if text != "null-terminated"]
            for key, text in zip(("length", "row_length"), lengths):
                made += self._length(key, text, members)
            if self._is_written(owner, member):
                made.append(".is_written = true")
                if lengths and any(m.name == lengths[0] for m in members):
                    made.append(f'.bound = "{lengths[0]}"')
        used = [
            text
            for m in members
            for text in self._lengths(owner, m)
            if m.pointers and member.name in re.findall(r"\w+", text) and f"{member.name}->" not in text
        ]
        if (used or (owner.name, member.name) in self._bounding) and member.kind is Kind.SCALAR:
            plain = all(re.fullmatch(r"\w+", t) for t in used)
            if member.type not in self.model.enum_groups:
                made.append(f".scale = {1 if plain else 4}")
        if any(
            m.pointers and self._is_written(owner, m) and self._lengths(owner, m)[:1] == [member.name]
            for m in members
        ):
            made.append(".is_bound = true")
        if member.stride:
            made.append(f".stride = offsetof(S, {member.stride})")
        if any(m.stride == member.name for m in members):
            made.append(".is_stride = true")
        return made

    def _length(self, key: str, text: str, members: tuple[Member, ...]) -> list[str]:
        by_name = {m.name: m for m in members}
        if text == "1":
            return []
        if text.startswith("within "):
            return [f".outer_length = conditions::{text.split()[1]}"]

        def accessor(match: re.Match[str]) -> str:
            name, rest = match.group(1), match.group(2) or ""
            if name not in by_name:
                return match.group(0)
            if rest.startswith("->"):
                return f"(v.{name} == nullptr ? 0 : v.{name}{rest})"
            if rest:
                return f"v.{name}{rest}"
            return f"(v.{name} == nullptr ? 0 : *v.{name})" if by_name[name].pointers else f"v.{name}"

        value = re.sub(r"\b([A-Za-z_]\w*)((?:->|\[i\]\.)\w+)?", accessor, text)
        if "[i]" in value:
            return [f".{key} = RowLength<S, [](const S& v, size_t i) {{ return {value}; }}>"]
        owner = "const S& v" if "v." in value else "const S&"
        return [f".{key} = Length<S, []({owner}) {{ return {value}; }}>"]

    def _allowed(self, owner: Struct | Command, member: Member) -> list[str]:
        """What may be absent or ignored, and when."""
        row = self.policy.row("member", owner.name, member.name)
        made: list[str] = []
        condition_text = str(row.get("read_if")) if row and row.get("read_if") else ""
        if member.optional[:1] == (True,) or member.unchecked or condition_text:
            made.append(".is_optional = true")
        if member.kind is Kind.HANDLE and (
            (member.unchecked and not condition_text) or (row and row.get("ignorable"))
        ):
            made.append(".is_ignorable = true")
        if row and condition_text:
            members = owner.params if isinstance(owner, Command) else owner.members
            around = "around"
            text = condition(condition_text, Scope(self.model, self.policy, members, row.place, around=around))
            unused = "" if re.search(r"\bv\b", text) else "[[maybe_unused]] "
            outward = f"const wire::Around&{' around' if around in text else ''}"
            made.append(f".read_if = Condition<S, []({unused}const S& v, {outward}) {{ return {text}; }}>")
        if member.valid_structs:
            made.append(".is_output_chain = true")
        return made
