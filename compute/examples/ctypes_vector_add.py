#!/usr/bin/env python3
"""Adds two vectors on the GPU through the C ABI of vesper-compute (rt_vk.h), with nothing but ctypes.

    ctypes_vector_add.py LIBRARY SHADER [COUNT]

LIBRARY is libvesper-compute.so, SHADER the SPIR-V of vector_add.comp. Ends with status 0 when the sum is right.
"""

from __future__ import annotations

import ctypes
import pathlib
import random
import sys


class Gpu:
    """The library with its argument types declared; functions that fail raise RuntimeError."""

    def __init__(self, library: str) -> None:
        handle, pointer = ctypes.c_uint64, ctypes.c_void_p
        self._rt = ctypes.CDLL(library)
        signatures = {
            "rt_vk_is_available": (ctypes.c_int, []),
            "rt_vk_device_create": (handle, []),
            "rt_vk_device_sync": (ctypes.c_int, [handle]),
            "rt_vk_device_free": (None, [handle]),
            "rt_vk_buffer_alloc": (handle, [handle, ctypes.c_uint64]),
            "rt_vk_buffer_upload": (ctypes.c_int, [handle, pointer, ctypes.c_uint64]),
            "rt_vk_buffer_download": (ctypes.c_int, [handle, pointer, ctypes.c_uint64]),
            "rt_vk_buffer_free": (None, [handle]),
            "rt_vk_kernel_compile": (handle, [handle, pointer, ctypes.c_uint64]),
            "rt_vk_kernel_launch": (
                ctypes.c_int,
                [handle, pointer] + [ctypes.c_uint32] * 4 + [pointer, ctypes.c_uint32],
            ),
            "rt_vk_kernel_launch_1d": (
                ctypes.c_int,
                [handle, pointer] + [ctypes.c_uint32] * 2 + [pointer, ctypes.c_uint32],
            ),
            "rt_vk_kernel_free": (None, [handle]),
            "rt_vk_last_error": (ctypes.c_char_p, []),
        }
        for name, (result, arguments) in signatures.items():
            function = getattr(self._rt, name)
            function.restype, function.argtypes = result, arguments

    def available(self) -> bool:
        return bool(self._rt.rt_vk_is_available() == 1)

    def last_error(self) -> str:
        return str(self._rt.rt_vk_last_error().decode())

    def call(self, name: str, *arguments: object) -> None:
        """Calls an int function, which must return 0."""
        if getattr(self._rt, "rt_vk_" + name)(*arguments) != 0:
            raise RuntimeError(self.last_error())

    def make(self, name: str, *arguments: object) -> int:
        """Calls a function that returns a handle, which must not be 0."""
        result = int(getattr(self._rt, "rt_vk_" + name)(*arguments))
        if result == 0:
            raise RuntimeError(self.last_error())
        return result

    def free(self, kind: str, handle: int) -> None:
        getattr(self._rt, f"rt_vk_{kind}_free")(handle)


def add_on_gpu(gpu: Gpu, spirv: bytes, a: list[float], b: list[float]) -> list[float]:
    """The sum of two vectors of the same length."""
    count = len(a)
    floats = ctypes.c_float * count
    size = ctypes.sizeof(floats)
    device = gpu.make("device_create")
    kernel = gpu.make("kernel_compile", device, spirv, len(spirv))
    buffers = (ctypes.c_uint64 * 3)(*(gpu.make("buffer_alloc", device, size) for _ in range(3)))
    gpu.call("buffer_upload", buffers[0], floats(*a), size)
    gpu.call("buffer_upload", buffers[1], floats(*b), size)
    push = ctypes.c_uint32(count)
    gpu.call("kernel_launch_1d", kernel, buffers, 3, count, ctypes.byref(push), ctypes.sizeof(push))
    result = floats()
    gpu.call("buffer_download", buffers[2], result, size)
    for buffer in buffers:
        gpu.free("buffer", buffer)
    gpu.free("kernel", kernel)
    gpu.free("device", device)
    return list(result)


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    gpu = Gpu(sys.argv[1])
    if not gpu.available():
        print("no device to compute with", file=sys.stderr)
        return 1
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000
    a = [float(random.randrange(1000)) for _ in range(count)]
    b = [float(random.randrange(1000)) for _ in range(count)]
    total = add_on_gpu(gpu, pathlib.Path(sys.argv[2]).read_bytes(), a, b)
    wrong = sum(1 for x, y, z in zip(a, b, total) if x + y != z)
    print(f"{count} sums, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
