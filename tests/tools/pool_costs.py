#!/usr/bin/env python3
"""pool_costs.py SERVER VESPER [DRIVER.json]: what a session costs its host, for the model in docs/pool.md. Prints a table; not a test."""

from __future__ import annotations

import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

SERVER, VESPER = sys.argv[1:3]
DRIVER = sys.argv[3] if len(sys.argv) > 3 else "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json"
SESSIONS = 16


def pss(pid: int) -> float:
    """MiB of a process, what it shares counted in parts."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) / 1024


def family(pid: int) -> list[int]:
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def begin(address: str) -> tuple[subprocess.Popen, float]:
    """A client with a device and a submit behind it, and how long that took."""
    start = time.monotonic()
    process = subprocess.Popen(
        [VESPER, "run", "--server", address, "--", VESPER, "bench-rows"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write("open submit.empty\nrun 1\n")
    process.stdin.flush()
    said = process.stdout.readline() + process.stdout.readline()
    assert "seconds" in said, said
    return process, time.monotonic() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        environment = {**os.environ, "VK_DRIVER_FILES": DRIVER, "VK_ICD_FILENAMES": DRIVER}
        said = subprocess.run([SERVER, "init", "--host", "127.0.0.1", "--credentials", folder / "trust"], capture_output=True, text=True)
        token, fingerprint = re.search(r"VESPER_SERVER='tls://([^@]+)@[^#]*#([^']+)'", said.stdout + said.stderr).groups()
        out = folder / "out"
        with open(out, "wb") as stream:
            server = subprocess.Popen(
                [SERVER, "--listen", f"unix:{folder}/sock", "--listen", "tls://127.0.0.1:0", "--credentials", folder / "trust",
                 "--admin", f"unix:{folder}/admin"],
                stdout=stream, stderr=stream, env=environment,
            )
        while not (found := re.search(r"listening on tls://.*:(\d+)$", out.read_text(), re.M)):
            time.sleep(0.05)
        time.sleep(2)  # workers that are started ahead
        idle = sum(map(pss, family(server.pid)))
        print(f"server without sessions, two workers ahead: {idle:.0f} MiB")
        for address in (f"unix:{folder}/sock", f"tls://{token}@127.0.0.1:{found[1]}#{fingerprint}"):
            clients, times = [], []
            for _ in range(SESSIONS):
                client, seconds = begin(address)
                clients.append(client)
                times.append(seconds)
                time.sleep(0.5)  # the next worker
            time.sleep(2)
            memory = sum(map(pss, family(server.pid)))
            print(
                f"{address.split(':')[0]}: process to first submit {statistics.median(times) * 1e3:.0f} ms (worst {max(times) * 1e3:.0f}), "
                f"{(memory - idle) / SESSIONS:.1f} MiB a session"
            )
            print(subprocess.run([VESPER, "ps", "--admin", f"unix:{folder}/admin"], capture_output=True, text=True).stdout.split("\n")[2])
            for client in clients:
                client.stdin.close()
                client.wait()
            time.sleep(1)
        server.terminate()
        server.wait()


main()
