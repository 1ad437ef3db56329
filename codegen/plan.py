"""How everything travels, as data: what lowering.py decides and templates switch on.

A struct is planned per role: *in* (the application fills it), or *out* (the driver fills it; its chain's shape travels
to the server and its contents come back). A command is planned like a struct whose members are the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from codegen.errors import Place

# The closed set of operations.
OPS = (
    "scalar", "handle", "new_handle", "struct", "array", "fixed_array", "blob", "string", "string_array",
    "chain", "union", "count", "opaque", "none",
)  # fmt: skip
# What one element is: numbers, enums of which values travel as others, size_t, handles, handles hidden in integers, structs copied as they are, structs of
# fixed size, structs with pointers, unions with a selector, bit-fields.
ELEMENTS = (
    "scalar",
    "renamed",
    "size",
    "handle",
    "object",
    "copy",
    "flat",
    "deep",
    "union",
    "bits",
    "byte",
    "none",
)
FIXED = ("scalar", "renamed", "size", "handle", "object", "copy", "flat", "bits")


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
    op: str  # one of OPS
    type: str  # of one element, as C writes it
    element: str = "none"  # one of ELEMENTS
    direction: str = "in"  # in, out, inout
    size: int = 0  # of one element on the wire, the least for deep ones
    pointers: int = 0
    const: bool = False
    extent: int = 0  # elements of a fixed array
    count: str = ""  # C++ expression over v, e.g. "v.attachmentCount", for pointers
    inner_count: str = ""  # for pointers to pointers, e.g. "v.pInfos[i].geometryCount"
    stride: str = ""  # e.g. "v.stride"
    condition: str = ""  # C++ expression; the encoder treats the field as absent where it is false
    required: bool = False  # a decoder refuses its absence
    present: int = -1  # its bit in the presence bitmap
    handle: str = ""  # HandleType enumerator, e.g. "kBuffer"
    dispatchable: bool = False
    use: str = "kOptional"  # HandleUse enumerator
    role: str = "in"  # of a deep element
    echo: bool = False  # an input that holds outputs
    selector: str = ""  # of a union, e.g. "v.geometryType"
    object_type: str = ""  # of a handle hidden in an integer, e.g. "v.objectType"
    capacity: str = ""  # the inout count that bounds an output, e.g. "pPropertyCount"
    request_offset: int = -1  # in the fixed part, -1 when it is not there
    reply_offset: int = -1
    bit_shift: int = 0
    bit_width: int = 0
    selection: tuple[str, ...] = ()  # selector values of a union's member
    destroyed_ids: bool = False  # the decoder keeps the ids beside the handles
    measures: str = ""  # the output whose length this is; not a parameter of the command
    device_property: str = ""  # of the device, e.g. "VkP::size": where such a length comes from

    @property
    def has_request(self) -> bool:
        return self.direction in ("in", "inout")

    @property
    def has_reply(self) -> bool:
        return self.direction in ("out", "inout")


@dataclass(frozen=True)
class StructPlan:
    """One struct in one role, e.g. VkBufferCreateInfo in the role *in*."""

    name: str
    role: str
    family: str
    fields: tuple[Field, ...]
    request_size: int
    reply_size: int
    words: int  # of the presence bitmap
    s_type: str = ""  # e.g. "VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO"
    chain: tuple[str, ...] = ()  # structs that may follow in its pNext
    is_union: bool = False
    selector_type: str = ""
    has_reply: bool = False
    place: Place = Place("", 0)
    surrounds: bool = False  # conditions of what it holds look at it

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.role


@dataclass(frozen=True)
class FlatPlan:
    """A struct of fixed size, e.g. VkExtent2D; ``copy`` when its bytes in C are its bytes on the wire."""

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
    short: str  # without "vk"
    family: str
    returns: str
    declarations: tuple[str, ...]  # of the parameters, as C writes them
    lost: str  # what to return when the session is lost
    place: Place
    aliases: tuple[str, ...] = ()
    status: str = "covered"  # covered, local, refused, quarantined
    reason: str = ""
    fields: tuple[Field, ...] = ()  # of the parameters in order, then lengths that are none
    request_size: int = 0
    reply_size: int = 0
    words: int = 0
    chain: tuple[str, ...] = ()  # structs that an output of no type of its own may be
    mode: str = "ask"  # record, post, ask
    ask_if: str = ""  # C++ condition under which a post asks all the same
    client_override: str = ""  # the function's name, "" without
    server_override: str = ""
    client_file: str = ""  # in client/overrides and server/overrides, without .cpp
    server_file: str = ""
    leads_to: tuple[str, ...] = ()  # functions written by hand, e.g. "server/device/queue.cpp Queue::Enqueue"
    slow: bool = False
    after_users: bool = False
    cache: bool = False
    remember: bool = False  # cached answers about its objects go by what they are made of
    submit: bool = False
    learn: bool = False  # the server keeps what it makes are made of, for checks
    memory: str = ""  # uploads, accesses, binds: what it has to do with memory that the application maps
    note: str = ""  # the function that notes what it writes, "" without
    writes: str = ""  # what it lets the device write: nothing, noted, an operand in C++; "": unknown
    destroyed: str = ""  # parameter name
    destroyed_offset: int = -1  # of its id in the fixed part, -1 for arrays
    created: tuple[str, ...] = ()  # new-handle parameters

    role = "out"  # of what stands in its chain

    @property
    def on_wire(self) -> bool:
        return self.status == "covered"

    @property
    def argument_declarations(self) -> tuple[str, ...]:
        """Of all fields, in their order."""
        return (*self.declarations, *(f"{f.type} {f.name}" for f in self.fields if f.measures))

    @property
    def measured(self) -> tuple[Field, ...]:
        """Lengths that are properties of the device."""
        return tuple(f for f in self.fields if f.measures)


@dataclass
class Plan:
    """Everything that render.py needs. ``quarantined`` holds commands and structs by name."""

    flats: dict[str, FlatPlan] = field(default_factory=dict)
    structs: dict[tuple[str, str], StructPlan] = field(default_factory=dict)
    commands: dict[str, CommandPlan] = field(default_factory=dict)
    quarantined: dict[str, Unclassified] = field(default_factory=dict)
    platform_commands: dict[str, CommandPlan] = field(default_factory=dict)  # that the client answers
    renamed: dict[str, tuple[tuple[str, str], ...]] = field(
        default_factory=dict
    )  # by enum: value, as it travels
