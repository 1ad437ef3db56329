#!/usr/bin/python3
"""An independent witness: gfxreconstruct records the same program in the application and in the worker.

Both captures are converted to JSON and must hold the same commands with the same arguments, call by call, once the
handles of one are mapped to those of the other (a bijection per handle type). What belongs to one side alone is named
in ``ONE_SIDED`` and ``WORKER_ADDS``, with the reason.

    witness.py --server BINARY --icd MANIFEST --driver MANIFEST --registry DIR -- PROGRAM ARGUMENT...
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from codegen.model import Kind, Member, Model, build_model  # noqa: E402
from codegen.registry import read_registry  # noqa: E402

LAYER = "VK_LAYER_LUNARG_gfxreconstruct"

# Commands that the two sides call differently, by name or by prefix.
ONE_SIDED = {
    "vkEnumerate": "asked once, remembered, and asked by the loader",
    "vkGetPhysicalDevice": "asked once, remembered, and asked by the loader",
    "vkGetBufferMemoryRequirements": "asked once of equal buffers",
    "vkGetImageMemoryRequirements": "asked once of equal images",
    "vkGetImageSubresourceLayout": "asked once of equal images",
    "vkCreateInstance": "layers and extensions belong to one side; the worker makes one ahead",
    "vkDestroyInstance": "the worker's own ends with it",
    "vkCreateDevice": "features and extensions that completion tracking needs are added",
    "vkMapMemory": "the client's mapping is its own memory; the worker maps once",
    "vkUnmapMemory": "the client's mapping is its own memory; the worker maps once",
    "vkFlushMappedMemoryRanges": "the client's mapping is its own memory",
    "vkInvalidateMappedMemoryRanges": "the client's mapping is its own memory",
    "vkGetFenceStatus": "read from the client's state",
    "vkWaitForFences": "sleeps in the client; the worker's watcher waits for completion",
    "vkGetSemaphoreCounterValue": "the worker's watcher",
    "vkWaitSemaphores": "the worker's watcher",
    "vkQueueWaitIdle": "waits in the client",
    "vkDeviceWaitIdle": "waits in the client",
}
# What the worker adds to calls that it shares with the application.
WORKER_ADDS = {"vkCreateSemaphore": 1, "vkDestroySemaphore": 1}  # the timeline of the one queue
# What Vulkan says to ignore does not travel: state of depth in a subpass without.
IGNORED = (".pDepthStencilState",)


class Mismatch(Exception):
    """Where the captures differ."""


class Comparison:
    """Walks two captures with the registry's types."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.forward: dict[tuple[str, int], int] = {}
        self.backward: dict[tuple[str, int], int] = {}
        self.by_s_type = {s.s_type: s for s in model.structs.values() if s.s_type}
        self.by_object_type = {h.object_type: h.name for h in model.handles.values()}

    def handle(self, kind: str, left: Any, right: Any, where: str) -> None:
        if isinstance(left, str) or isinstance(right, str):  # VK_NULL_HANDLE
            if left != right:
                raise Mismatch(f"{where}: {left} in the application, {right} in the worker")
            return
        if self.forward.setdefault((kind, left), right) != right:
            raise Mismatch(f"{where}: {kind} {left} was {self.forward[kind, left]}, now {right}")
        if self.backward.setdefault((kind, right), left) != left:
            raise Mismatch(f"{where}: two of the application's {kind} are {right} in the worker")

    def value(self, member: Member | None, left: Any, right: Any, where: str) -> None:
        if isinstance(left, list) and isinstance(right, list):
            if len(left) != len(right):
                raise Mismatch(
                    f"{where}: {len(left)} elements in the application, {len(right)} in the worker"
                )
            for index, (a, b) in enumerate(zip(left, right)):
                self.value(member, a, b, f"{where}[{index}]")
        elif isinstance(left, dict) and isinstance(right, dict):
            self.struct(member.type if member else "", left, right, where)
        elif member is not None and member.kind is Kind.HANDLE and left is not None and right is not None:
            self.handle(member.type, left, right, where)
        elif right is None and where.endswith(IGNORED):
            return
        elif is_address(left) and is_address(right):
            return  # data, printed as where it lay
        elif left != right:
            raise Mismatch(f"{where}: {left!r} in the application, {right!r} in the worker")

    def struct(self, name: str, left: dict[str, Any], right: dict[str, Any], where: str) -> None:
        found = self.by_s_type.get(left.get("sType", "")) or self.model.structs.get(name)
        if left.keys() != right.keys():
            raise Mismatch(f"{where}: members {sorted(left.keys() ^ right.keys())} on one side")
        for key in left:
            member = found.member(key) if found else None
            if member is not None and member.object_type:  # a handle in an integer
                kind = self.by_object_type[left[member.object_type]]
                self.handle(kind, left[key], right[key], f"{where}.{key}")
                continue
            self.value(member, left[key], right[key], f"{where}.{key}")

    def call(self, left: dict[str, Any], right: dict[str, Any], where: str) -> None:
        if left.get("return") != right.get("return"):
            raise Mismatch(f"{where}: returns {left.get('return')} and {right.get('return')}")
        command = self.model.commands[self.model.canonical(left["name"])]
        for key, value in left["args"].items():
            self.value(command.param(key), value, right["args"].get(key), f"{where}.{key}")


