#!/usr/bin/env python3
"""bench_run.py VESPER DRIVER.json [SERVER x11|wayland WITH_WINDOW...]: the rows of `vesper bench` are valid Vulkan; they run on the driver and through servers of
its own and move what they should; table, JSON and drawing say the same. How fast it was is of no interest. With more
arguments: `vesper bench --window` and `vesper doctor --window` on the screen that the scripts WITH_WINDOW have."""

from __future__ import annotations

import ctypes.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

VESPER, DRIVER = sys.argv[1], sys.argv[2]
ROWS = "sync.*|mem.readback_4b"
SYNC_ROWS = 9


def run(folder: pathlib.Path, *options: str) -> tuple[str, dict]:
    found = subprocess.run(
        [VESPER, "bench", "--quick", "--native-driver", DRIVER, "--json", folder / "found.json", "--svg",
         folder / "found.svg", *options],
        capture_output=True, text=True,
    )
    assert found.returncode == 0, f"{options}: status {found.returncode}\n{found.stdout}\n{found.stderr}"
    return found.stdout, json.loads((folder / "found.json").read_text())


def check(folder: pathlib.Path, table: str, found: dict, transport: str) -> None:
    (one,) = found["runs"]
    assert one["transport"] == transport, one["transport"]
    assert one["native_device"] == one["vesper_device"] != "", one
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["row", "unit", "native", "vesper", "ratio", "trips", "waits", "sent", "received"], lines[0]
    assert len(one["rows"]) == SYNC_ROWS + 1
    for row, line in zip(one["rows"], lines[1:], strict=False):
        assert row["failure"] is None and row["native"]["median"] > 0 and row["vesper"]["rounds"] == 3, row
        assert line[:2] == [row["name"], row["unit"]] and len(line) == 9, line
        assert abs(row["ratio"] * row["native"]["median"] / row["vesper"]["median"] - 1) < 1e-3, row
    counts = {row["name"]: row["per_operation"] for row in one["rows"]}
    # What a fence is at is never asked for, nor is there a message for each look; neither are four bytes from the GPU.
    # Bytes and waits of a batch vary a little: what lies around it is packed into messages as it comes.
    assert counts["sync.fence_signaled"]["round_trips"] == 0 and counts["sync.fence_signaled"]["bytes_sent"] < 10, counts
    assert counts["mem.readback_4b"]["round_trips"] == 0 and counts["mem.readback_4b"]["bytes_sent"] > 0, counts
    drawing = xml.parse(folder / "found.svg").getroot()
    assert len(re.findall("circle", "".join(each.tag for each in drawing))) == SYNC_ROWS + 1 + 1  # and the legend's


def check_rows_are_valid() -> None:
    """What the rows do is what Vulkan allows: the validation layer says nothing. But for those that are large or slow."""
    listed = subprocess.run([VESPER, "bench", "--list"], capture_output=True, check=True, text=True).stdout.split("\n")[:-1]
    rows = [name for name, _ in map(str.split, listed) if not re.search("matmul|64m|16m|drained|pipelined", name)]
    lines = "".join(f"open {row}\nrun 1\nclose\n" for row in rows)
    driver = {"VK_DRIVER_FILES": DRIVER, "VK_ICD_FILENAMES": DRIVER, "VK_INSTANCE_LAYERS": "VK_LAYER_KHRONOS_validation"}
    found = subprocess.run(
        [VESPER, "bench-rows"], input=lines, capture_output=True, env={**os.environ, **driver}, check=True, text=True
    )
    assert found.stderr == "", found.stderr[:2000]
    assert len(rows) > 30 and found.stdout.count("\nseconds ") == len(rows), found.stdout


