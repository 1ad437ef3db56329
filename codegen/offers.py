"""What is offered under which name: sides of extensions, what enables a command, levels, numbers of object types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from codegen.model import Handle, Kind, Member, Model, Provider
from codegen.plan import CommandPlan, Plan
from codegen.policy import Policy


@dataclass(frozen=True)
class Extension:
    """An extension that a driver may have, e.g. VK_KHR_surface, and who answers for it."""

    name: str
    side: str  # remote, local, refused
    why: str  # of what is not remote
    is_device: bool
    promoted: tuple[int, int] | None  # to this core version
    cause: str  # policy, platform, quarantine, dependency
    revision: int = 0
    same_kernel: bool = False  # offered only to a client on the server's machine


@dataclass(frozen=True)
class Name:
    """A name that vkGet*ProcAddr may be asked for, e.g. an alias of a command, and what enables it."""

    name: str
    function: str  # that implements it in the client
    command: str  # "" for a platform's, which has no number
    level: str
    physical: bool  # the first parameter is a physical device
    delivers: bool  # what has come for the application meanwhile is given to it when the command ends
    version: tuple[int, int] | None
    extensions: tuple[str, ...]


class Offers:
    """Questions about availability; pure functions of model, policy and plan."""

    def __init__(self, model: Model, policy: Policy, plan: Plan) -> None:
        self.model, self.policy, self.plan = model, policy, plan

    # --- extensions ------------------------------------------------------------------------------------------

    @cached_property
    def extensions(self) -> list[Extension]:
        """Sorted by name; hidden by policy, by platform, because of a quarantine, or by what they depend on."""
        made = {p.name: self._extension(p) for p in self.model.providers if p.is_extension}
        depends = {p.name: p.depends for p in self.model.providers}
        while True:
            hidden = {e.name for e in made.values() if e.side == "refused"}
            more = [
                e for e in made.values() if e.side == "remote" and not satisfiable(depends[e.name], hidden)
            ]
            if not more:
                return [made[name] for name in sorted(made)]
            for each in more:
                needed = next(n for n in re.findall(r"\w+", depends[each.name]) if n in hidden)
                why = f"needs {needed}, which is not offered"
                made[each.name] = Extension(
                    each.name, "refused", why, each.is_device, each.promoted, "dependency", each.revision
                )  # fmt: skip

    def _extension(self, provider: Provider) -> Extension:
        row = self.policy.row("extension", provider.name)
        names = {self.model.canonical(n) for n in provider.commands | provider.types}
        unknown = sorted(names & set(self.plan.quarantined))
        side, why, cause = "remote", "", ""
        if row:
            side, why, cause = str(row.get("side", "remote")), str(row.get("why")), "policy"
        elif provider.platform:
            side, why, cause = "refused", f"belongs to the platform {provider.platform}", "platform"
        elif unknown:
            side, why, cause = "refused", f"{unknown[0]} is not classified", "quarantine"
        versions = {p.name: p.version for p in self.model.providers if p.version}
        promoted = versions.get(provider.promoted_to)
        return Extension(
            provider.name, side, why, provider.is_device, promoted, cause, provider.revision,
            bool(row and row.get("same_kernel")),
        )  # fmt: skip

    # --- what structs and commands need ----------------------------------------------------------------------

    @cached_property
    def _needs(self) -> dict[str, tuple[str, ...] | None]:
        """By canonical name, of what extensions alone bring: those offered, of which one has to be enabled."""
        sides = {e.name: e.side for e in self.extensions}
        providers: dict[str, set[Provider]] = {}
        for provider in self.model.providers:
            for name in provider.commands | provider.types:
                providers.setdefault(self.model.canonical(name), set()).add(provider)
        found: dict[str, tuple[str, ...] | None] = {}
        for name, all_of_it in providers.items():
            of = {sides[p.name] if p.is_extension else "core" for p in all_of_it}
            if not of & {"core", "local"}:
                found[name] = tuple(sorted(p.name for p in all_of_it if sides[p.name] == "remote"))
        return found

    @cached_property
    def need_lists(self) -> list[tuple[str, ...]]:
        """The different lists of extensions, each by its number; the first two are nothing, and what nobody has."""
        return [(), (), *sorted({names for names in self._needs.values() if names})]

    def needs(self, name: str) -> int:
        """The number of what has to be enabled for a struct or command."""
        names = self._needs.get(self.model.canonical(name))
        if names is None:
            return 0
        return self.need_lists.index(names, 2) if names else 1

    def offering(self, name: str) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
        """The first core version that has a struct, if any has, and the extensions offered by a server that do."""
        remote = {e.name for e in self.extensions if e.side == "remote"}
        name = self.model.canonical(name)
        brought = [p for p in self.model.providers if name in {self.model.canonical(t) for t in p.types}]
        versions = [p.version for p in brought if p.version]
        return min(versions, default=None), tuple(sorted(p.name for p in brought if p.name in remote))

    # --- commands --------------------------------------------------------------------------------------------

    @cached_property
    def _device_type(self) -> str:
        """The handle type that device-level commands begin with: what vkGetDeviceProcAddr takes."""
        command = self.model.commands.get("vkGetDeviceProcAddr")
        return command.params[0].type if command else ""

    def _params(self, command: CommandPlan) -> tuple[Member, ...]:
        found = self.model.commands.get(command.name) or self.model.platform_commands[command.name]
        return found.params

    def level(self, command: CommandPlan) -> str:
        """kGlobal, kInstance or kDevice."""
        params = self._params(command)
        if (
            not params
            or params[0].kind is not Kind.HANDLE
            or not self.model.handles[params[0].type].dispatchable
        ):
            return "kGlobal"
        handle: Handle | None = self.model.handles[params[0].type]
        while handle is not None:
            if handle.name == self._device_type:
                return "kDevice"
            handle = self.model.handles.get(handle.parent)
        return "kInstance"

    def has_entry(self, command: CommandPlan) -> bool:
        """Whether an entry point can be made mechanically: new dispatchable objects need a hand."""
        makes_objects = any(f.op == "new_handle" and f.dispatchable for f in command.fields)
        return command.on_wire and not makes_objects and self.level(command) != "kGlobal"

    @cached_property
    def names(self) -> list[Name]:
        """Every name that the client implements, by command."""
        device = self.model.handles.get(self._device_type)
        physical = device.parent if device else ""
        rows: list[Name] = []
        platform = self.plan.platform_commands
        for command in (*self.plan.commands.values(), *platform.values()):
            if not (command.client_override or self.has_entry(command)):
                continue
            own = command.client_override
            function = f"overrides::{own}" if own else f"entry::{command.short}"
            params = self._params(command)
            is_physical = bool(params) and params[0].type == physical
            level = self.level(command)
            delivers = self._delivers(command, level)
            for name in (command.name, *command.aliases):
                version, extensions = self._requirements(name)
                rows.append(
                    Name(
                        name, function, command.short if command.name not in platform else "", level,
                        is_physical, delivers, version, extensions,
                    )  # fmt: skip
                )
        return rows

    def _delivers(self, command: CommandPlan, level: str) -> bool:
        """Not while recording, and where there is still a session when the command ends."""
        params = self._params(command)
        ends = bool(params) and command.destroyed == params[0].name
        return level != "kGlobal" and command.mode != "record" and not ends

    def _requirements(self, name: str) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
        providers = [p for p, _ in self.model.requirements.get(name, ())]
        versions = [p.version for p in providers if p.version]
        extensions = tuple(sorted({p.name for p in providers if p.is_extension}))
        return (min(versions) if versions else None), extensions

    # --- object types ----------------------------------------------------------------------------------------

    def object_types(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Enums that say what a handle hidden in an integer is: each value once, with the handle's short name."""
        groups = {
            other.type
            for struct in self.model.structs.values()
            for member in struct.members
            for other in struct.members
            if member.object_type == other.name
        } | {
            other.type
            for command in self.model.commands.values()
            for param in command.params
            for other in command.params
            if param.object_type == other.name
        }
        return [(group, self._handles_by_value(group)) for group in sorted(groups, key=lambda g: (len(g), g))]

    def _handles_by_value(self, group: str) -> list[tuple[str, str]]:
        known = self.model.enum_groups.get(group, [])
        tag = next((t for t in self.model.tags if group.endswith(t)), "")
        words = re.findall(r"[A-Z][a-z0-9]*", group.removesuffix(tag))
        prefix = "_".join(words).upper() + "_"
        found: dict[int, tuple[str, str]] = {}
        for handle in self.model.handles.values():
            stem = handle.object_type.split("_OBJECT_TYPE_")[-1]
            plain = re.sub(rf"_({'|'.join(self.model.tags)})$", "", stem) if self.model.tags else stem
            candidates = [handle.object_type, f"{prefix}{stem}_{tag}", f"{prefix}{plain}_{tag}"]
            for name in candidates:
                value = self.model.enumerators.get(name)
                if name in known and value is not None and value not in found:
                    found[value] = (name, handle.short)
        if all(name in {h.object_type for h in self.model.handles.values()} for name, _ in found.values()):
            return list(found.values())  # in the order of the handle types
        return [found[value] for value in sorted(found)]


def satisfiable(depends: str, hidden: set[str]) -> bool:
    """Whether ``depends`` can hold without extensions in ``hidden``: ``A+(B,C)`` is A and one of B and C."""
    tokens = re.findall(r"[\w:]+|[+,()]", depends)

    def any_of() -> bool:
        result = all_of()
        while tokens and tokens[0] == ",":
            tokens.pop(0)
            result = all_of() or result
        return result

    def all_of() -> bool:
        result = term()
        while tokens and tokens[0] == "+":
            tokens.pop(0)
            result = term() and result
        return result

    def term() -> bool:
        token = tokens.pop(0)
        if token != "(":
            return token not in hidden
        result = any_of()
        tokens.pop(0)
        return result

    return any_of() if tokens else True
