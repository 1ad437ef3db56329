"""Where a command is treated: files and lines of the tree as it stands, found by the names of functions.

All commands of a mode go the same way but for what is generated or written by hand for each. The stops in
between are named here, and tests look for every one; what only some commands do is said by ``policy/ways.toml``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from codegen.plan import CommandPlan, StructPlan

WRITTEN = ("client", "server", "runtime")  # folders of what is written by hand


@dataclass(frozen=True)
class Stop:
    """A function on the way, e.g. ``Stop("decode", "generated/wire/sync.cpp", "DecodeRequest", "FenceArgs&")``."""

    step: str
    file: str
    function: str
    about: str = ""  # stands in its parameters, where several functions have its name
    text: str = ""  # the line meant, where it is not the function's first


# From the entry point to the codec, by mode.
SENDS = {
    "record": [Stop("record", "client/session/call.cpp", "Record")],
    "post": [
        Stop("post", "client/session/call.cpp", "Call::Post"),
        Stop("", "client/session/session.cpp", "Session::Post"),
    ],
    "ask": [
        Stop("ask", "client/session/call.cpp", "Call::Ask"),
        Stop("", "client/session/session.cpp", "Session::Ask"),
    ],
    "ask once": [
        Stop("ask once", "client/session/call.cpp", "Call::AskCached"),
        Stop("", "client/session/session.cpp", "Session::AskCached"),
    ],
}
# From the codec to the channel and out of it.
BATCHES = {
    "record": [
        Stop("batch", "client/session/session.cpp", "Session::SendRecords"),
        Stop("", "client/connection/connection.cpp", "Connection::PostRecords"),
    ],
    "post": [Stop("batch", "client/connection/connection.cpp", "Connection::Post")],
    "ask": [Stop("batch", "client/connection/connection.cpp", "Connection::Ask")],
    "ask once": [Stop("batch", "client/connection/connection.cpp", "Connection::Ask")],
}
CHANNEL = [
    Stop("channel", "client/connection/outgoing.cpp", "Outgoing::SendNext"),
    Stop("", "runtime/transport/socket_channel.cpp", "SocketChannel::Write"),
    Stop("", "runtime/transport/socket_channel.cpp", "SocketChannel::Receive"),
    Stop("", "server/session/session.cpp", "Session::Run"),
]
DECODES = [Stop("decode", "server/session/session.cpp", "Session::ExecuteCommand")]
PARKS = [
    Stop("park", "server/session/parking.cpp", "Session::Defer"),
    Stop("pool", "server/session/parking.cpp", "Session::Start"),
]
INVOKES = [Stop("invoke", "server/session/session.cpp", "Session::Invoke")]
SUBMITS = [
    Stop("queue", "server/device/queue.cpp", "Queue::Enqueue"),
    Stop("", "server/device/queue.cpp", "Queue::Execute"),
]
FAILS = [Stop("no reply", "server/session/session.cpp", "Session::ReportFailure")]
REPLIES = [Stop("reply", "server/session/session.cpp", "Session::SendReply")]
RETURNS = [
    Stop("return", "client/connection/connection.cpp", "Connection::Handle"),
    Stop("", "client/session/session.cpp", "Session::Decode"),
]


class Sources:
    """The tree below ``root``, whose generated files may stand elsewhere."""

    def __init__(self, root: Path, generated: Path) -> None:
        self.root, self.generated = root, generated
        self.text = cache(self._read)

    def _read(self, file: str) -> str:
        below = self.generated.parent if file.startswith("generated/") else self.root
        path = below / file
        return path.read_text() if path.exists() else ""

    def line(self, stop: Stop) -> int:
        """Where ``stop`` is defined, 0 where it is not."""
        text = self.text(stop.file)
        for begin, body, parameters in definitions(text, stop.function):
            if stop.about in parameters:
                found = text.find(stop.text, body) if stop.text else begin
                return text.count("\n", 0, found) + 1 if found >= 0 else 0
        return 0

    def mentions(self, command: CommandPlan) -> list[tuple[str, int]]:
        """Lines written by hand that name the command's number."""
        name = re.compile(rf"\bCommand::k{command.short}\b")
        found = []
        for file in self.written():
            lines = enumerate(self.text(file).splitlines(), 1)
            found += [(file, number) for number, line in lines if name.search(line)]
        return found

    def sends(self, command: CommandPlan) -> str:
        """How an entry point written by hand sends the command: a key of SENDS, or not at all."""
        for file, number in self.mentions(command):
            if file.startswith("client/"):
                function = "\n".join(self.text(file).splitlines()[number - 1 :]).split("\n}")[0]
                found = re.search(r"\b(Record|Post|AskCached|Ask)\w*\(", function)
                if found:
                    return {"AskCached": "ask once"}.get(found[1], found[1].lower())
        return ""

    def written(self) -> list[str]:
        """C++ files below the folders of what is written by hand."""
        folders = [self.root / name for name in WRITTEN]
        paths = sorted(p for f in folders for p in f.rglob("*") if p.suffix in (".cpp", ".h"))
        return [str(p.relative_to(self.root)) for p in paths]