def check_window(with_window: list[str], system: str) -> None:
    """`vesper bench --window` and `vesper doctor --window`, on a screen of that window system: frames come on every path, through
    TCP they weigh something, and what is drawn is valid Vulkan."""
    with tempfile.TemporaryDirectory() as name:
        file = pathlib.Path(name) / "window.json"
        found = subprocess.run(
            [*with_window, VESPER, "bench", "--window", "--quick", "--size", "200x150", "--native-driver", DRIVER, "--json", file],
            capture_output=True, text=True,
        )
        assert found.returncode == 0, f"{found.stdout}\n{found.stderr}"
        paths = json.loads(file.read_text())["paths"]
    assert [path["path"] for path in paths] == ["native", "unix", "tcp"], paths
    lines = [line.split() for line in found.stdout.splitlines()]
    assert lines[0][0] == "path" and [line[0] for line in lines[1:4]] == ["native", "unix", "tcp"], found.stdout
    for path, line in zip(paths, lines[4:], strict=True):
        assert path["frames_per_second"] > 0 and path["first_ms"] > 0 and path["client_cpu_ms"] > 0, path
        assert system in line and line[-2:] == ["200", "150"], line
    assert paths[2]["kilobytes_per_frame"] > 1 and paths[2]["server_cpu_ms"] > 0, paths
    driver = {"VK_DRIVER_FILES": DRIVER, "VK_ICD_FILENAMES": DRIVER, "VK_INSTANCE_LAYERS": "VK_LAYER_KHRONOS_validation"}
    found = subprocess.run(
        [*with_window, VESPER, "window-worker", "--seconds", "0.3", "--measured"],
        input="go\n", capture_output=True, env={**os.environ, **driver}, check=True, text=True,
    )
    assert not re.search("VUID|Validation", found.stderr) and "\ndone " in found.stdout, f"{found.stdout}\n{found.stderr}"


def check_doctor(with_window: list[str], server_program: str, system: str) -> None:
    driver = {"VK_DRIVER_FILES": DRIVER, "VK_ICD_FILENAMES": DRIVER}
    server = subprocess.Popen(
        [server_program, "--listen", "tcp://127.0.0.1:0", "--admin", "none"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, **driver},
    )
    try:
        address = next(line.split()[-1] for line in server.stdout if line.startswith("listening on "))
        asked = [VESPER, "doctor", "--window", "--seconds", "1", "--server", address]
        found = subprocess.run([*with_window, *asked], capture_output=True, text=True)
        assert found.returncode == 0, f"{found.stdout}\n{found.stderr}"
        assert re.search(rf"ok +window +{system} \w+ 500 500, tcp: \w.*\n +[1-9][0-9.]* frames/s, [0-9.]+ ms from drawing to the "
                         r"window, [0-9.]+ KB a frame, VESPER_FRAMES=exact", found.stdout), found.stdout
        gone = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
        found = subprocess.run(asked, capture_output=True, text=True, env=gone)
        assert found.returncode == 1 and "FAIL  window" in found.stdout and "next:" in found.stdout, found.stdout
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    if len(sys.argv) > 3:  # windows alone
        server, system, *with_window = sys.argv[3:]
        if ctypes.util.find_library("SDL2-2.0") is None:
            print("SDL 2 is not installed")
            sys.exit(77)
        check_window(with_window, system)
        check_doctor(with_window, server, system)
        return
    check_rows_are_valid()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check(folder, *run(folder, "--rows", ROWS, "--transport", "socket"), "unix")
        _, found = run(folder, "--rows", "mem.upload_4k|mem.download_4k", "--delay", "2", "--rate", "100")
        (one,) = found["runs"]
        assert one["transport"] == "tcp" and one["delay_ms"] == 2, one
        for row in one["rows"]:  # 4 KiB and a round trip of 2 ms
            assert row["failure"] is None and 0 < row["vesper"]["most"] < 4096 / 2e-3 / 1e6, row
    refused = subprocess.run([VESPER, "bench", "--rows", "no.such"], capture_output=True, text=True)
    assert refused.returncode == 1 and "no row is called" in refused.stderr, refused


main()
