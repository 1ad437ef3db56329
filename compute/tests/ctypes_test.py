"""The C ABI as Python sees it: the example adds, and wrong use is an error, not a crash.

Environment: VESPER_COMPUTE_LIBRARY, VESPER_COMPUTE_SHADER (vector_add.comp as SPIR-V).
"""

import ctypes
import os
import pathlib
import random
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples"))
from ctypes_vector_add import Gpu, add_on_gpu  # noqa: E402


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return Gpu(os.environ["VESPER_COMPUTE_LIBRARY"])


@pytest.fixture(scope="module")
def spirv() -> bytes:
    return pathlib.Path(os.environ["VESPER_COMPUTE_SHADER"]).read_bytes()


def test_is_available(gpu: Gpu) -> None:
    assert gpu.available()


@pytest.mark.parametrize("count", [1, 63, 64, 65, 10_000])
def test_adds(gpu: Gpu, spirv: bytes, count: int) -> None:
    a = [float(random.randrange(1000)) for _ in range(count)]
    b = [float(random.randrange(1000)) for _ in range(count)]
    assert add_on_gpu(gpu, spirv, a, b) == [x + y for x, y in zip(a, b)]


def test_two_threads(gpu: Gpu, spirv: bytes) -> None:
    results: list[list[float]] = []

    def add() -> None:
        for _ in range(3):
            results.append(add_on_gpu(gpu, spirv, [1.0] * 1000, [2.0] * 1000))

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[3.0] * 1000] * 6


def test_wrong_use_is_an_error(gpu: Gpu, spirv: bytes) -> None:
    device = gpu.make("device_create")
    buffer = gpu.make("buffer_alloc", device, 4)
    with pytest.raises(RuntimeError, match="BufferTooSmall"):
        gpu.call("buffer_upload", buffer, bytes(8), 8)
    with pytest.raises(RuntimeError, match="SpirvCompilationFailed"):
        gpu.make("kernel_compile", device, spirv[4:], len(spirv) - 4)
    with pytest.raises(RuntimeError, match="buffer as a device"):
        gpu.make("buffer_alloc", buffer, 4)
    gpu.free("buffer", buffer)
    with pytest.raises(RuntimeError, match="freed"):
        gpu.call("buffer_download", buffer, ctypes.create_string_buffer(4), 4)
    gpu.free("device", device)