def definitions(text: str, function: str) -> Iterator[tuple[int, int, str]]:
    """Where ``function`` is defined at the level of a namespace: begin, begin of its body, parameters."""
    name = re.escape(function)
    for match in re.finditer(rf"^(?:[^\s#/}}][^\n;=]*?[\s*&])?(?<![\w:]){name}\(", text, re.M):
        depth, at = 1, match.end()
        while depth and at < len(text):
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        after = re.compile(r"[^;{]*").match(text, at)
        if after and text[after.end() : after.end() + 1] == "{":
            yield match.start(), after.end(), text[match.end() : at - 1]


def entries(command: CommandPlan, has_entry: bool, sources: Sources) -> list[Stop]:
    """What the application's call runs first."""
    stops = []
    by_hand = f"client/overrides/{command.client_file}.cpp"
    if command.client_override:
        stops.append(Stop("entry", by_hand, command.client_override))
    calls = f"entry::{command.short}("
    if has_entry and (not command.client_override or calls in sources.text(by_hand)):
        step = "" if command.client_override else "entry"
        stops.append(Stop(step, f"generated/client/{command.family}.cpp", command.short))
    return stops


def own(command: CommandPlan, has_entry: bool, sources: Sources) -> list[Stop]:
    """The places that treat this command and no other, or few."""
    stops = entries(command, has_entry, sources)
    if command.on_wire:
        stops += [codec(command, name) for name in ("EncodeRequest", "DecodeRequest")] + calls_driver(command)
        stops += [codec(command, name) for name in ("EncodeReply", "DecodeReply")]
    return stops + leads(command)


def way(command: CommandPlan, has_entry: bool, sources: Sources) -> list[Stop]:
    """Every function that the command passes, in order, as one reads them."""
    stops = entries(command, has_entry, sources)
    generated = any(stop.file.startswith("generated/") for stop in stops)
    mode = ("ask once" if command.cache else command.mode) if generated else sources.sends(command)
    if not command.on_wire or not mode:
        return stops + leads(command)
    stops += SENDS[mode]
    stops += [codec(command, "EncodeRequest", "encode"), *BATCHES[mode], *CHANNEL]
    stops += [*DECODES, codec(command, "DecodeRequest")]
    stops += [*(PARKS if command.slow else ()), *INVOKES, *calls_driver(command)]
    stops += [*(SUBMITS if command.submit else ()), *leads(command)]
    if mode in ("record", "post"):
        return stops + FAILS
    back = [*REPLIES, codec(command, "EncodeReply"), *RETURNS, codec(command, "DecodeReply")]
    return stops + back


def leads(command: CommandPlan) -> list[Stop]:
    """What the policy says of functions behind the first ones."""
    pairs = [place.partition(" ") for place in command.leads_to]
    return [Stop("leads to" if not i else "", file, name) for i, (file, _, name) in enumerate(pairs)]


def codec(command: CommandPlan, function: str, step: str = "") -> Stop:
    return Stop(step, f"generated/wire/{command.family}.cpp", function, f"{command.short}Args&")


def calls_driver(command: CommandPlan) -> list[Stop]:
    """What the server does with decoded arguments."""
    generated = f"generated/server/{command.family}.cpp"
    stops = [Stop("", generated, command.short)]
    if command.server_override:
        return [*stops, Stop("driver", f"server/overrides/{command.server_file}.cpp", command.server_override)]
    return [*stops, Stop("driver", generated, command.short, text=f"driver.{command.short}(")]


def codecs(struct: StructPlan) -> list[Stop]:
    """Where a struct is encoded and decoded."""
    names = {"in": ("Encode", "Decode"), "out": ("EncodeShape", "DecodeShape", "EncodeResult", "DecodeResult")}
    file = f"generated/wire/{struct.family}_structs.cpp"
    return [Stop("", file, function, f"{struct.name}&") for function in names[struct.role]]
