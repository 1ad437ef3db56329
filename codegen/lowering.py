"""The lowering step: decides once, as data (plan.py), how each field of each struct and command travels.

Whatever neither registry nor policy classify is quarantined: a struct is left out of chains, a command is not covered,
and nothing that travels refers to either.
"""

from __future__ import annotations

import re
from dataclasses import replace

from codegen.analysis import Analysis, members_of
from codegen.errors import InputError
from codegen.model import Command, Kind, Member, Struct
from codegen.placement import bound_outputs, number_presence, place_fields
from codegen.plan import CommandPlan, Field, FlatPlan, Plan, StructPlan, Unclassified
from codegen.policy import Row, Scope, condition

ANY_OUTPUT, ANY_INPUT = "VkBaseOutStructure", "VkBaseInStructure"


def _must_be_there(member: Member) -> bool:
    """Whether a valid program never passes null: ``optional="false,true"`` speaks of what the pointer points to."""
    return member.optional[:1] != (True,) and not member.unchecked


class Lowering:
    """Walks from the commands to every struct they reach."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.model = analysis.model
        self.policy = analysis.policy
        self.plan = Plan()
        self._active: set[tuple[str, str]] = set()

    def run(self, strict: bool) -> Plan:
        """Plans every command; with ``strict`` whatever is unclassified fails, the first by line."""
        for command in self.model.commands.values():
            try:
                made = self.lower_command(command)
            except Unclassified as error:
                self.plan.quarantined[command.name] = error
                made = self._quarantined(command, error)
            self.plan.commands[command.name] = made
        for command in self.model.platform_commands.values():
            row = self.policy.row("command", command.name)
            if row and row.get("wire") == "local":
                self.plan.platform_commands[command.name] = self._local(command, row)
        self.plan.renamed = self.analysis.renamed
        self._isolate_quarantined()
        if strict and self.plan.quarantined:
            first = min(self.plan.quarantined.values(), key=lambda e: (e.place.file, e.place.line))
            raise InputError(first.place, f"{first.message} (add a row to codegen/policy)")
        return self.plan

    # --- one member ------------------------------------------------------------------------------------------

    def lower_member(self, owner: Struct | Command, member: Member, role: str) -> Field:
        """How ``member`` travels in a struct of ``role`` or in a command; raises Unclassified."""
        row = self.policy.row("member", owner.name, member.name)
        made = Field(
            member.name, "", member.type, direction=self.analysis.direction(owner, member, role),
            pointers=member.pointers, const=member.const, extent=member.extent,
        )  # fmt: skip
        if row and row.get("read_if"):
            scope = Scope(self.model, self.policy, members_of(owner), row.place)
            made = replace(made, condition=condition(str(row.get("read_if")), scope))
            self._check_outward(owner, made, row)
        if member.type == self.policy.rules["allocator"] or (row and row.get("local")):
            return replace(made, op="none")
        if role == "out" and member.pointers and member.const and member.name != "pNext":
            return replace(made, op="none", direction="out")  # the driver's own memory: the client gets null
        if row and row.get("opaque"):
            return replace(made, op="opaque", element="scalar", size=8)
        if member.name == "pNext" and member.kind is Kind.VOID:
            # whatever const says: it is wrong in places
            return replace(
                made, op="chain", role=role, pointers=1, direction="out" if role == "out" else "in"
            )
        if member.type == ANY_OUTPUT and member.valid_structs:
            return replace(made, op="chain", role="out", required=True)
        if member.type in (ANY_OUTPUT, ANY_INPUT):
            raise Unclassified(member.place, f"{owner.name}.{member.name}: a struct of no type of its own")
        if member.is_string and member.kind is Kind.SCALAR:
            return self._string(made, member, members_of(owner))
        made = self._element(owner, member, made, row, role)
        if member.pointers == 0:
            return self._by_value(owner, member, made)
        return self._by_pointer(owner, member, made, row)

    def _check_outward(self, owner: Struct | Command, made: Field, row: Row) -> None:
        """What looks at the struct around it is decided while encoding, when alone that struct is at hand."""
        outward = Scope(self.model, self.policy, (), row.place).around in made.condition
        echoing = made.type in self.analysis.echoing or made.name == "pNext"
        if outward and (isinstance(owner, Command) or made.direction != "in" or echoing):
            raise InputError(row.place, f"{owner.name}.{made.name}: only an input may depend on what is around it")

    def _string(self, made: Field, member: Member, members: tuple[Member, ...]) -> Field:
        if len(member.length) == 1 and member.pointers == 1:
            return replace(made, op="string", element="byte", size=1, required=_must_be_there(member))
        count = self._length(member.length[0], members, member)
        return replace(
            made, op="string_array", element="byte", size=4, count=count, required=_must_be_there(member)
        )

    def _element(
        self, owner: Struct | Command, member: Member, made: Field, row: Row | None, role: str
    ) -> Field:
        kind = member.kind
        if kind is Kind.SCALAR:
            scalar = self.model.scalars[member.type]
            if member.object_type:
                return replace(
                    made, op="handle", element="object", size=8, object_type=f"v.{member.object_type}"
                )
            if member.bits:
                return replace(made, op="scalar", element="bits", bit_width=member.bits)
            if made.direction == "in" and role == "in" and member.type in self.analysis.renamed:
                return replace(made, op="scalar", element="renamed", size=scalar.size)
            return replace(
                made, op="scalar", element="scalar" if scalar.portable else "size", size=scalar.size
            )
        if kind is Kind.HANDLE:
            handle = self.model.handles[member.type]
            exact = bool(row and row.get("read_if"))  # what is ignored travels as null
            ignorable = bool(row and row.get("ignorable")) or (member.unchecked and not exact)
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

    def _selector_type(self, owner: Struct | Command, member: Member) -> str:
        for other in members_of(owner):
            if other.name == member.selector:
                return other.type
        raise InputError(
            member.place, f"{owner.name}.{member.name}: the selector {member.selector} is no member"
        )

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
            self._lower_union(struct, self._selector_type(owner, member))
            return replace(made, op="union", element="union", size=1, selector=f"v.{member.selector}")
        inner = role if member.pointers == 0 else "in" if made.direction == "in" else "out"
        self.lower_struct(struct, inner)
        echo = made.direction == "in" and inner == "in" and struct.name in self.analysis.echoing
        least = 4 if inner == "in" or struct.has_chain else 0  # a shape without a chain may take no bytes
        return replace(made, op="struct", element="deep", size=least, role=inner, echo=echo)

    def _by_value(self, owner: Struct | Command, member: Member, made: Field) -> Field:
        if made.op == "blob":
            raise Unclassified(member.place, f"{owner.name}.{member.name}: void by value")
        if member.extent:
            return replace(made, op="fixed_array")
        if made.direction == "inout":
            return replace(made, op="count")
        return made

    def _by_pointer(self, owner: Struct | Command, member: Member, made: Field, row: Row | None) -> Field:
        where = f"{owner.name}.{member.name}"
        lengths = list(member.length)
        if row and row.get("length"):
            lengths = [part.strip() for part in str(row.get("length")).split(",")]
        if made.op == "blob" and not lengths:
            raise Unclassified(member.place, f"{where}: bytes without a length")
        if member.pointers > 2 or (member.pointers == 2 and len(lengths) < 2):
            raise Unclassified(member.place, f"{where}: no rule for `{member.declaration}`")
        if made.element == "size" and lengths:
            raise Unclassified(member.place, f"{where}: an array of ABI-sized numbers")
        if not member.const and made.direction != "in" and made.element == "handle":
            made = replace(made, op="new_handle")
        members = members_of(owner)
        if lengths and lengths[0].startswith("property "):
            count = f"v.{member.name}_size"
        else:
            count = self._length(lengths[0], members, member) if lengths else "1"
        inner = self._length(lengths[1], members, member) if len(lengths) > 1 else ""
        op = made.op
        if made.direction == "inout" and op == "scalar":
            op = "count"
        elif op in ("scalar", "handle", "struct") and lengths:
            op = "array"
        required = _must_be_there(member) and not made.condition
        return replace(
            made, op=op, count=count, inner_count=inner, required=required, capacity=lengths[0] if lengths else "",
            stride=f"v.{member.stride}" if member.stride else "",
        )  # fmt: skip

    def _length(self, text: str, members: tuple[Member, ...], member: Member) -> str:
        """A registry length as a C++ expression over ``v``: "pInfo->count" becomes a read that minds null."""
        if text.startswith("within "):
            return f"conditions::{text.split()[1]}(e.around())"  # of runtime/vk/conditions.h
        by_name = {m.name: m for m in members}
        unknown: list[str] = []

        def accessor(match: re.Match[str]) -> str:
            name, inner = match.group(1), match.group(2)
            if name not in by_name:
                if name not in self.model.constants:
                    unknown.append(name)
                return match.group(0)
            if inner:
                return f"(v.{name} != nullptr ? v.{name}->{inner} : 0)"
            return f"Value(v.{name})" if by_name[name].pointers else f"v.{name}"

        row_of = re.fullmatch(r"(\w+)\[i\]\.(\w+)", text)
        if row_of and row_of.group(1) in by_name:  # of policy: a member of the array that runs in parallel
            return "v." + text
        expression = re.sub(r"\b([A-Za-z_]\w*)(?:->(\w+))?", accessor, text)
        if unknown or text.startswith("*") or "[" in text:
            raise Unclassified(member.place, f"the length `{text}` of {member.name} names nothing known")
        return expression

    def _measured(self, command: Command) -> tuple[Field, ...]:
        """A field for each output whose length is a property of the device: it travels beside the parameters."""
        made: list[Field] = []
        for param in command.params:
            row = self.policy.row("member", command.name, param.name)
            words = str(row.get("length")).split() if row else []
            if row is None or words[:1] != ["property"]:
                continue
            struct = self.model.structs.get(words[1]) if len(words) == 3 else None
            if struct is None or not struct.s_type or struct.member(words[2]) is None:
                raise InputError(row.place, f"`{' '.join(words)}` is no member of a properties struct")
            made.append(
                Field(
                    f"{param.name}_size", "scalar", "size_t", element="size", size=8, measures=param.name,
                    device_property=f"{words[1]}::{words[2]}",
                )  # fmt: skip
            )
        return tuple(made)

    # --- structs ---------------------------------------------------------------------------------------------

    def _lower_flat(self, struct: Struct) -> None:
        if struct.name in self.plan.flats:
            return
        flat = self.analysis.flat(struct.name)
        assert flat is not None
        fields: list[Field] = []
        if not struct.is_union:
            for member in struct.members:
                fields.append(replace(self.lower_member(struct, member, "in"), direction="in"))
        placed, size, _ = place_fields(tuple(fields), words=0)
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
            struct.name,
            "in",
            self.policy.family(struct.name),
            fields,
            0,
            0,
            0,
            is_union=True,
            selector_type=selector_type,
            place=struct.place,
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
            if any(f.op == "new_handle" for f in fields):
                raise Unclassified(struct.place, f"{struct.name} makes objects")
            extenders = self.analysis.extenders.get(struct.name, ()) if struct.has_chain else ()
            chain = tuple(name for name in extenders if self._try_struct(name, role))
            if role == "in" and any(name in self.analysis.echoing for name in chain):
                fields = tuple(replace(f, echo=True) if f.op == "chain" else f for f in fields)
            fields = number_presence(bound_outputs(fields))
            words = (sum(f.present >= 0 for f in fields) + 31) // 32
            fields, request, reply = place_fields(fields, words)
            self.plan.structs[key] = StructPlan(
                struct.name, role, self.policy.family(struct.name), fields, request, reply, words, struct.s_type,
                chain, has_reply=role == "out" or struct.name in self.analysis.echoing, place=struct.place,
                surrounds=role == "in" and self._surrounds(struct),
            )  # fmt: skip
        finally:
            self._active.discard(key)

    def _surrounds(self, struct: Struct) -> bool:
        row = self.policy.row("struct", struct.name)
        return bool(row and row.get("surrounds"))

    def _try_struct(self, name: str, role: str) -> bool:
        """Lowers an extending struct; one that is unclassified is quarantined and left out of chains."""
        try:
            self.lower_struct(self.model.structs[name], role)
        except Unclassified as error:
            self.plan.quarantined[name] = error
            return False
        return True

    # --- commands --------------------------------------------------------------------------------------------

    def lower_command(self, command: Command) -> CommandPlan:
        """The plan of ``command``; raises Unclassified."""
        row = self.policy.row("command", command.name)
        made = self._bare(command)
        wanted = str(row.get("wire", "covered")) if row else "covered"
        write = self.policy.row("write", command.name)
        if write:
            noted = str(write.get("name")).removeprefix("vk") if write.get("to") == "noted" else ""
            made = replace(made, writes=str(write.get("to")), note=noted)
        if row:
            override = str(row.get("name")).removeprefix("vk")  # as policy spells it: perhaps an alias here
            made = replace(
                made, slow=bool(row.get("slow")), after_users=bool(row.get("after_users")), cache=bool(row.get("cache")),
                remember=bool(row.get("remember")), submit=bool(row.get("submit")),
                memory=str(row.get("memory")),
                client_override=override if row.get("client") or wanted == "local" else "",
                server_override=override if row.get("server") else "",
            )  # fmt: skip
        made = replace(made, learn=self.policy.row("learn", command.name) is not None)
        if wanted != "covered":
            return replace(made, status=wanted, reason=str(row.get("why") if row else ""))
        fields = tuple(self.lower_member(command, p, "in") for p in command.params) + self._measured(command)
        fields = number_presence(bound_outputs(fields))
        words = (sum(f.present >= 0 for f in fields) + 31) // 32
        fields, request, reply = place_fields(fields, words, self._result_size(command))
        destroyed = self.analysis.destroyed(command)
        ended = destroyed.name if destroyed else ""
        fields = tuple(replace(f, destroyed_ids=f.name == ended and f.pointers > 0) for f in fields)
        mode, ask_if = self._mode(command, fields, row)
        return replace(
            made, fields=fields, request_size=request, reply_size=reply, words=words, mode=mode, ask_if=ask_if,
            chain=self._output_chain(command), destroyed=ended,
            destroyed_offset=next((f.request_offset for f in fields if f.name == ended), -1),
            created=tuple(f.name for f in fields if f.op == "new_handle"),
        )  # fmt: skip

    def _bare(self, command: Command) -> CommandPlan:
        """What holds of a command whether it travels or not."""
        family, way = self.policy.family(command.name), self.policy.row("way", command.name)
        return CommandPlan(
            name=command.name, short=command.short, family=family,
            returns=command.returns, declarations=tuple(p.declaration for p in command.params),
            lost=self._lost(command), place=command.place, aliases=command.aliases,
            mode="record" if command.recorded else "ask",
            client_file=str(way.get("client_file", family)) if way else family,
            server_file=str(way.get("server_file", family)) if way else family,
            leads_to=tuple(way.get("leads_to", ())) if way else (),
        )  # fmt: skip

    def _local(self, command: Command, row: Row) -> CommandPlan:
        """A command of a platform's, which has no number on the wire."""
        made = replace(self._bare(command), status="local", reason=str(row.get("why")))
        return replace(made, client_override=str(row.get("name")).removeprefix("vk"))

    def _quarantined(self, command: Command, error: Unclassified) -> CommandPlan:
        return replace(self._bare(command), status="quarantined", reason=str(error))

    def _lost(self, command: Command) -> str:
        if command.returns != "VkResult":
            return ""
        codes: list[str] = self.policy.rules["lost_codes"]
        return next((code for code in codes if code in command.errors), codes[-1])

    def _result_size(self, command: Command) -> int:
        if command.returns == "void":
            return 0
        if command.returns not in self.model.scalars:
            raise Unclassified(command.place, f"{command.name} returns {command.returns}")
        return self.model.scalars[command.returns].size

    def _output_chain(self, command: Command) -> tuple[str, ...]:
        """What an output declared as VkBaseOutStructure may be."""
        names = [n for p in command.params if p.type == ANY_OUTPUT for n in p.valid_structs]
        chain = tuple(n for n in names if self._try_struct(n, "out"))
        if names and not chain:
            raise Unclassified(command.place, f"{command.name}: {names[0]} is not classified")
        return chain

    def _mode(self, command: Command, fields: tuple[Field, ...], row: Row | None) -> tuple[str, str]:
        """record, post or ask, and for post the condition under which it asks all the same."""
        if command.recorded:
            return "record", ""
        outputs = [f for f in fields if f.has_reply and f.op not in ("new_handle", "none")]
        if (
            outputs
            or command.returns not in ("void", "VkResult")
            or (row and (row.get("ask") or row.get("memory") == "accesses"))
        ):
            return "ask", ""
        if any(f.op == "new_handle" and f.dispatchable for f in fields):
            return "ask", ""
        conditions: list[str] = []
        if row and row.get("slow"):
            conditions.append("call.Aside(&v)")
        if row and row.get("ask_if"):
            conditions.append(self._condition(command, row, "ask_if"))
        benign = set(self.policy.rules["benign_codes"])
        for code in sorted(set(command.success + command.errors) - benign):
            code_row = self.policy.row("code", command.name, code)
            if code_row is None:
                return "ask", ""
            if code_row.get("only_if") != "never":
                conditions.append(self._condition(command, code_row, "only_if"))
        conditions += [f"Echoes(v.{f.name}, {f.count})" for f in fields if f.echo]
        return "post", " || ".join(dict.fromkeys(conditions))

    def _condition(self, command: Command, row: Row, key: str) -> str:
        return condition(str(row.get(key)), Scope(self.model, self.policy, command.params, row.place))

    # --- quarantine ------------------------------------------------------------------------------------------

    def _isolate_quarantined(self) -> None:
        """Removes whatever refers to something that is not planned, until nothing does, and what nothing reaches."""
        while True:
            changed = False
            for key, made in list(self.plan.structs.items()):
                missing = self._missing(made.fields)
                if missing:
                    del self.plan.structs[key]
                    self.plan.quarantined[made.name] = Unclassified(made.place, f"{made.name}: {missing}")
                    changed = True
            for command in self.model.commands.values():
                planned = self.plan.commands[command.name]
                missing = self._missing(planned.fields) if planned.on_wire else ""
                if missing:
                    error = Unclassified(command.place, f"{command.name}: {missing}")
                    self.plan.quarantined[command.name] = error
                    self.plan.commands[command.name] = self._quarantined(command, error)
                    changed = True
            if not changed:
                break
        planned_structs = self.plan.structs
        for key, made in planned_structs.items():
            chain = tuple(n for n in made.chain if (n, made.role) in planned_structs)
            planned_structs[key] = replace(made, chain=chain)
        self._keep_reached()

    def _missing(self, fields: tuple[Field, ...]) -> str:
        for field in fields:
            if field.element in ("deep", "union") and (field.type, field.role) not in self.plan.structs:
                return f"{field.type} of {field.name} is not classified"
        return ""

    def _keep_reached(self) -> None:
        """Drops structs that were planned for a command that was quarantined later."""
        plan = self.plan
        waiting = [c for c in plan.commands.values() if c.on_wire]
        reached: set[tuple[str, str]] = set()
        flats: set[str] = set()
        pending: list[CommandPlan | StructPlan | FlatPlan] = list(waiting)
        while pending:
            made = pending.pop()
            keys = [(f.type, f.role) for f in made.fields if f.element in ("deep", "union")]
            if not isinstance(made, FlatPlan):
                keys += [(name, made.role) for name in made.chain]
            new = {k for k in keys if k not in reached}
            new_flats = {f.type for f in made.fields if f.type in plan.flats} - flats
            reached |= new
            flats |= new_flats
            pending += [plan.structs[k] for k in new]
            pending += [plan.flats[n] for n in new_flats]
        plan.structs = {k: s for k, s in plan.structs.items() if k in reached}
        plan.flats = {n: f for n, f in plan.flats.items() if n in flats}
