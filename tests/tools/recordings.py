#!/usr/bin/env python3
"""recordings.py VESPER SERVER DRIVER.json RENUMBER RECORDING...: each recording of a real program gives the same memory and the same
pictures on this build's server; the same when its client had been of a newer or older registry, with other numbers for its commands."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

VESPER, SERVER, DRIVER, RENUMBER, *RECORDINGS = sys.argv[1:]
COMPARED = re.compile(r"(\d+) states of memory compared, (\d+) differ; (\d+) pictures compared, (\d+) differ")
# Without what some processors have and others lack: as scripts/recordings makes them.
ENVIRONMENT = {**os.environ, "VK_DRIVER_FILES": DRIVER, "VK_ICD_FILENAMES": DRIVER, "GALLIUM_OVERRIDE_CPU_CAPS": "avx"}


def start(folder: pathlib.Path) -> tuple[subprocess.Popen[bytes], str, pathlib.Path]:
    """A server, its address and what it says."""
    log = folder / "server.log"
    with open(log, "wb") as stream:
        listen = f"unix:{folder}/server.sock"
        process = subprocess.Popen([SERVER, "--listen", listen, "--admin", "none"], stdout=stream, stderr=stream, env=ENVIRONMENT)
    until = time.monotonic() + 60
    while not (found := re.search(r"^listening on (\S+)$", log.read_text(), re.M)):
        assert process.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.05)
    return process, found[1], log


def replay(file: pathlib.Path, address: str) -> int:
    """How much was compared and is equal."""
    found = subprocess.run([VESPER, "replay", file, "--server", address, "--compare"], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, f"{file}: status {found.returncode}\n{found.stdout}\n{found.stderr}"
    said = COMPARED.search(found.stdout)
    assert said is not None, found.stdout
    states, other_states, pictures, other_pictures = (int(each) for each in said.groups())
    assert other_states == other_pictures == 0, found.stdout
    print(f"{file.name}: {states} states, {pictures} pictures; {found.stdout.splitlines()[0]}")
    return states + pictures


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        process, address, log = start(folder)
        try:
            for recording in map(pathlib.Path, RECORDINGS):
                # vulkaninfo has nothing but answers.
                least = 0 if recording.stem == "vulkaninfo" else 1
                compared = replay(recording, address)
                assert compared >= least, f"{recording}: nothing was compared"
                for kind in ("newer", "older"):
                    other = folder / f"{kind}-{recording.name}"
                    subprocess.run([RENUMBER, kind, recording, other], check=True)
                    before = log.read_text().count("of another registry")
                    assert replay(other, address) >= least, other
                    assert log.read_text().count("of another registry") == before + 1, log.read_text()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.read_text()


main()
