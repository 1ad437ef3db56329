"""The lowering step: decides once, as data, how each field of each struct and command travels.

Templates switch on ``op`` and ``element`` and decide nothing. A struct is lowered per role: *in* (the application
fills it), or *out* (the driver fills it; its chain's shape travels to the server and its contents come back).
A command is lowered like a struct whose members are the parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from codegen.analysis import ALLOCATOR, Analysis
from codegen.errors import InputError, Place
from codegen.model import Command, Kind, Member, Struct
from codegen.policy import Row, Scope, condition

# The closed set of operations.
OPS = (
    "scalar", "handle", "new_handle", "struct", "array", "fixed_array", "blob", "string", "string_array",
    "chain", "union", "count", "opaque", "none",
)  # fmt: skip
# What one element is, for templates: numbers, size_t, handles, handles hidden in integers, structs copied as they are,
# structs of fixed size, structs with pointers, unions with a selector, bit-fields.
ELEMENTS = ("scalar", "size", "handle", "object", "copy", "flat", "deep", "union", "bits", "byte", "none")
FIXED = ("scalar", "size", "handle", "object", "copy", "flat", "bits")


class Unclassified(Exception):
    """Neither registry nor policy say how something travels."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message


@dataclass(frozen=True)
class Field:
    """How one member travels, e.g. ``pAttachments``: an array of handles, present when flags allow it."""

    name: str
    op: str
    type: str  # of one element, as C writes it
    element: str = "none"
    direction: str = "in"  # in, out, inout
    size: int = 0  # of one element on the wire, the least for deep ones
    pointers: int = 0
    const: bool = False
    extent: int = 0  # elements of a fixed array
    count: str = ""  # C++ expression over v, for pointers
    inner_count: str = ""  # for pointers to pointers
    stride: str = ""
    condition: str = ""  # C++ expression; the encoder treats the field as absent where it is false
    required: bool = False  # a decoder refuses its absence
    present: int = -1  # its bit in the presence bitmap
    handle: str = ""  # HandleType enumerator
    dispatchable: bool = False
    use: str = "kOptional"
    role: str = "in"  # of a deep element
    echo: bool = False  # an input that holds outputs
    selector: str = ""
    object_type: str = ""
    capacity: str = ""  # the inout count that bounds an output
    request_offset: int = -1  # in the fixed part, -1 when it is not there
    reply_offset: int = -1
    bit_shift: int = 0
    bit_width: int = 0
    selection: tuple[str, ...] = ()
    destroyed_ids: bool = False  # the decoder keeps the ids beside the handles

    @property
    def has_request(self) -> bool:
        return self.direction in ("in", "inout")

    @property
    def has_reply(self) -> bool:
        return self.direction in ("out", "inout")


@dataclass(frozen=True)
class StructPlan:
    """One struct in one role."""

    name: str
    role: str
    family: str
    fields: tuple[Field, ...]
    request_size: int
    reply_size: int
    words: int  # of the presence bitmap
    s_type: str = ""
    chain: tuple[str, ...] = ()
    is_union: bool = False
    selector_type: str = ""
    has_reply: bool = False
    place: Place = Place("", 0)

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.role


@dataclass(frozen=True)
class FlatPlan:
    """A struct of fixed size; ``copy`` when its bytes in C are its bytes on the wire."""

    name: str
    family: str
    fields: tuple[Field, ...]
    size: int
    copy: bool
    is_union: bool = False


@dataclass(frozen=True)
class CommandPlan:
    """One command: its fields and how both sides treat it."""

    name: str
    short: str
    family: str
    returns: str
    fields: tuple[Field, ...]
    request_size: int
    reply_size: int
    words: int
    status: str  # covered, local, refused, quarantined
    reason: str
    mode: str  # record, post, ask
    ask_if: str
    client_override: bool
    server_override: bool
    slow: bool
    cache: bool
    submit: bool
    destroyed: str  # parameter name
    destroyed_offset: int  # of its id in the fixed part, -1 for arrays
    created: tuple[str, ...]  # new-handle parameters
    lost: str  # what to return when the session is lost
    declarations: tuple[str, ...]
    place: Place
    aliases: tuple[str, ...] = ()

    @property
    def on_wire(self) -> bool:
        return self.status == "covered"


