"""Reads vk.xml and video.xml as they are: the only module that knows XML.

Everything keeps the line it stands in. Nothing is interpreted beyond the ``api`` filter; model.py does that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from codegen.errors import InputError, Place

API = "vulkan"


@dataclass
class Node:
    """An XML element; ``content`` holds text and child elements in order."""

    tag: str
    attributes: dict[str, str]
    place: Place
    content: list[Node | str] = field(default_factory=list)

    def children(self, tag: str) -> list[Node]:
        return [c for c in self.content if isinstance(c, Node) and c.tag == tag]

    def get(self, name: str, default: str = "") -> str:
        return self.attributes.get(name, default)

    def text(self) -> str:
        parts = (c if isinstance(c, str) else c.text() for c in self.content)
        return "".join(parts)

    def child_text(self, tag: str) -> str:
        found = self.children(tag)
        return found[0].text().strip() if found else ""

    @property
    def for_this_api(self) -> bool:
        apis = self.get("api")
        return not apis or API in apis.split(",")


@dataclass(frozen=True)
class RawMember:
    """A member or parameter, e.g. ``const VkImageView* pAttachments`` with ``len="attachmentCount"``."""

    name: str
    type: str
    const: bool  # of what the (outermost) pointer points to
    pointers: int  # 2 for ``const T* const*``
    dimensions: tuple[str, ...]  # ("3", "4") or ("VK_UUID_SIZE",)
    bits: int  # width of a bit-field, 0 if it is none
    attributes: dict[str, str]
    place: Place
    declaration: str  # as C writes it


@dataclass(frozen=True)
class RawType:
    """A ``<type>``: of any category, with members where it is a struct or union."""

    name: str
    category: str
    alias: str
    attributes: dict[str, str]
    members: tuple[RawMember, ...]
    target: str  # of a basetype or bitmask: what it is defined as; of a handle: the macro
    place: Place


@dataclass(frozen=True)
class RawCommand:
    """A ``<command>``: return type and parameters, or what it is an alias of."""

    name: str
    alias: str
    returns: str
    attributes: dict[str, str]
    params: tuple[RawMember, ...]
    place: Place


@dataclass(frozen=True)
class RawEnum:
    """One enumerator: its value as an integer where it has one, or the name it repeats."""

    name: str
    value: int | None
    text: str
    alias: str
    group: str
    place: Place


@dataclass(frozen=True)
class RawRequire:
    """A ``<require>`` block: what a version or an extension (perhaps with another one) brings."""

    depends: str
    types: tuple[str, ...]
    commands: tuple[str, ...]
    enums: tuple[RawEnum, ...]


@dataclass(frozen=True)
class RawProvider:
    """A ``<feature>`` or ``<extension>``."""

    name: str
    number: str  # "1.3" of a feature
    is_extension: bool
    is_video: bool  # of video.xml: names of types, nothing that a driver offers
    attributes: dict[str, str]
    requires: tuple[RawRequire, ...]
    place: Place


@dataclass(frozen=True)
class Registry:
    """What the XML files say, in their order."""

    files: tuple[str, ...]
    types: dict[str, RawType]
    commands: dict[str, RawCommand]
    enums: dict[str, RawEnum]
    providers: tuple[RawProvider, ...]
    platforms: dict[str, str]  # name → the macro that protects it
    tags: tuple[str, ...]  # of authors, the suffixes of names
    header_version: int


def parse_xml(path: Path) -> Node:
    """The root element of ``path``; raises InputError for what is no well-formed XML."""
    root = Node("", {}, Place(path.name, 0))
    stack = [root]
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def start(tag: str, attributes: dict[str, str]) -> None:
        node = Node(tag, attributes, Place(path.name, parser.CurrentLineNumber))
        stack[-1].content.append(node)
        stack.append(node)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _tag: stack.pop()
    parser.CharacterDataHandler = lambda text: stack[-1].content.append(text)
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise InputError(Place(path.name, error.lineno), f"no well-formed XML: {error}") from error
    except OSError as error:
        raise InputError(Place(str(path), 0), f"cannot be read: {error.strerror}") from error
    return next(c for c in root.content if isinstance(c, Node))


def read_registry(vk_xml: Path, video_xml: Path | None) -> Registry:
    """Both files as one registry; a missing video.xml means that no Std video type is known."""
    roots = [parse_xml(vk_xml)] + ([parse_xml(video_xml)] if video_xml else [])
    types: dict[str, RawType] = {}
    commands: dict[str, RawCommand] = {}
    platforms: dict[str, str] = {}
    providers: list[RawProvider] = []
    for root in roots:
        platforms |= {p.get("name"): p.get("protect") for p in _entries(root, "platforms", "platform")}
        for node in _entries(root, "types", "type"):
            raw = _read_type(node)
            if raw.name not in types or not types[raw.name].category:
                types[raw.name] = raw  # vk.xml names the Std types, video.xml defines them
        for node in _entries(root, "commands", "command"):
            command = _read_command(node)
            commands[command.name] = command
        providers += _read_providers(root, is_video=root is not roots[0])
    return Registry(
        files=tuple(p.name for p in (vk_xml, video_xml) if p),
        types=types,
        commands=commands,
        enums=_read_enums(roots, providers),
        providers=tuple(providers),
        platforms=platforms,
        tags=tuple(t.get("name") for root in roots for t in _entries(root, "tags", "tag")),
        header_version=_header_version(types, vk_xml),
    )


def _entries(root: Node, block: str, entry: str) -> list[Node]:
    """The ``entry`` elements in all ``block`` elements, as far as they are for this API."""
    blocks = [b for b in root.children(block) if b.for_this_api]
    return [n for b in blocks for n in b.children(entry) if n.for_this_api]


def _read_enums(roots: list[Node], providers: list[RawProvider]) -> dict[str, RawEnum]:
    enums: dict[str, RawEnum] = {}
    for root in roots:
        for block in root.children("enums"):
            for node in block.children("enum"):
                if block.for_this_api and node.for_this_api:
                    enums[node.get("name")] = _read_enum(node, block.get("name"), 0)
    for provider in providers:
        for require in provider.requires:
            for enum in require.enums:
                if enum.group or enum.name not in enums:
                    enums[enum.name] = enum
    return enums


def _header_version(types: dict[str, RawType], vk_xml: Path) -> int:
    raw = types.get("VK_HEADER_VERSION")
    found = re.search(r"(\d+)\s*$", raw.target) if raw else None
    if found is None:
        raise InputError(
            Place(vk_xml.name, 1), "VK_HEADER_VERSION is not defined: this is no Vulkan registry"
        )
    return int(found.group(1))


def _read_type(node: Node) -> RawType:
    name = node.get("name") or node.child_text("name")
    if not name and node.children("proto"):
        name = node.children("proto")[0].child_text("name")
    category = node.get("category")
    members = tuple(_read_member(m) for m in node.children("member") if m.for_this_api)
    target = node.text() if category == "define" else node.child_text("type")
    return RawType(name, category, node.get("alias"), node.attributes, members, target, node.place)


def _read_member(node: Node) -> RawMember:
    before, after_type, after_name = "", "", ""
    type_name = name = ""
    for part in node.content:
        if isinstance(part, str) or part.tag == "enum":
            text = part if isinstance(part, str) else part.text()
            if not type_name:
                before += text
            elif not name:
                after_type += text
            else:
                after_name += text
        elif part.tag == "type":
            type_name = part.text().strip()
        elif part.tag == "name":
            name = part.text().strip()
    if not type_name or not name:
        raise InputError(node.place, f"a member without type or name: {node.text().strip()!r}")
    bits = re.match(r"\s*:\s*(\d+)", after_name)
    declaration = " ".join(f"{before}{type_name}{after_type} {name}{after_name}".split())
    return RawMember(
        name=name,
        type=type_name,
        const="const" in before.split(),
        pointers=after_type.count("*"),
        dimensions=tuple(re.findall(r"\[\s*(\w+)\s*\]", after_name)),
        bits=int(bits.group(1)) if bits else 0,
        attributes=node.attributes,
        place=node.place,
        declaration=declaration,
    )


def _read_command(node: Node) -> RawCommand:
    if node.get("alias"):
        return RawCommand(node.get("name"), node.get("alias"), "", node.attributes, (), node.place)
    proto = node.children("proto")
    if not proto:
        raise InputError(node.place, "a command without a prototype")
    params = tuple(_read_member(p) for p in node.children("param") if p.for_this_api)
    returns = proto[0].child_text("type")
    return RawCommand(proto[0].child_text("name"), "", returns, node.attributes, params, node.place)


def _integer(text: str) -> int | None:
    plain = text.strip().strip("()").rstrip("ULF").replace("~0U", "~0")
    if plain.startswith("~"):
        return None
    try:
        return int(plain, 0)
    except ValueError:
        return None


def _read_enum(node: Node, group: str, extension_number: int) -> RawEnum:
    value: int | None = None
    if node.get("bitpos"):
        value = 1 << int(node.get("bitpos"))
    elif node.get("value"):
        value = _integer(node.get("value"))
    elif node.get("offset"):
        number = int(node.get("extnumber") or extension_number)
        value = 1000000000 + (number - 1) * 1000 + int(node.get("offset"))
        value = -value if node.get("dir") == "-" else value
    group = node.get("extends") or group
    return RawEnum(node.get("name"), value, node.get("value"), node.get("alias"), group, node.place)


def _read_providers(root: Node, is_video: bool) -> list[RawProvider]:
    found: list[RawProvider] = []
    for node in root.children("feature"):
        if node.for_this_api:
            found.append(_read_provider(node, is_extension=False))
    for block in root.children("extensions"):
        for node in block.children("extension"):
            if API in node.get("supported").split(","):
                found.append(_read_provider(node, is_extension=True, is_video=is_video))
    return found


def _read_provider(node: Node, is_extension: bool, is_video: bool = False) -> RawProvider:
    number = int(node.get("number") or 0) if is_extension else 0
    requires = []
    for block in node.children("require"):
        if not block.for_this_api:
            continue
        depends = block.get("depends") or block.get("feature") or block.get("extension")
        requires.append(
            RawRequire(
                depends,
                tuple(t.get("name") for t in block.children("type")),
                tuple(c.get("name") for c in block.children("command")),
                tuple(_read_enum(e, "", number) for e in block.children("enum") if e.for_this_api),
            )
        )
    return RawProvider(
        node.get("name"),
        node.get("number"),
        is_extension,
        is_video,
        node.attributes,
        tuple(requires),
        node.place,
    )
