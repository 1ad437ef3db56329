"""Renders the plan through the templates: the only module that knows Jinja, and the one that writes files."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from codegen.arguments import Arguments
from codegen.checks import Checks
from codegen.layout import closing, lay_out
from codegen.model import Member, Model
from codegen.mutants import Mutant
from codegen.offers import Offers
from codegen.plan import CommandPlan, Field, Plan, StructPlan
from codegen.policy import Policy
from codegen.value_names import ValueNames, is_shown, requested
from codegen.venus import Venus

# What is laid out for a machine.
TABLES = ("tests/", "trace/printers.cpp", "venus/structs.cpp", "venus/commands.cpp")
ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"


@dataclass(frozen=True)
class Generated:
    """One file to be written, relative to the output folder."""

    path: str
    text: str

# A struct, the first core version that has it, and the offered extensions that do.
Known = tuple[StructPlan, tuple[int, int] | None, tuple[str, ...]]


class Renderer:
    """Turns model, policy and plan into files."""

    def __init__(self, model: Model, policy: Policy, plan: Plan, mutants: list[Mutant] | None = None) -> None:
        self.model, self.policy, self.plan = model, policy, plan
        self.offers = Offers(model, policy, plan)
        self.mutants = mutants or []
        self.commands = list(plan.commands.values())
        self.structs = list(plan.structs.values())
        self.checks = Checks(model, policy)
        self.env = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            line_statement_prefix="%%",
        )
        self.env.globals.update(
            source=" and ".join(model.files) + f" {model.header_version}",
            model=model,
            mutants=self.mutants,
            mutants_of=lambda planned: [(m.number, m.faulty) for m in self.mutants if m.original is planned],
            chain_table=chain_table,
            codec_name=codec_name,
            sorted_chain=self._sorted_chain,
            nothing_to_encode=nothing_to_encode,
            presence_bits=presence_bits,
            bounds=bounds,
            anded=anded,
            as_operand=as_operand,
            runs=runs,
            server_row=self._server_row,
            has_outputs=has_outputs,
            echo_tag=echo_tag,
            only_values=only_values,
            has_entry=self.offers.has_entry,
            level=self.offers.level,
            needs=self.offers.needs,
            is_taken=is_taken,
            is_stored=is_stored,
            checks_of=lambda c: self.checks.by_command.get(c.name, []),
            call_arguments=call_arguments,
            short=short,
            version=_version,
            property_type=self._property_type,
            destroyed_type=lambda c: _field(c, c.destroyed).handle,
            destroyed_count=lambda c: _field(c, c.destroyed).count,
        )
        finish = self.env.get_template("macros/finish.j2").module
        self.env.globals["finish"] = finish.finish  # type: ignore[attr-defined]

    # --- questions that templates ask ------------------------------------------------------------------------

    def _sorted_chain(self, made: StructPlan | CommandPlan) -> list[str]:
        members = [self.plan.structs[name, made.role] for name in made.chain]
        return [codec_name(m) for m in sorted(members, key=lambda m: self.model.enumerators[m.s_type] or 0)]

    def _known_chains(self) -> list[tuple[StructPlan, list[Known]]]:
        """Output chains that policy names, with those of their structs that hold values alone, sorted by sType."""
        made = []
        for owner in self.structs:
            row = self.policy.row("struct", owner.name)
            if owner.role != "out" or not (row and row.get("known_chain")):
                continue
            members = [self.plan.structs[name, "out"] for name in owner.chain]
            known = [(m, *self.offers.offering(m.name)) for m in members if only_values(m)]
            offered = [each for each in known if each[1] or each[2]]
            offered.sort(key=lambda each: self.model.enumerators[each[0].s_type] or 0)
            made.append((owner, offered))
        return made

    def _property_type(self, field: Field) -> str:
        """The sType of the properties struct that a length comes from."""
        return self.model.structs[field.device_property.split("::")[0]].s_type

    def _is_alongside(self, command: CommandPlan) -> bool:
        """Whether a program may call it beside any recording: it destroys nothing, and what the program has to keep for it
        alone (externsync) is of no type that recorded commands change or look into."""
        raw = self.model.commands[command.name]
        if raw.recorded or command.mode == "record" or command.destroyed:
            return False
        apart = set(self.policy.rules["alongside_types"])
        if command.created:
            apart.update(self.policy.rules["alongside_pools"])
        return all(self._synchronised(p, ()) <= apart for p in raw.params)

    def _is_light(self, command: CommandPlan) -> bool:
        """Whether nothing is left to do for it when a device's driver has been called, and no recording waits for that."""
        device = command.fields[0].handle == "kDevice" if command.fields else False
        return device and command.mode == "post" and is_called_only(command) and self._is_alongside(command)

    def _synchronised(self, member: Member, within: tuple[str, ...]) -> set[str]:
        """The types of what externsync names: of a parameter, of members of the structs behind it, or at the end of a path
        like ``pSubmits[].pWaitSemaphores[]``; a path that leads nowhere is its own."""
        made = set()
        struct = self.model.structs.get(member.type)
        if member.extern_sync in ("true", "maybe"):
            made.add(member.type)
        elif member.extern_sync:
            found: Member | None = member
            for name in re.split(r"\.|->", member.extern_sync.replace("[]", ""))[1:]:
                owner = self.model.structs.get(found.type) if found else None
                found = owner.member(name) if owner else None
            made.add(found.type if found else member.extern_sync)
        if struct and struct.name not in within:
            for each in struct.members:
                made |= self._synchronised(each, (*within, struct.name))
        return made

    def _server_row(self, command: CommandPlan) -> str:
        """What the server's table says of a command: what is not said is null or false."""
        checked = command.name in self.checks.by_command
        result = f"ResultOf<wire::{command.short}Args>" if command.returns == "VkResult" else ""
        flags = {
            "overridden": command.server_override, "slow": command.slow, "after_users": command.after_users,
            "submit": command.submit, "accesses": command.memory == "accesses",
            "records": command.mode == "record" and not is_plain(command), "plain": is_plain(command),
            "learns": command.learn, "alongside": self._is_alongside(command), "light": self._is_light(command),
        }  # fmt: skip
        check = f"check::{command.short}" if checked else ""
        take = f"take::{command.short}" if is_taken(command) else ""
        values = {"invoke": f"invoke::{command.short}", "check": check, "take": take, "result": result}
        values |= {name: "true" for name, set_ in flags.items() if set_}
        if is_plain(command) or self._is_light(command):
            values["first_at"] = str(command.fields[0].request_offset or "")
        ended = _field(command, command.destroyed).handle if command.destroyed else ""
        values["destroys"] = f"HandleType::{ended}" if ended else ""
        values["needs"] = str(self.offers.needs(command.name) or "")
        return ", ".join(f".{name} = {value}" for name, value in values.items() if value)

    # --- files -----------------------------------------------------------------------------------------------

    def render(self, template: str, path: str, **values: Any) -> Generated:
        text = self.env.get_template(template).render(**values)
        laid = path.endswith((".h", ".cpp")) and not path.startswith(TABLES)
        return Generated(path, lay_out(text) if laid else text)

    def files(self) -> list[Generated]:
        """Every generated file, sorted by path."""
        made = self._vk() + self._wire() + self._client() + self._server() + self._venus() + self._trace() + self._tests()
        made.sort(key=lambda g: g.path)
        manifest = [
            f"registry {' '.join(self.model.files)}",
            f"header_version {self.model.header_version}",
            f"fingerprint {self.model.fingerprint:#x}",
        ] + [g.path for g in made]
        return [*made, Generated("MANIFEST", "\n".join(manifest) + "\n")]

    def _vk(self) -> list[Generated]:
        versions = [p.version for p in self.model.providers if p.version]
        chains = self._known_chains()
        values = {
            "commands": self.commands,
            "handles": list(self.model.handles.values()),
            "core": max(versions, default=(1, 0)),
            "object_types": self.offers.object_types(),
            "extensions": self.offers.extensions,
            "need_lists": self.offers.need_lists,
            "known_chains": chains,
            "known_lists": sorted({names for _, known in chains for _, _, names in known if names}),
        }
        stems = ("commands", "dispatch_table", "extensions")
        return [self.render(f"vk/{s}.{e}.j2", f"vk/{s}.{e}", **values) for s in stems for e in ("h", "cpp")]

    def families(self) -> list[str]:
        return sorted({c.family for c in self.commands if c.on_wire})

    def _family(self, template: str, suffix: str, chosen: list[CommandPlan]) -> list[Generated]:
        """One file per family of commands, also for families that ``chosen`` has nothing of."""
        made = []
        for family in self.families():
            commands = [c for c in chosen if c.family == family]
            path = f"{template.split('/')[0]}/{family}.{suffix}"
            made.append(self.render(template, path, family=family, commands=commands))
        return made

    def _wire(self) -> list[Generated]:
        flats = list(self.plan.flats.values())
        on_wire = [c for c in self.commands if c.on_wire]
        owners: list[StructPlan | CommandPlan] = [s for s in self.structs if s.chain]
        owners += [c for c in on_wire if c.chain]
        keys = {(name, s.role) for s in owners for name in s.chain}
        members = [s for s in self.structs if s.key in keys]
        values = {"flats": flats, "structs": self.structs, "owners": owners, "members": members}
        values |= {"commands": self.commands, "families": self.families(), "renamed": self.plan.renamed}
        names = ("structs.h", "chains.cpp", "codecs.h", "codecs.cpp", "all.h")
        made = [self.render(f"wire/{name}.j2", f"wire/{name}", **values) for name in names]
        for family in sorted({s.family for s in self.structs} | {f.family for f in flats}):
            values = {
                "flats": [f for f in flats if f.family == family],
                "structs": [s for s in self.structs if s.family == family],
            }
            made.append(self.render("wire/family_structs.cpp.j2", f"wire/{family}_structs.cpp", **values))
        for suffix in ("h", "cpp"):
            made += self._family(f"wire/family.{suffix}.j2", suffix, on_wire)
        return made

    def _client(self) -> list[Generated]:
        lists = list(dict.fromkeys(n.extensions for n in self.offers.names if n.extensions))
        values = {
            "commands": self.commands,
            "platform_commands": list(self.plan.platform_commands.values()),
            "names": sorted(self.offers.names, key=lambda n: n.name),
            "extension_lists": lists,
        }
        files = ("entry_points.h", "overrides.h", "name_table.h", "name_table.cpp")
        made = [self.render(f"client/{name}.j2", f"client/{name}", **values) for name in files]
        with_entry = [c for c in self.commands if self.offers.has_entry(c)]
        return made + self._family("client/family.cpp.j2", "cpp", with_entry)

    def _server(self) -> list[Generated]:
        files = ("commands.h", "commands.cpp", "invoke.h", "overrides.h", "writes.h", "writes.cpp")
        made = [self.render(f"server/{name}.j2", f"server/{name}", commands=self.commands) for name in files]
        return made + self._family("server/family.cpp.j2", "cpp", [c for c in self.commands if c.on_wire])

    def _trace(self) -> list[Generated]:
        """What shows requests to people."""
        names = ValueNames(self.model)
        flats, structs, members = requested(self.plan)
        values: dict[str, Any] = {
            "commands": self.commands,
            "structs": structs,
            "flats": flats,
            "members": members,
            "is_union": lambda name: name in self.plan.flats and self.plan.flats[name].is_union,
            "is_shown": is_shown,
            "values_of": names.of,
            "is_mask": names.is_mask,
            "value_names": names.all(),
        }
        return [self.render(f"trace/{name}.j2", f"trace/{name}", **values) for name in ("printers.h", "printers.cpp")]

    def _venus(self) -> list[Generated]:
        if not self.policy.venus:
            return []
        venus = Venus(self.model, self.policy, self.plan)
        tables = list(venus.structs.values())
        chained = [(self.model.enumerators[t.s_type] or 0, t.name) for t in tables if t.s_type]
        chained += [(s.s_type, s.name) for s in venus.own]
        values = {"venus": venus, "structs": tables, "chained": sorted(chained)}
        names = ("mesa.h", "structs.h", "structs.cpp", "commands.cpp")
        return [self.render(f"venus/{name}.j2", f"venus/{name}", **values) for name in names]

    def _tests(self) -> list[Generated]:
        covered = {c.name for c in self.commands if c.on_wire}
        arguments = Arguments(self.model, self.policy, covered, set(self.plan.quarantined))
        structs = list(arguments.structs.values())
        flats = {f.name for f in self.plan.flats.values() if not f.is_union}
        values: dict[str, Any] = {
            "structs": structs,
            "commands": arguments.commands,
            "enums": arguments.enums,
            "travelling": sorted({s.name for s in self.structs} | flats),
        }
        names = ("structs.h", "commands.cpp", "commands.cmake")
        made = [self.render(f"tests/{name}.j2", f"tests/{name}", **values) for name in names]
        families = {c.family for c in arguments.commands} | {"misc"}
        for family in sorted(families):  # structs of families without commands go with those of no family
            values = {
                "structs": [s for s in structs if (s.family if s.family in families else "misc") == family],
                "commands": [c for c in arguments.commands if c.family == family],
            }
            made.append(self.render("tests/family.cpp.j2", f"tests/{family}.cpp", **values))
        if self.mutants:
            made.append(self.render("tests/mutants.cpp.j2", "tests/mutants.cpp"))
        return made


