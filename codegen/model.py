"""The registry with its meaning: aliases resolved, platform parts set aside, types sized, availability known.

Everything downstream (policy, analysis, plan, and the tests' argument generation) reads this model and never the XML.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from enum import Enum

from codegen.errors import InputError, Place
from codegen.registry import RawMember, RawProvider, Registry

# Sizes of C's types on the wire, in bytes. `size_t` travels as 8 bytes whatever the ABI.
C_SIZES = {
    "char": 1, "int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int": 4, "int32_t": 4,
    "uint32_t": 4, "float": 4, "int64_t": 8, "uint64_t": 8, "double": 8, "size_t": 8,
}  # fmt: skip


class Kind(Enum):
    """What a type is, as far as transport is concerned."""

    SCALAR = "scalar"  # numbers, enums, bit masks
    HANDLE = "handle"
    STRUCT = "struct"
    UNION = "union"
    FUNCTION = "function"
    VOID = "void"
    OPAQUE = "opaque"  # of another API: windows, displays, media


@dataclass(frozen=True)
class Scalar:
    """A number of ``size`` bytes, e.g. ``Scalar("VkSampleCountFlagBits", 4, enum=True)``."""

    name: str
    size: int
    is_enum: bool = False
    portable: bool = True  # false: the size depends on the ABI


@dataclass(frozen=True)
class Handle:
    """A handle type, e.g. VkBuffer, whose parent is VkDevice."""

    name: str
    dispatchable: bool
    parent: str
    object_type: str  # the enumerator that names it
    place: Place

    @property
    def short(self) -> str:
        return self.name.removeprefix("Vk")


@dataclass(frozen=True)
class Member:
    """A member or parameter; ``length`` is C, ``altlen`` preferred, "" for a single value."""

    name: str
    type: str
    kind: Kind
    const: bool
    pointers: int
    dimensions: tuple[str, ...]
    extent: int  # product of the dimensions, 0 without
    bits: int
    length: tuple[str, ...]  # one entry per pointer level that is an array
    optional: tuple[bool, ...]
    selector: str
    selection: tuple[str, ...]
    object_type: str  # name of the member that says what this integer is a handle of
    stride: str
    unchecked: bool  # noautovalidity
    extern_sync: str  # what the program must not use at the same time: "true" for it itself, else a path to a member
    values: str
    valid_structs: tuple[str, ...]  # of an output without a type of its own
    declaration: str
    place: Place

    @property
    def is_string(self) -> bool:
        return self.pointers > 0 and bool(self.length) and self.length[-1] == "null-terminated"


@dataclass(frozen=True)
class Struct:
    """A struct or union that the headers define."""

    name: str
    members: tuple[Member, ...]
    is_union: bool
    returned_only: bool
    extends: tuple[str, ...]
    s_type: str  # value of its sType, "" without
    place: Place

    def member(self, name: str) -> Member | None:
        return next((m for m in self.members if m.name == name), None)

    @property
    def has_chain(self) -> bool:
        return bool(self.s_type)


@dataclass(frozen=True)
class Command:
    """A command, aliases collapsed into it."""

    name: str
    aliases: tuple[str, ...]
    params: tuple[Member, ...]
    returns: str
    success: tuple[str, ...]
    errors: tuple[str, ...]
    recorded: bool  # into a command buffer
    place: Place

    @property
    def short(self) -> str:
        return self.name.removeprefix("vk")

    def param(self, name: str) -> Member | None:
        return next((p for p in self.params if p.name == name), None)


@dataclass(frozen=True)
class Provider:
    """A core version or extension and the names that it brings."""

    name: str
    version: tuple[int, int] | None  # of a core version
    is_extension: bool  # that a driver may offer
    is_device: bool  # a device extension
    is_beta: bool
    platform: str
    promoted_to: str
    depends: str  # on other extensions and versions, e.g. "(VK_KHR_a+VK_KHR_b),VK_VERSION_1_1"
    commands: frozenset[str]
    types: frozenset[str]
    place: Place
    revision: int = 0  # of an extension's specification
    number: int = 0  # of an extension


@dataclass
class Model:
    """Everything, by canonical name and in the registry's order."""

    header_version: int
    files: tuple[str, ...]
    scalars: dict[str, Scalar] = field(default_factory=dict)
    handles: dict[str, Handle] = field(default_factory=dict)
    structs: dict[str, Struct] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    platform_commands: dict[str, Command] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    constants: dict[str, int] = field(default_factory=dict)
    enumerators: dict[str, int | None] = field(default_factory=dict)
    enum_groups: dict[str, list[str]] = field(default_factory=dict)
    providers: list[Provider] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    requirements: dict[str, list[tuple[Provider, str]]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def canonical(self, name: str) -> str:
        """``name`` with aliases resolved."""
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def kind(self, name: str) -> Kind:
        """What ``name`` (canonical) is."""
        if name in self.scalars:
            return Kind.SCALAR
        if name in self.handles:
            return Kind.HANDLE
        if name in self.structs:
            return Kind.UNION if self.structs[name].is_union else Kind.STRUCT
        if name in self.functions:
            return Kind.FUNCTION
        return Kind.VOID if name == "void" else Kind.OPAQUE

    @property
    def fingerprint(self) -> int:
        """64 bits that two registries share only when commands, structs and handles are the same."""
        text = [f"{c.name}({','.join(p.declaration for p in c.params)})" for c in self.commands.values()]
        text += [f"{s.name}{{{','.join(m.declaration for m in s.members)}}}" for s in self.structs.values()]
        text += list(self.handles)
        return int.from_bytes(hashlib.sha256("\n".join(text).encode()).digest()[:8], "little")


def build_model(registry: Registry) -> Model:
    """The model of ``registry``; raises InputError where the registry contradicts itself."""
    model = Model(registry.header_version, registry.files, tags=registry.tags)
    _collect_aliases(model, registry)
    _collect_constants(model, registry)
    _collect_providers(model, registry)
    available = _available_types(model, registry)
    _collect_scalars(model, registry)
    for raw in registry.types.values():
        if raw.category == "handle" and not raw.alias and raw.name in available:
            parent = raw.attributes.get("parent", "").split(",")[0]
            model.handles[raw.name] = Handle(
                raw.name,
                raw.target == "VK_DEFINE_HANDLE",
                model.canonical(parent),
                raw.attributes.get("objtypeenum", ""),
                raw.place,
            )
        if raw.category == "funcpointer":
            model.functions.add(raw.name)
    _collect_structs(model, registry, available)
    _collect_commands(model, registry)
    return model


def _collect_aliases(model: Model, registry: Registry) -> None:
    for raw in registry.types.values():
        if raw.alias:
            if raw.alias not in registry.types:
                raise InputError(raw.place, f"{raw.name} is an alias of {raw.alias}, which is not defined")
            model.aliases[raw.name] = raw.alias
    for command in registry.commands.values():
        if command.alias:
            if command.alias not in registry.commands:
                raise InputError(
                    command.place, f"{command.name} is an alias of {command.alias}, which is not defined"
                )
            model.aliases[command.name] = command.alias
    for name, target in model.aliases.items():
        seen = {name}
        while target in model.aliases and target not in seen:
            seen.add(target)
            target = model.aliases[target]
        if target in seen:
            place = (registry.types.get(name) or registry.commands[name]).place
            raise InputError(place, f"{name} is an alias of itself")


def _collect_constants(model: Model, registry: Registry) -> None:
    for enum in registry.enums.values():
        value, name = enum.value, enum.alias
        while value is None and name in registry.enums:
            value, name = registry.enums[name].value, registry.enums[name].alias
        model.enumerators[enum.name] = value
        if enum.group:
            model.enum_groups.setdefault(enum.group, []).append(enum.name)
        if value is not None and value >= 0:
            model.constants[enum.name] = value
    for raw in registry.types.values():
        number = re.search(rf"#define\s+{re.escape(raw.name)}\s+(\d+)\s*$", raw.target)
        if raw.category == "define" and number:
            model.constants[raw.name] = int(number.group(1))


def _collect_providers(model: Model, registry: Registry) -> None:
    for raw in registry.providers:
        version = None
        if not raw.is_extension and re.fullmatch(r"\d+\.\d+", raw.number):
            major, minor = raw.number.split(".")
            version = (int(major), int(minor))
        platform = raw.attributes.get("platform", "")
        provider = Provider(
            raw.name,
            version,
            raw.is_extension and not raw.is_video,
            raw.attributes.get("type") == "device",
            platform == "provisional" or raw.attributes.get("provisional") == "true",
            "" if platform == "provisional" else platform,
            raw.attributes.get("promotedto", ""),
            raw.attributes.get("depends") or raw.attributes.get("requires", "").replace(",", "+"),
            frozenset(c for r in raw.requires for c in r.commands),
            frozenset(t for r in raw.requires for t in r.types),
            raw.place,
            next(
                (e.value or 0 for r in raw.requires for e in r.enums if e.name.endswith("_SPEC_VERSION")), 0
            ),
            int(raw.number) if raw.is_extension and raw.number.isdigit() else 0,
        )
        model.providers.append(provider)
        _collect_requirements(model, raw, provider)


def _collect_requirements(model: Model, raw: RawProvider, provider: Provider) -> None:
    for require in raw.requires:
        for name in require.commands:
            model.requirements.setdefault(name, []).append((provider, require.depends))


def _available_types(model: Model, registry: Registry) -> set[str]:
    """Canonical names of types that the headers define without a platform's macro."""
    wanted: list[str] = []
    for provider in model.providers:
        if not provider.platform:
            wanted += provider.types
            for name in provider.commands:
                command = registry.commands.get(model.canonical(name))
                if command is None:
                    raise InputError(provider.place, f"{provider.name} requires {name}, which is not defined")
                wanted += [p.type for p in command.params]
    available: set[str] = set()
    while wanted:
        name = model.canonical(wanted.pop())
        raw = registry.types.get(name)
        if name in available or raw is None:
            continue
        available.add(name)
        wanted += [m.type for m in raw.members]
    return available


def _collect_scalars(model: Model, registry: Registry) -> None:
    for name, size in C_SIZES.items():
        model.scalars[name] = Scalar(name, size, portable=name != "size_t")
    bases = [r for r in registry.types.values() if r.category == "basetype"]
    sizes = {r.name: C_SIZES[r.target] for r in bases if r.target in C_SIZES}
    masks = [r for r in registry.types.values() if r.category == "bitmask" and sizes.get(r.target) == 8]
    wide = {r.attributes.get("bitvalues") or r.attributes.get("requires", "") for r in masks}
    for raw in registry.types.values():
        if raw.alias:
            continue
        if raw.category == "enum":
            is_wide = raw.name in wide
            model.scalars[raw.name] = Scalar(raw.name, 8 if is_wide else 4, is_enum=not is_wide)
        elif raw.category == "bitmask":
            model.scalars[raw.name] = Scalar(raw.name, sizes.get(raw.target, 4))
        elif raw.category == "basetype" and raw.target in C_SIZES and "*" not in raw.target:
            model.scalars[raw.name] = Scalar(raw.name, C_SIZES[raw.target], portable=raw.target != "size_t")


def _member(model: Model, registry: Registry, raw: RawMember, owner: str) -> Member:
    attributes = raw.attributes
    extent = 1
    for dimension in raw.dimensions:
        size = int(dimension) if dimension.isdigit() else model.constants.get(dimension, 0)
        if size <= 0:
            raise InputError(raw.place, f"{owner}.{raw.name}: the array size {dimension} is not defined")
        extent *= size
    length = attributes.get("altlen", "") or attributes.get("len", "")
    if "latexmath" in length:
        raise InputError(raw.place, f"{owner}.{raw.name}: a latexmath length without altlen")
    canonical = model.canonical(raw.type)
    return Member(
        name=raw.name,
        type=canonical,
        kind=model.kind(canonical),
        const=raw.const,
        pointers=raw.pointers,
        dimensions=raw.dimensions,
        extent=extent if raw.dimensions else 0,
        bits=raw.bits,
        length=tuple(part.strip() for part in length.split(",")) if length else (),
        optional=tuple(o == "true" for o in attributes.get("optional", "").split(",") if o),
        selector=attributes.get("selector", ""),
        selection=tuple(s for s in attributes.get("selection", "").split(",") if s),
        object_type=attributes.get("objecttype", ""),
        stride=attributes.get("stride", ""),
        unchecked=attributes.get("noautovalidity") == "true",
        extern_sync=attributes.get("externsync", "").removeprefix("maybe:"),
        values=attributes.get("values", ""),
        valid_structs=tuple(
            model.canonical(s) for s in attributes.get("validstructs", "").split(",") if s in registry.types
        ),
        declaration=raw.declaration,
        place=raw.place,
    )


def _collect_structs(model: Model, registry: Registry, available: set[str]) -> None:
    raws = [
        r
        for r in registry.types.values()
        if r.category in ("struct", "union") and not r.alias and r.name in available
    ]
    for raw in raws:  # names first, so that members of a type defined later have a kind
        model.structs[raw.name] = Struct(raw.name, (), raw.category == "union", False, (), "", raw.place)
    for raw in raws:
        members = tuple(_member(model, registry, m, raw.name) for m in raw.members)
        if raw.place.file in registry.files[1:]:  # headers of codecs: flags in them say what may be null
            members = tuple(replace(m, optional=(True,)) if m.pointers else m for m in members)
        chained = [m.values for m in members if m.type == "VkStructureType" and m.name == "sType"]
        extends = raw.attributes.get("structextends", "")
        model.structs[raw.name] = Struct(
            raw.name,
            members,
            raw.category == "union",
            raw.attributes.get("returnedonly") == "true",
            tuple(dict.fromkeys(model.canonical(e) for e in extends.split(",") if e)),
            chained[0] if chained else "",
            raw.place,
        )


def _codes(registry: Registry, text: str) -> tuple[str, ...]:
    """Result codes by their canonical names."""
    names = [c for c in text.split(",") if c]
    for index, name in enumerate(names):
        while name in registry.enums and registry.enums[name].alias:
            name = registry.enums[name].alias
        names[index] = name
    return tuple(names)


def _collect_commands(model: Model, registry: Registry) -> None:
    here: set[str] = set()
    elsewhere: set[str] = set()
    for provider in model.providers:
        names = {model.canonical(c) for c in provider.commands}
        if provider.platform:
            elsewhere |= names
        else:
            here |= names
    alias_names: dict[str, list[str]] = {}
    for name, target in model.aliases.items():
        alias_names.setdefault(model.canonical(target), []).append(name)
    for raw in registry.commands.values():
        if raw.alias or raw.name not in here | elsewhere:
            continue
        command = Command(
            raw.name,
            tuple(alias_names.get(raw.name, ())),
            tuple(_member(model, registry, p, raw.name) for p in raw.params),
            raw.returns,
            _codes(registry, raw.attributes.get("successcodes", "")) if raw.returns == "VkResult" else (),
            _codes(registry, raw.attributes.get("errorcodes", "")),
            "cmdbufferlevel" in raw.attributes,
            raw.place,
        )
        (model.commands if raw.name in here else model.platform_commands)[raw.name] = command