def is_address(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("0x")


def is_one_sided(name: str) -> bool:
    return any(name.startswith(prefix) for prefix in ONE_SIDED)


def read_calls(capture: Path) -> list[dict[str, Any]]:
    text = capture.with_suffix(".json")
    subprocess.run(["gfxrecon-convert", "--output", text, capture], check=True, capture_output=True)
    if not text.exists():  # of a worker that has made no call yet
        return []
    lines = (json.loads(line) for line in text.read_text().splitlines() if line.strip())
    return [line["vkFunc"] for line in lines if "vkFunc" in line]


def without_own_signal(call: dict[str, Any]) -> dict[str, Any]:
    """A worker's submit without the batch that signals the server's timeline."""
    arguments = dict(call["args"])
    batches = next((k for k in ("pSubmits",) if k in arguments), None)
    if call["name"] not in ("vkQueueSubmit", "vkQueueSubmit2") or batches is None:
        return call
    own = arguments[batches][-1]
    if own.get("commandBufferCount") or own.get("waitSemaphoreCount"):
        raise Mismatch(f"{call['name']}: the worker's last batch is not the server's own")
    arguments[batches] = arguments[batches][:-1] or None
    arguments["submitCount"] -= 1
    return {**call, "args": arguments}


def named_memory(arguments: Any) -> set[int]:
    """The memory objects that a call's arguments name."""
    if isinstance(arguments, list):
        return {each for argument in arguments for each in named_memory(argument)}
    if not isinstance(arguments, dict):
        return set()
    found = {each for argument in arguments.values() for each in named_memory(argument)}
    return found | ({arguments["memory"]} if isinstance(arguments.get("memory"), int) else set())


def without_reserve(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A worker's calls without memory that it keeps for allocations which nobody waits for: nothing uses it."""
    kept = ("vkAllocateMemory", "vkFreeMemory")
    used = {each for call in calls if call["name"] not in kept for each in named_memory(call["args"])}
    return [
        call
        for call in calls
        if call["name"] not in kept or call["args"].get("memory", call["args"].get("pMemory")) in used
    ]


def by_name(calls: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for call in calls:
        if not is_one_sided(call["name"]):
            found[call["name"]].append(call)
    return found


def compare(model: Model, client: list[dict[str, Any]], worker: list[dict[str, Any]]) -> int:
    """The number of calls that agree; raises Mismatch."""
    comparison = Comparison(model)
    ours, theirs = by_name(client), by_name([without_own_signal(c) for c in without_reserve(worker)])
    compared = 0
    for name in ours.keys() | theirs.keys():
        extra = len(theirs[name]) - len(ours[name])
        if extra != WORKER_ADDS.get(name, 0):
            raise Mismatch(
                f"{name}: {len(ours[name])} calls in the application, {len(theirs[name])} in the worker"
            )
    # In the application's order, so that handles are bound where they are made.
    position: dict[str, int] = defaultdict(int)
    for call in client:
        name = call["name"]
        if is_one_sided(name) or name in WORKER_ADDS:
            continue
        comparison.call(call, theirs[name][position[name]], f"{name} #{position[name]}")
        position[name] += 1
        compared += 1
    return compared


def waits(seconds: float, condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Mismatch(f"{what} after {seconds} s")
        time.sleep(0.05)


def is_recorded(folder: Path) -> bool:
    """Whether a process has a capture in ``folder`` open."""
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            target = Path(os.readlink(link))
        except OSError:  # closed, or gone, or not ours to see
            continue
        if target.parent == folder and target.suffix == ".gfxr":
            return True
    return False


def capture(arguments: argparse.Namespace, folder: Path) -> None:
    """Runs server and program, both under the capture layer."""
    base = {k: v for k, v in os.environ.items() if not k.startswith(("VK_", "GFXRECON_"))}
    base |= {"VK_INSTANCE_LAYERS": LAYER, "GFXRECON_LOG_LEVEL": "error"}
    # By default the layer's own copy of mapped memory is stale for who reads it while work is under way, as the server does.
    base["GFXRECON_MEMORY_TRACKING_MODE"] = "unassisted"
    socket = f"unix:{folder}/server.sock"
    server_env = base | {"VK_ICD_FILENAMES": arguments.driver, "VK_DRIVER_FILES": arguments.driver}
    server_env["GFXRECON_CAPTURE_FILE"] = str(folder / "worker.gfxr")
    with open(folder / "server.log", "wb") as log:
        # Not confined: a worker writes its capture.
        server = subprocess.Popen(
            [arguments.server, "--listen", socket, "--sandbox", "off", "--pipelines", "off"], env=server_env, stdout=log, stderr=log
        )
    try:
        waits(60, lambda: "listening on" in (folder / "server.log").read_text(), "the server does not listen")
        # Capture files are named by the second: that of the next worker, made when the program comes, must not be that
        # of the worker that waits for it.
        waits(60, lambda: is_recorded(folder), "no worker records")
        time.sleep(1.2)
        client_env = base | {"VK_ICD_FILENAMES": arguments.icd, "VK_DRIVER_FILES": arguments.icd}
        client_env |= {"VESPER_SERVER": socket, "GFXRECON_CAPTURE_FILE": str(folder / "client.gfxr")}
        client_env["VESPER_MEMORY"] = "memcmp"  # shared memory is imported, which only the worker does
        subprocess.run(arguments.program, env=client_env, check=True, timeout=120)
        # What a worker's capture holds is in the file when the worker has ended by itself, which is after the client.
        waits(
            30,
            lambda: "ended with exit status" in (folder / "server.log").read_text(),
            "the worker does not end",
        )
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("server", "icd", "driver"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("program", nargs="+")
    arguments = parser.parse_args()
    video = arguments.registry / "video.xml"
    model = build_model(read_registry(arguments.registry / "vk.xml", video if video.exists() else None))
    with tempfile.TemporaryDirectory(prefix="vesper-witness-") as name:
        folder = Path(name).resolve()
        try:
            capture(arguments, folder)
            client = read_calls(next(folder.glob("client*.gfxr")))
            workers = [read_calls(f) for f in sorted(folder.glob("worker*.gfxr")) if f.stat().st_size > 0]
            worker = max(workers, key=len)
            compared = compare(model, client, worker)
        except (Mismatch, subprocess.SubprocessError, StopIteration, ValueError) as error:
            print((folder / "server.log").read_text())
            print(f"witness: {error!r}")
            return 1
    print(f"witness: {compared} calls agree")
    return 0 if compared > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