@dataclass
class Plan:
    """Everything that render.py needs."""

    flats: dict[str, FlatPlan] = field(default_factory=dict)
    structs: dict[tuple[str, str], StructPlan] = field(default_factory=dict)
    commands: dict[str, CommandPlan] = field(default_factory=dict)
    quarantined: dict[str, Unclassified] = field(default_factory=dict)


class Lowering:
    """Walks from the commands to every struct they reach."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.model = analysis.model
        self.policy = analysis.policy
        self.plan = Plan()
        self._active: set[tuple[str, str]] = set()
        self._echoes: dict[tuple[str, str], bool] = {}

    # --- one member --------------------------------------------------------------------------------------------

    def lower_member(self, owner: Struct | Command, member: Member, role: str) -> Field:
        row = self.policy.row("member", owner.name, member.name)
        members = owner.members if isinstance(owner, Struct) else owner.params
        scope = Scope(self.model, self.policy, members, row.place if row else member.place)
        direction = self._direction(owner, member, role, row)
        made = Field(
            member.name, "", member.type, direction=direction, pointers=member.pointers, const=member.const,
            extent=member.extent,
        )  # fmt: skip
        if row and row.get("read_if"):
            made = replace(made, condition=condition(str(row.get("read_if")), scope))
        if row and row.get("local"):
            return replace(made, op="none")
        if member.type == ALLOCATOR:
            return replace(made, op="none")
        if role == "out" and member.pointers and member.const and member.name != "pNext":  # the driver's own memory: the client gets null
            return replace(made, op="none", direction="out")
        if row and row.get("opaque"):
            return replace(made, op="opaque", element="scalar", size=8)
        if member.name == "pNext" and member.kind is Kind.VOID:
            direction = "out" if role == "out" else "in"  # whatever const says: it is wrong in places
            return replace(made, op="chain", role=role, pointers=1, direction=direction)
        if member.is_string and member.kind is Kind.SCALAR:
            return self._string(made, member, members)
        made = self._element(owner, member, made, row, role)
        if member.pointers == 0:
            return self._by_value(owner, member, made)
        return self._by_pointer(owner, member, made, row, members)

    def _direction(self, owner: Struct | Command, member: Member, role: str, row: Row | None) -> str:
        if row and row.get("direction"):
            return str(row.get("direction"))
        if member.pointers and member.const:
            return "in"
        counts = self._counts_of_outputs(owner, role)
        if member.pointers == 0:
            if role == "out":
                return "inout" if member.name in counts else "out"
            return "in"
        return "inout" if member.name in counts else "out"

    def _counts_of_outputs(self, owner: Struct | Command, role: str) -> set[str]:
        """Names of members that bound an output array and are overwritten with what was written."""
        members = owner.members if isinstance(owner, Struct) else owner.params
        names = {m.length[0] for m in members if m.length and m.pointers == 1 and not m.const}
        if isinstance(owner, Struct) and role == "in":
            return set()
        return {
            m.name
            for m in members
            if m.name in names and (m.pointers == 1 if isinstance(owner, Command) else m.pointers == 0)
        }

    def _string(self, made: Field, member: Member, members: tuple[Member, ...]) -> Field:
        if len(member.length) == 1 and member.pointers == 1:
            return replace(made, op="string", element="byte", size=1, required=not any(member.optional))
        count = self._length(member.length[0], members, member.place)
        return replace(made, op="string_array", element="byte", size=4, count=count)

    def _element(self, owner: Struct | Command, member: Member, made: Field, row: Row | None, role: str) -> Field:
        kind = member.kind
        if kind is Kind.SCALAR:
            scalar = self.model.scalars[member.type]
            if member.object_type:
                return replace(made, op="handle", element="object", size=8, object_type=f"v.{member.object_type}")
            if member.bits:
                return replace(made, op="scalar", element="bits", bit_width=member.bits)
            return replace(made, op="scalar", element="scalar" if scalar.portable else "size", size=scalar.size)
        if kind is Kind.HANDLE:
            handle = self.model.handles[member.type]
            ignorable = member.unchecked or bool(row and (row.get("read_if") or row.get("ignorable")))
            use = "kIgnorable" if ignorable else "kOptional" if any(member.optional) else "kRequired"
            return replace(
                made, op="handle", element="handle", size=8, handle=f"k{handle.short}",
                dispatchable=handle.dispatchable, use=use,
            )  # fmt: skip
        if kind in (Kind.STRUCT, Kind.UNION):
            return self._struct_element(owner, member, made, role)
        if kind is Kind.VOID and member.pointers == 1:
            return replace(made, op="blob", element="byte", size=1)
        raise Unclassified(member.place, f"{owner.name}.{member.name}: no rule for `{member.declaration}`")

    def _struct_element(self, owner: Struct | Command, member: Member, made: Field, role: str) -> Field:
        struct = self.model.structs[member.type]
        flat = self.analysis.flat(member.type)
        if flat is not None:
            self._lower_flat(struct)
            return replace(made, op="struct", element="copy" if flat.copy else "flat", size=flat.size)
        if struct.is_union:
            if not member.selector:
                raise Unclassified(
                    member.place, f"{owner.name}.{member.name}: the union {struct.name} has no selector"
                )
            members = owner.members if isinstance(owner, Struct) else owner.params
            self._lower_union(struct, next(m.type for m in members if m.name == member.selector))
            return replace(made, op="union", element="union", size=1, selector=f"v.{member.selector}")
        inner = role if member.pointers == 0 else "in" if made.direction == "in" else "out"
        self.lower_struct(struct, inner)
        echo = made.direction == "in" and self.echoes(struct.name, inner)
        least = 4 if inner == "in" or struct.has_chain else 0  # a shape without a chain may take no bytes at all
        return replace(made, op="struct", element="deep", size=least, role=inner, echo=echo)

    def _by_value(self, owner: Struct | Command, member: Member, made: Field) -> Field:
        if made.op == "blob":
            raise Unclassified(member.place, f"{owner.name}.{member.name}: void by value")
        if member.extent:
            return replace(made, op="fixed_array")
        if made.direction == "inout":
            return replace(made, op="count")
        return made

    def _by_pointer(
        self, owner: Struct | Command, member: Member, made: Field, row: Row | None, members: tuple[Member, ...]
    ) -> Field:
        lengths = list(member.length)
        if row and row.get("length"):
            lengths = [part.strip() for part in str(row.get("length")).split(",")]
        if made.op == "blob" and not lengths:
            raise Unclassified(member.place, f"{owner.name}.{member.name}: bytes without a length")
        if member.pointers > 2 or (member.pointers == 2 and len(lengths) < 2):
            raise Unclassified(member.place, f"{owner.name}.{member.name}: no rule for `{member.declaration}`")
        if made.element == "size" and lengths:
            raise Unclassified(member.place, f"{owner.name}.{member.name}: an array of ABI-sized numbers")
        if not member.const and made.direction != "in" and made.element == "handle":
            made = replace(made, op="new_handle")
        count = self._length(lengths[0], members, member.place) if lengths else "1"
        inner = self._length(lengths[1], members, member.place) if len(lengths) > 1 else ""
        op = made.op
        if made.direction == "inout" and op == "scalar":
            op = "count"
        elif op in ("scalar", "handle", "struct") and lengths:
            op = "array"
        required = not any(member.optional) and not member.unchecked and not made.condition
        return replace(
            made, op=op, count=count, inner_count=inner, required=required, capacity=lengths[0] if lengths else "",
            stride=f"v.{member.stride}" if member.stride else "",
        )  # fmt: skip

    def _length(self, text: str, members: tuple[Member, ...], place: Place) -> str:
        """A registry length as a C++ expression over ``v``."""
        by_name = {m.name: m for m in members}

        def accessor(match: re.Match[str]) -> str:
            name, inner = match.group(1), match.group(2)
            if name not in by_name:
                return match.group(0)
            if inner:
                return f"(v.{name} != nullptr ? v.{name}->{inner} : 0)"
            return f"Value(v.{name})" if by_name[name].pointers else f"v.{name}"

        if "[i]" in text:  # of policy: a member of the array that runs in parallel
            return "v." + text
        expression = re.sub(r"\b([A-Za-z_]\w*)(?:->(\w+))?", accessor, text)
        known = set(re.findall(r"[A-Za-z_]\w*", text)) <= set(self.model.constants) | set(by_name)
        if expression == text and not known:
            raise Unclassified(place, f"the length `{text}` names nothing known")
        return expression

    # --- structs -----------------------------------------------------------------------------------------------

    def _lower_flat(self, struct: Struct) -> None:
        if struct.name in self.plan.flats:
            return
        flat = self.analysis.flat(struct.name)
        assert flat is not None
        fields: list[Field] = []
        if not struct.is_union:
            for member in struct.members:
                fields.append(replace(self.lower_member(struct, member, "in"), direction="in"))
        placed, size, _ = _place(tuple(fields), words=0)
        if not struct.is_union and size != flat.size:
            raise AssertionError(f"{struct.name}: {size} != {flat.size}")
        self.plan.flats[struct.name] = FlatPlan(
            struct.name, self.policy.family(struct.name), placed, flat.size, flat.copy, struct.is_union
        )

    def _lower_union(self, struct: Struct, selector_type: str) -> None:
        if (struct.name, "in") in self.plan.structs:
            return
        fields = tuple(
            replace(self.lower_member(struct, m, "in"), selection=m.selection, required=True)
            for m in struct.members
        )
        self.plan.structs[struct.name, "in"] = StructPlan(
            struct.name, "in", self.policy.family(struct.name), fields, 0, 0, 0, is_union=True,
            selector_type=selector_type, place=struct.place,
        )

    def lower_struct(self, struct: Struct, role: str) -> None:
        """Plans ``struct`` in ``role`` and whatever it reaches; raises Unclassified."""
        key = (struct.name, role)
        if key in self.plan.structs or key in self._active:
            return
        if not self.analysis.on_wire(struct.name):
            raise Unclassified(struct.place, f"{struct.name} is kept on one side by policy")
        self._active.add(key)
        try:
            fields = tuple(
                self.lower_member(struct, m, role)
                for m in struct.members
                if not (m.name == "sType" and m.type == "VkStructureType")
            )
            chain: list[str] = []
            if struct.has_chain:
                for name in self.analysis.extenders.get(struct.name, ()):
                    if self._try_struct(name, role):
                        chain.append(name)
            if role == "in" and any(self.echoes(name, role) for name in chain):
                fields = tuple(replace(f, echo=True) if f.op == "chain" else f for f in fields)
            if any(f.op == "new_handle" for f in fields):
                raise Unclassified(struct.place, f"{struct.name} makes objects")
            fields = _number_presence(_bound_outputs(fields))
            words = (sum(f.present >= 0 for f in fields) + 31) // 32
            fields, request, reply = _place(fields, words)
            self.plan.structs[key] = StructPlan(
                struct.name, role, self.policy.family(struct.name), fields, request, reply, words,
                struct.s_type, tuple(chain), False, "", role == "out" or self.echoes(struct.name, role), struct.place,
            )  # fmt: skip
        finally:
            self._active.discard(key)

    def _try_struct(self, name: str, role: str) -> bool:
        """Lowers an extending struct; one that is unclassified is quarantined and left out of chains."""
        try:
            self.lower_struct(self.model.structs[name], role)
        except Unclassified as error:
            self.plan.quarantined[name] = error
            return False
        return True

    def echoes(self, name: str, role: str) -> bool:
        """Whether an input struct holds outputs, itself or in what it points to."""
        key = (name, role)
        if key not in self._echoes:
            self._echoes[key] = False
            self._echoes[key] = self._find_echo(self.model.structs[name], role)
        return self._echoes[key]

    def _find_echo(self, struct: Struct, role: str) -> bool:
        if role == "out" or self.analysis.flat(struct.name) or not self.analysis.on_wire(struct.name):
            return False
        for member in struct.members:
            row = self.policy.row("member", struct.name, member.name)
            if row and (row.get("local") or row.get("opaque")):
                continue
            if member.pointers and member.name != "pNext" and member.type != ALLOCATOR:
                if self._direction(struct, member, "in", row) == "out":
                    return True
            inner = self.model.structs.get(member.type)
            if inner and member.type != ALLOCATOR and self.echoes(inner.name, "in"):
                return True
        return any(self.echoes(e, "in") for e in self.analysis.extenders.get(struct.name, ()))

    # --- commands ----------------------------------------------------------------------------------------------

    def lower_command(self, command: Command) -> CommandPlan:
        row = self.policy.row("command", command.name)
        status, reason = "covered", ""
        wanted = row.get("wire", "covered") if row else "covered"
        fields: tuple[Field, ...] = ()
        request = reply = words = 0
        if wanted in ("local", "refused"):
            status, reason = str(wanted), str(row.get("why") if row else "")
        else:
            fields = tuple(self.lower_member(command, p, "in") for p in command.params)
            fields = _number_presence(_bound_outputs(fields))
            words = (sum(f.present >= 0 for f in fields) + 31) // 32
            size = 0
            if command.returns != "void":
                if command.returns not in self.model.scalars:
                    raise Unclassified(command.place, f"{command.name} returns {command.returns}")
                size = self.model.scalars[command.returns].size
            fields, request, reply = _place(fields, words, size)
        destroyed = self.analysis.destroyed(command)
        fields = tuple(
            replace(f, destroyed_ids=True) if destroyed and f.name == destroyed.name and f.pointers else f
            for f in fields
        )
        created = tuple(f.name for f in fields if f.op == "new_handle")
        offset = next((f.request_offset for f in fields if destroyed and f.name == destroyed.name), -1)
        mode, ask_if = self._mode(command, fields, row)
        return CommandPlan(
            name=command.name, short=command.short, family=self.policy.family(command.name),
            returns=command.returns, fields=fields, request_size=request, reply_size=reply, words=words,
            status=status, reason=reason, mode=mode, ask_if=ask_if,
            client_override=bool(row and row.get("client")) or status == "local",
            server_override=bool(row and row.get("server")), slow=bool(row and row.get("slow")),
            cache=bool(row and row.get("cache")), submit=bool(row and row.get("submit")),
            destroyed=destroyed.name if destroyed else "", destroyed_offset=offset, created=created, lost=_lost(command),
            declarations=tuple(p.declaration for p in command.params), place=command.place,
            aliases=command.aliases,
        )  # fmt: skip

    def _mode(self, command: Command, fields: tuple[Field, ...], row: Row | None) -> tuple[str, str]:
        """record, post or ask, and for post the condition under which it asks all the same."""
        if command.recorded:
            return "record", ""
        scope = Scope(self.model, self.policy, command.params, row.place if row else command.place)
        outputs = [f for f in fields if f.has_reply and f.op not in ("new_handle", "none")]
        if outputs or command.returns not in ("void", "VkResult") or (row and row.get("ask")):
            return "ask", ""
        if any(f.op == "new_handle" and f.dispatchable for f in fields):
            return "ask", ""
        conditions = [condition(str(row.get("ask_if")), scope)] if row and row.get("ask_if") else []
        benign = set(self.policy.rules["benign_codes"])
        for code in sorted(set(command.success + command.errors) - benign):
            code_row = self.policy.row("code", command.name, code)
            if code_row is None:
                return "ask", ""
            if code_row.get("only_if") != "never":
                scope = replace_place(scope, code_row.place)
                conditions.append(condition(str(code_row.get("only_if")), scope))
        if any(f.echo for f in fields):
            conditions += [f"Echoes(v.{f.name}, {f.count})" for f in fields if f.echo]
        return "post", " || ".join(dict.fromkeys(conditions))

    def run(self, strict: bool) -> Plan:
        """Plans every command; with ``strict`` the first unclassified thing fails."""
        for command in self.model.commands.values():
            try:
                made = self.lower_command(command)
            except Unclassified as error:
                if strict:
                    raise InputError(error.place, f"{error.message} (add a row to policy.toml)") from error
                self.plan.quarantined[command.name] = error
                made = self._quarantined(command, error)
            self.plan.commands[command.name] = made
        if strict and self.plan.quarantined:
            error = next(iter(self.plan.quarantined.values()))
            raise InputError(error.place, f"{error.message} (add a row to policy.toml)")
        return self.plan

    def _quarantined(self, command: Command, error: Unclassified) -> CommandPlan:
        return CommandPlan(
            name=command.name, short=command.short, family=self.policy.family(command.name),
            returns=command.returns, fields=(), request_size=0, reply_size=0, words=0, status="quarantined",
            reason=str(error), mode="ask", ask_if="", client_override=False, server_override=False, slow=False,
            cache=False, submit=False, destroyed="", destroyed_offset=-1, created=(), lost=_lost(command),
            declarations=tuple(p.declaration for p in command.params), place=command.place, aliases=command.aliases,
        )  # fmt: skip


def replace_place(scope: Scope, place: Place) -> Scope:
    """``scope`` as seen from another row."""
    return Scope(scope.model, scope.policy, scope.members, place)


def _lost(command: Command) -> str:
    if command.returns != "VkResult":
        return ""
    for code in ("VK_ERROR_DEVICE_LOST", "VK_ERROR_INITIALIZATION_FAILED", "VK_ERROR_OUT_OF_HOST_MEMORY"):
        if code in command.errors:
            return code
    return "VK_ERROR_UNKNOWN"


def _bound_outputs(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Keeps ``capacity`` only where it names a count that the callee overwrites."""
    counts = {f.name for f in fields if f.op == "count"}
    return tuple(
        replace(f, capacity=f.capacity if f.direction == "out" and f.capacity in counts else "") for f in fields
    )


