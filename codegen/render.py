"""Renders the plan through the templates: the only module that knows Jinja, and the one that writes files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from codegen.arguments import Arguments
from codegen.model import Handle, Kind, Model
from codegen.plan import CommandPlan, Field, Plan, StructPlan
from codegen.policy import Policy

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"


@dataclass(frozen=True)
class Generated:
    """One file to be written, relative to the output folder."""

    path: str
    text: str


class Renderer:
    """Turns model, policy and plan into files."""

    def __init__(self, model: Model, policy: Policy, plan: Plan) -> None:
        self.model, self.policy, self.plan = model, policy, plan
        self.commands = list(plan.commands.values())
        self.structs = [s for k, s in plan.structs.items() if k[0] not in plan.quarantined]
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
            chain_table=chain_table,
            cast_chain=self._cast_chain,
            codec_name=codec_name,
            sorted_chain=self._sorted_chain,
            nothing_to_encode=nothing_to_encode,
            has_outputs=has_outputs,
            has_entry=self.has_entry,
            level=self.level,
            call_arguments=self._call_arguments,
            adopted=_adopted,
            destroyed_type=lambda c: _field(c, c.destroyed).handle,
            destroyed_count=lambda c: _field(c, c.destroyed).count,
        )
        finish = self.env.get_template("macros/finish.j2").module
        self.env.globals["finish"] = finish.finish  # type: ignore[attr-defined]

    # --- questions that templates ask --------------------------------------------------------------------------

    def _cast_chain(self, struct: StructPlan) -> str:
        member = self.model.structs[struct.name].member("pNext")
        assert member is not None
        return "" if member.kind is Kind.VOID else f"({member.type}*)"

    def _sorted_chain(self, struct: StructPlan) -> list[str]:
        members = [self.plan.structs[name, struct.role] for name in struct.chain]
        return [codec_name(m) for m in sorted(members, key=lambda m: self.model.enumerators[m.s_type] or 0)]

    def level(self, command: CommandPlan) -> str:
        first = self.model.commands[command.name].params[0]
        if first.kind is not Kind.HANDLE or not self.model.handles[first.type].dispatchable:
            return "kGlobal"
        handle: Handle | None = self.model.handles[first.type]
        while handle is not None:
            if handle.object_type == "VK_OBJECT_TYPE_DEVICE":
                return "kDevice"
            handle = self.model.handles.get(handle.parent)
        return "kInstance"

    def has_entry(self, command: CommandPlan) -> bool:
        """Whether an entry point can be made mechanically: new dispatchable objects need a hand."""
        makes_objects = any(f.op == "new_handle" and f.dispatchable for f in command.fields)
        return command.on_wire and not makes_objects and self.level(command) != "kGlobal"

    def _call_arguments(self, command: CommandPlan) -> str:
        """Arguments of the driver's entry point, the allocator left out."""
        names = []
        for field in command.fields:
            names.append("nullptr" if field.op == "none" and field.pointers else f"v.{field.name}")
        return ", ".join(names)

    # --- files -------------------------------------------------------------------------------------------------

    def render(self, template: str, path: str, **values: Any) -> Generated:
        return Generated(path, self.env.get_template(template).render(**values))

    def files(self) -> list[Generated]:
        """Every generated file, sorted by path."""
        made = self._vk() + self._wire() + self._client() + self._server() + self._tests()
        made.sort(key=lambda g: g.path)
        manifest = [
            f"registry {' '.join(self.model.files)}",
            f"header_version {self.model.header_version}",
            f"fingerprint {self.model.fingerprint:#x}",
        ] + [g.path for g in made]
        return [*made, Generated("MANIFEST", "\n".join(manifest) + "\n")]

    def _vk(self) -> list[Generated]:
        versions = [p.version for p in self.model.providers if p.version]
        handles = list(self.model.handles.values())
        both = {"commands": self.commands, "handles": handles, "core": max(versions), "report_types": self._report_types()}
        made = [self.render(f"vk/{n}.j2", f"vk/{n}", **both) for n in ("commands.h", "commands.cpp")]
        for name in ("dispatch_table.h", "dispatch_table.cpp"):
            made.append(self.render(f"vk/{name}.j2", f"vk/{name}", commands=self.commands))
        for name in ("extensions.h", "extensions.cpp"):
            made.append(self.render(f"vk/{name}.j2", f"vk/{name}", extensions=self.extensions()))
        return made

    def _report_types(self) -> list[tuple[str, str]]:
        """Debug report's own enumerators for handle types, each value once."""
        found: dict[int, tuple[str, str]] = {}
        for handle in self.model.handles.values():
            stem = handle.object_type.removeprefix("VK_OBJECT_TYPE_")
            for suffix in ("", "_KHR", "_EXT", "_NV", "_NVX"):
                base = stem.removesuffix(suffix) if suffix else stem
                for tail in ("_EXT", f"{suffix}_EXT"):
                    name = f"VK_DEBUG_REPORT_OBJECT_TYPE_{base}{tail}"
                    value = self.model.enumerators.get(name)
                    if value is not None and value not in found:
                        found[value] = (name, handle.short)
        return [found[value] for value in sorted(found)]

    def extensions(self) -> list[dict[str, Any]]:
        """What extensions.cpp lists: hidden by policy, by platform, or because something of it is quarantined."""
        rows = []
        for provider in self.model.providers:
            if provider.version or not provider.name.startswith("VK_") or "VERSION" in provider.name:
                continue
            row = self.policy.row("extension", provider.name)
            names = {self.model.canonical(n) for n in provider.commands | provider.types}
            unknown = sorted(names & set(self.plan.quarantined))
            side, why = "kRemote", ""
            if row:
                side, why = f"k{str(row.get('side')).capitalize()}", str(row.get("why"))
            elif provider.platform:
                side, why = "kRefused", f"belongs to the platform {provider.platform}"
            elif unknown:
                side, why = "kRefused", f"{unknown[0]} is not classified"
            promoted = provider.promoted_to.removeprefix("VK_VERSION_").split("_")
            is_core = provider.promoted_to.startswith("VK_VERSION_")
            rows.append({
                "name": provider.name, "side": side, "device": provider.is_device,
                "promoted": f"VK_MAKE_API_VERSION(0, {promoted[0]}, {promoted[1]}, 0)" if is_core else "0",
                "why": f'"{why}"' if why else "nullptr",
            })  # fmt: skip
        return sorted(rows, key=lambda r: str(r["name"]))

    def families(self) -> list[str]:
        return sorted({c.family for c in self.commands if c.on_wire})

    def _wire(self) -> list[Generated]:
        flats = list(self.plan.flats.values())
        owners = [s for s in self.structs if s.chain]
        keys = {(name, s.role) for s in owners for name in s.chain}
        members = [s for s in self.structs if s.key in keys]
        made = [self.render("wire/structs.h.j2", "wire/structs.h", flats=flats, structs=self.structs)]
        made.append(self.render("wire/chains.cpp.j2", "wire/chains.cpp", owners=owners, members=members))
        made.append(self.render("wire/codecs.h.j2", "wire/codecs.h"))
        made.append(self.render("wire/codecs.cpp.j2", "wire/codecs.cpp", commands=self.commands))
        made.append(self.render("wire/all.h.j2", "wire/all.h", families=self.families()))
        struct_families = sorted({s.family for s in self.structs} | {f.family for f in flats})
        for family in struct_families:
            values = {
                "flats": [f for f in flats if f.family == family],
                "structs": [s for s in self.structs if s.family == family],
            }
            made.append(self.render("wire/family_structs.cpp.j2", f"wire/{family}_structs.cpp", **values))
        for family in self.families():
            commands = [c for c in self.commands if c.family == family and c.on_wire]
            for suffix in ("h", "cpp"):
                made.append(
                    self.render(f"wire/family.{suffix}.j2", f"wire/{family}.{suffix}", family=family, commands=commands)
                )
        return made

    def _client(self) -> list[Generated]:
        lists, names = self._names()
        made = [
            self.render("client/entry_points.h.j2", "client/entry_points.h", commands=self.commands),
            self.render("client/overrides.h.j2", "client/overrides.h", commands=self.commands),
            self.render("client/name_table.h.j2", "client/name_table.h"),
            self.render(
                "client/name_table.cpp.j2", "client/name_table.cpp", commands=self.commands, names=names,
                extension_lists=lists,
            ),
        ]  # fmt: skip
        for family in self.families():
            commands = [c for c in self.commands if c.family == family and self.has_entry(c)]
            made.append(
                self.render("client/family.cpp.j2", f"client/{family}.cpp", family=family, commands=commands)
            )
        return made

    def _names(self) -> tuple[list[tuple[str, ...]], list[dict[str, str]]]:
        """Name table entries, and the extension lists that they refer to by index."""
        lists: dict[tuple[str, ...], int] = {}
        rows: list[dict[str, str]] = []
        for command in self.commands:
            if not (command.client_override or self.has_entry(command)):
                continue
            space = "overrides" if command.client_override else "entry"
            first = self.model.commands[command.name].params[0]
            handle = self.model.handles.get(first.type)
            physical = handle is not None and handle.object_type == "VK_OBJECT_TYPE_PHYSICAL_DEVICE"
            for name in (command.name, *command.aliases):
                version, extensions = self._requirements(name)
                index = lists.setdefault(extensions, len(lists)) if extensions else -1
                core = f"VK_MAKE_API_VERSION(0, {version[0]}, {version[1]}, 0)" if version else "0"
                array = f"kExtensions{index}" if extensions else "nullptr"
                rows.append({
                    "name": name, "function": f"{space}::{command.short}", "command": command.short,
                    "level": self.level(command), "physical": "true" if physical else "false",
                    "enable": f"{{{core}, {array}, {len(extensions)}}}",
                })  # fmt: skip
        return list(lists), sorted(rows, key=lambda r: r["name"])

    def _requirements(self, name: str) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
        providers = [p for p, _ in self.model.requirements.get(name, ())]
        versions = [p.version for p in providers if p.version]
        extensions = tuple(sorted({p.name for p in providers if not p.version}))
        return (min(versions) if versions else None), extensions

    def _server(self) -> list[Generated]:
        made = [
            self.render(f"server/{n}.j2", f"server/{n}", commands=self.commands)
            for n in ("commands.h", "commands.cpp", "invoke.h", "overrides.h")
        ]
        for family in self.families():
            commands = [c for c in self.commands if c.family == family and c.on_wire]
            made.append(
                self.render("server/family.cpp.j2", f"server/{family}.cpp", family=family, commands=commands)
            )
        return made


    def _tests(self) -> list[Generated]:
        covered = {c.name for c in self.commands if c.on_wire}
        arguments = Arguments(self.model, self.policy, covered, set(self.plan.quarantined))
        structs = list(arguments.structs.values())
        travelling = sorted({s.name for s in self.structs} | {f.name for f in self.plan.flats.values() if not f.is_union})
        values = {"structs": structs, "commands": arguments.commands, "enums": arguments.enums, "travelling": travelling}
        made = [self.render(f"tests/{n}.j2", f"tests/{n}", **values) for n in ("structs.h", "commands.cpp", "commands.cmake")]
        for family in sorted({s.family for s in structs} | {c.family for c in arguments.commands}):
            values = {
                "structs": [s for s in structs if s.family == family],
                "commands": [c for c in arguments.commands if c.family == family],
            }
            made.append(self.render("tests/family.cpp.j2", f"tests/{family}.cpp", **values))
        return made


