#!/usr/bin/env python3
"""record_replay.py VESPER SERVER DRIVER.json TESTS WINDOW_TESTS WITH_XVFB DAMAGE: real programs are recorded, and replays of them
give the same memory and the same pictures; what differs is noticed; what was written before a kill replays."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

VESPER, SERVER, DRIVER, TESTS, WINDOW_TESTS, WITH_XVFB, DAMAGE = sys.argv[1:8]
COMPARED = re.compile(r"(\d+) states of memory compared, (\d+) differ; (\d+) pictures compared, (\d+) differ")


@contextlib.contextmanager
def server(folder: pathlib.Path, name: str, listen: str):
    """A server's address."""
    environment = {**os.environ, "VK_DRIVER_FILES": DRIVER, "VK_ICD_FILENAMES": DRIVER}
    out = folder / f"{name}.out"
    with open(out, "wb") as stream:
        process = subprocess.Popen([SERVER, "--listen", listen, "--admin", "none"], stdout=stream, stderr=stream, env=environment)
    try:
        until = time.monotonic() + 60
        while not (found := re.search(r"^listening on (\S+)$", out.read_text(), re.M)):
            assert process.poll() is None and time.monotonic() < until, out.read_text()
            time.sleep(0.05)
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, out.read_text()


def record(file: pathlib.Path, address: str, *program: str, options: tuple[str, ...] = ()) -> list[pathlib.Path]:
    """The recordings, one for each session."""
    found = subprocess.run(
        [VESPER, "record", "-o", file, "--server", address, *options, "--", *program], capture_output=True, text=True
    )
    assert found.returncode == 0, f"{program}: status {found.returncode}\n{found.stdout[-4000:]}\n{found.stderr}"
    return sorted(file.parent.glob(file.name + "*"))


def replay(file: pathlib.Path, address: str, *options: str, status: int = 0) -> str:
    found = subprocess.run(
        [VESPER, "replay", file, "--server", address, "--compare", *options], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == status, f"{file}: status {found.returncode}\n{found.stdout}\n{found.stderr}"
    return found.stdout


def check_programs(folder: pathlib.Path, address: str, other: str) -> None:
    """Compute, copies, pictures, buffers known by their address; played to the server that was recorded, and to another one."""
    chosen = "ComputeTest.*:TransferTest.*:PictureTest.Tri*:*Address*"
    files = record(folder / "tests.rec", address, TESTS, f"--gtest_filter={chosen}")
    assert len(files) > 15, files
    states = 0
    for number, file in enumerate(files):
        said = replay(file, address if number % 2 else other)
        compared = [int(each) for each in COMPARED.search(said).groups()]
        assert compared[1] == 0 and compared[3] == 0, said
        states += compared[0]
    assert states > 40, states
    largest = max(files, key=lambda each: each.stat().st_size)
    damaged = folder / "damaged"
    subprocess.run([DAMAGE, largest, damaged], check=True)
    assert "holds other bytes" in replay(damaged, address, status=1)


def check_trace(folder: pathlib.Path, address: str) -> None:
    """Readable calls, a trace for viewers, and what --anonymize leaves out of both."""
    program = (TESTS, "--gtest_filter=DebugUtilsTest.NamesTagsAndLabels")
    texts = {}
    for name, options in (("named", ()), ("anonymous", ("--anonymize",))):
        files = record(folder / f"{name}.rec", address, *program, options=options)
        made = [subprocess.run([VESPER, "trace", file], capture_output=True, check=True, text=True).stdout for file in files]
        texts[name] = "".join(made)
        for file in files:
            replay(file, address)
            subprocess.run([VESPER, "trace", file, "--json", folder / "trace.json"], check=True)
            events = json.loads((folder / "trace.json").read_text())["traceEvents"]
            begun = [event for event in events if event["ph"] == "b"]
            assert len(begun) >= sum(event["ph"] == "e" for event in events) > 0, events
    assert "vkSetDebugUtilsObjectNameEXT(" in texts["named"] and "DebugUtils" in texts["named"]
    assert "ObjectNameEXT" not in texts["anonymous"] and "LabelEXT" not in texts["anonymous"]
    for call in ("vkCreateDevice(", "vkQueueSubmit", "completed 1"):
        assert call in texts["named"] and call in texts["anonymous"], call


def check_frames(folder: pathlib.Path, address: str) -> None:
    """Pictures that were presented, each compared; --frames ends early, --loop plays again."""
    files = record(folder / "window.rec", address, WITH_XVFB, WINDOW_TESTS, "--gtest_filter=-DyingServerTest.*")
    said = {file: replay(file, address) for file in files}
    frames = {file: int(re.search(r"(\d+) frames:", text)[1]) for file, text in said.items()}
    pictures = sum(int(COMPARED.search(text)[3]) for text in said.values())
    assert pictures > 20 and pictures <= sum(frames.values()), (pictures, frames)
    most = max(files, key=lambda file: frames[file])
    assert f" {3} frames:" in replay(most, address, "--frames", "3"), most
    assert len(COMPARED.findall(replay(most, address, "--loop", "2"))) == 2


def check_kill(folder: pathlib.Path, address: str) -> None:
    """The recorder is killed while a program runs: what it had written by then replays."""
    file = folder / "killed.rec"
    process = subprocess.Popen(
        [VESPER, "record", "-o", file, "--server", address, "--", TESTS, "--gtest_filter=TransferTest.*", "--gtest_repeat=1000"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )
    until = time.monotonic() + 60
    while len(list(folder.glob("killed.rec*"))) < 4:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    messages = 0
    for each in folder.glob("killed.rec*"):
        messages += int(replay(each, address).split(" messages")[0].split()[-1])
    assert messages > 20, messages


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with server(folder, "one", f"unix:{folder}/one.sock") as address:
            with server(folder, "other", "tcp://127.0.0.1:0") as other:
                check_programs(folder, address, other)
            check_trace(folder, address)
            check_kill(folder, address)
            if WITH_XVFB != "none":
                check_frames(folder, address)
        refused = subprocess.run([VESPER, "replay", __file__, "--server", address], capture_output=True, text=True)
        assert refused.returncode != 0 and "is no recording" in refused.stderr, refused


main()