def _number_presence(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Gives a bit of the presence bitmap to every field that may be absent."""
    bit, numbered = 0, []
    for each in fields:
        if each.pointers and each.op not in ("none", "opaque"):
            each = replace(each, present=bit)
            bit += 1
        numbered.append(each)
    return tuple(numbered)


def _place(fields: tuple[Field, ...], words: int, result_size: int = 0) -> tuple[tuple[Field, ...], int, int]:
    """Offsets in the fixed parts of request and reply, and their sizes."""
    request, reply, bits, placed = 4 * words, result_size, 0, []
    for each in fields:
        whole = each.size * (each.extent or 1)
        if each.element == "bits":
            if bits % 32 + each.bit_width > 32:
                bits = (bits + 31) // 32 * 32
            each = replace(each, bit_shift=bits % 32, request_offset=bits // 32)
            bits += each.bit_width
        elif each.op in ("none", "blob", "string", "string_array", "chain", "union"):
            pass
        elif each.op == "opaque" or each.op == "count" or (each.pointers == 0 and each.element in FIXED):
            if each.has_request:
                each = replace(each, request_offset=request)
                request += whole
            if each.has_reply and each.op != "new_handle":
                each = replace(each, reply_offset=reply)
                reply += whole
        placed.append(each)
    words_of_bits = (bits + 31) // 32
    final = tuple(
        replace(f, request_offset=request + 4 * f.request_offset) if f.element == "bits" else f for f in placed
    )
    return final, request + 4 * words_of_bits, reply