def chain_table(struct: StructPlan) -> str:
    """The name of the table of structs that may stand in this one's chain."""
    return f"k{struct.name.removeprefix('Vk')}{struct.role.capitalize()}Chain" if struct.chain else "ChainTable()"


def codec_name(struct: StructPlan) -> str:
    return f"k{struct.name.removeprefix('Vk')}{struct.role.capitalize()}"


def nothing_to_encode(field: Field) -> bool:
    """Outputs whose presence bit says everything."""
    return field.direction == "out" and field.op not in ("new_handle", "chain") and field.element != "deep"


def has_outputs(plan: CommandPlan | StructPlan) -> bool:
    """Whether anything follows the fixed part of a reply."""
    return any(
        f.has_reply and f.reply_offset < 0 and f.op not in ("none", "new_handle") for f in plan.fields
    )


def _field(command: CommandPlan, name: str) -> Field:
    return next(f for f in command.fields if f.name == name)


def _adopted(field: Field) -> str:
    count = f"static_cast<uint32_t>({field.count})"
    return count if field.count == "1" else f"v.{field.name} == nullptr ? 0 : {count}"


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
    for path in differences_orphans(wanted, output):
        path.unlink()
        changed += 1
    return changed


def differences_orphans(wanted: set[str], output: Path) -> list[Path]:
    """Files below the generated folders that no template makes."""
    folders = [output / name for name in ("vk", "wire", "client", "server", "tests")]
    found = [p for f in folders if f.exists() for p in f.rglob("*") if p.is_file()]
    return sorted(p for p in found if str(p.relative_to(output)) not in wanted)


def clean(output: Path) -> None:
    """Removes a folder of generated files."""
    shutil.rmtree(output, ignore_errors=True)
