#!/usr/bin/env python3
"""several.py SERVER ICD.json DRIVER.json PROGRAM MATMUL: VESPER_SERVER names several servers. One instance has the GPUs of all, in that order, which
work at the same time, also on one matrix product; one that does not answer is named and left out; one that dies takes its own devices along and no others."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

SERVER, ICD, DRIVER, PROGRAM, MATMUL = sys.argv[1:6]


@contextlib.contextmanager
def server(folder: pathlib.Path, name: str, listen: str):
    out = folder / f"{name}.out"
    with open(out, "wb") as stream:
        process = subprocess.Popen(
            [SERVER, "--listen", listen, "--admin", "none"], stdout=stream, stderr=stream,
            env={**os.environ, "VK_DRIVER_FILES": DRIVER, "VK_ICD_FILENAMES": DRIVER},
        )
    end = time.monotonic() + 60
    while not (found := re.search(r"^listening on (\S+)$", out.read_text(), re.M)):
        assert process.poll() is None and time.monotonic() < end, out.read_text()
        time.sleep(0.05)
    try:
        yield found[1], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, out.read_text()


class Program:
    def __init__(self, servers: str, count: int) -> None:
        environment = {**os.environ, "VESPER_SERVER": servers, "VK_DRIVER_FILES": ICD, "VK_ICD_FILENAMES": ICD}
        self.process = subprocess.Popen(
            [PROGRAM, str(count)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def round(self) -> str:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> str:
        said, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said + errors
        return errors


def multiply_on_both(folder: pathlib.Path, servers: str) -> None:
    """One product, each server's device with half of the rows of A."""
    environment = {
        **os.environ, "VESPER_SERVER": servers, "VK_DRIVER_FILES": ICD, "VK_ICD_FILENAMES": ICD, "VESPER_COMPUTE_CACHE": str(folder),
    }
    said = subprocess.run(
        [MATMUL, "-m", "61", "-n", "50", "-k", "40", "--device", "0", "--share", "1", "--verify"],
        env=environment, capture_output=True, text=True, timeout=120,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert re.search(r"^rows 0 to 29: .*^rows 30 to 60: .*2 devices.*^verified", said.stdout, re.M | re.S), said.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with server(folder, "one", f"unix:{folder}/one.sock") as (one, _), server(folder, "two", "tcp://127.0.0.1:0") as (two, process):
            for servers in (f"{one},{two}", f"{two},{one}"):
                program = Program(servers, 2)
                assert program.process.stdout.readline() == "2 devices\n"
                assert [program.round() for _ in range(3)] == ["right right"] * 3
                assert program.end() == ""
            multiply_on_both(folder, f"{one},{two}")
            missing = Program(f"unix:{folder}/nobody.sock,{one},{two}", 2)
            assert missing.process.stdout.readline() == "2 devices\n" and missing.round() == "right right"
            errors = missing.end()
            assert errors.count("left out") == 1 and "nobody.sock" in errors, errors
            program = Program(f"{one},{two}", 2)
            assert program.process.stdout.readline() == "2 devices\n" and program.round() == "right right"
            process.send_signal(signal.SIGKILL)
            process.wait()
            end = time.monotonic() + 30
            while (said := program.round()) != "right lost":
                assert said == "right right" and time.monotonic() < end, said
            assert program.round() == "right lost"
            program.end()
        nobody = Program(f"unix:{folder}/x.sock,unix:{folder}/y.sock", 2)
        said, errors = nobody.process.communicate(timeout=60)
        assert nobody.process.returncode == 1 and "x.sock" in errors and "y.sock" in errors, said + errors


main()