def short(name: str) -> str:
    """A command's name without its prefix."""
    return name.removeprefix("vk")


def _version(version: tuple[int, int] | None) -> str:
    return f"VK_MAKE_API_VERSION(0, {version[0]}, {version[1]}, 0)" if version else "0"


def chain_table(made: StructPlan | CommandPlan) -> str:
    """The name of the table of structs that may stand in this one's chain."""
    return f"{codec_name(made)}Chain" if made.chain else "ChainTable()"


def codec_name(made: StructPlan | CommandPlan) -> str:
    stem = made.short if isinstance(made, CommandPlan) else made.name.removeprefix("Vk")
    return f"k{stem}{made.role.capitalize()}"


def nothing_to_encode(field: Field) -> bool:
    """Outputs whose presence bit says everything."""
    return field.direction == "out" and field.op not in ("new_handle", "chain") and field.element != "deep"


def presence_bits(plan: CommandPlan | StructPlan, word: int) -> list[Field]:
    """Fields whose presence one word of the bitmap tells, those first that need only be there."""
    own = [f for f in plan.fields if f.present >= 0 and f.present // 32 == word]
    return sorted(own, key=lambda f: f.condition != "")


def runs(fields: tuple[Field, ...], reply: bool) -> list[list[Field]]:
    """Fields of the fixed part of request or reply; plain values that lie side by side are together."""
    made: list[list[Field]] = []
    end = -1
    for field in fields:
        offset = field.reply_offset if reply else field.request_offset
        if offset < 0:
            continue
        plain = field.op != "opaque" and field.element in ("scalar", "copy") and not field.condition
        plain = plain and not field.pointers and not field.extent
        if plain and offset == end:
            made[-1].append(field)
        else:
            made.append([field])
        end = offset + field.size if plain else -1
    return made


def bounds(plan: CommandPlan | StructPlan, count: Field) -> bool:
    """Whether outputs are as long as ``count`` says before the callee overwrites it."""
    return any(f.capacity == count.name for f in plan.fields)


def anded(condition: str) -> str:
    """A further condition for an ``if``, e.g. `` && v.kind == 1``."""
    plain = condition
    while plain.startswith("(") and closing(plain, 0) == len(plain) - 1:
        plain = plain[1:-1]
    if not plain:
        return ""
    alone = "||" not in plain and "?" not in plain
    negated = plain.startswith("!(") and closing(plain, 1) == len(plain) - 1
    return f" && {plain}" if alone or negated else f" && ({plain})"


def as_operand(condition: str) -> str:
    """A condition before `?`: several comparisons stand in brackets."""
    return f"({condition})" if "||" in condition or "&&" in condition else condition


def has_outputs(plan: CommandPlan | StructPlan) -> bool:
    """Whether anything follows the fixed part of a reply."""
    return any(f.has_reply and f.reply_offset < 0 and f.op not in ("none", "new_handle") for f in plan.fields)


def is_plain(command: CommandPlan) -> bool:
    """Whether the server, when it has called the driver, has nothing left to do for a command of living objects."""
    return command.mode == "record" and is_called_only(command)


def is_called_only(command: CommandPlan) -> bool:
    """Whether the driver is called and that is all, if all objects that it names live."""
    special = command.server_override or command.slow or command.after_users or command.submit or command.destroyed
    more = command.created or command.learn or command.measured or command.memory == "accesses"
    return command.returns == "void" and not special and not more


def is_taken(command: CommandPlan) -> bool:
    """Whether a plain command is made of values and handles, and of arrays of such."""
    elements = ("scalar", "size", "handle", "copy", "byte")
    return is_plain(command) and all(
        f.has_request and not f.has_reply and f.pointers <= 1 and f.op != "opaque" and f.element in elements
        for f in command.fields
    )


def is_stored(command: CommandPlan) -> bool:
    """Whether a command is recorded by a row of stores."""
    conditions = any(f.condition for f in command.fields)
    return command.mode == "record" and command.returns == "void" and is_fixed(command) and not conditions


def is_fixed(command: CommandPlan) -> bool:
    """Whether all that a command says lies in the fixed part of its request."""
    fixed = all(f.request_offset >= 0 and not f.pointers and f.op != "opaque" for f in command.fields)
    return fixed and not command.words and all(f.element in ("scalar", "size", "handle", "copy") for f in command.fields)


def echo_tag(plan: CommandPlan | StructPlan, field: Field) -> str:
    """Names an echoing member to sides of other registries: the same wherever the registry spells it the same."""
    return f"{zlib.crc32(f'{plan.name}.{field.name}'.encode()):#010x}u"


def only_values(plan: StructPlan) -> bool:
    """Whether an output holds nothing but values: no pointers, no handles, no counts that travel both ways."""
    return plan.role == "out" and all(
        f.op == "chain"
        or (f.direction == "out" and f.pointers == 0 and f.element in ("scalar", "copy", "flat", "size"))
        for f in plan.fields
    )


def call_arguments(command: CommandPlan) -> str:
    """Arguments of the driver's entry point, the allocator left out."""
    parameters = [f for f in command.fields if not f.measures]
    return ", ".join("nullptr" if f.op == "none" and f.pointers else f"v.{f.name}" for f in parameters)


def _field(command: CommandPlan, name: str) -> Field:
    return next(f for f in command.fields if f.name == name)


def write(files: list[Generated], output: Path) -> int:
    """Writes what differs, removes what no longer belongs; returns how many files changed."""
    wanted = {g.path for g in files}
    changed = 0
    for file in files:
        path = output / file.path
        if not path.exists() or path.read_text() != file.text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text)
            changed += 1
    for path in orphans(wanted, output):
        path.unlink()
        changed += 1
    return changed


def orphans(wanted: set[str], output: Path) -> list[Path]:
    """Files below the generated folders that no template makes."""
    folders = [output / name for name in ("vk", "wire", "client", "server", "trace", "tests")]
    found = [p for f in folders if f.exists() for p in f.rglob("*") if p.is_file()]
    return sorted(p for p in found if str(p.relative_to(output)) not in wanted)
