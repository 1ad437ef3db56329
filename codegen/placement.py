"""Where fields lie: presence bits, and offsets in the fixed parts of request and reply."""

from __future__ import annotations

from dataclasses import replace

from codegen.plan import FIXED, Field


def bound_outputs(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Keeps ``capacity`` only where it names a count that the callee overwrites."""
    counts = {f.name for f in fields if f.op == "count"}
    return tuple(
        replace(f, capacity=f.capacity if f.direction == "out" and f.capacity in counts else "")
        for f in fields
    )


def number_presence(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Gives a bit of the presence bitmap to every field that may be absent."""
    bit, numbered = 0, []
    for each in fields:
        if each.pointers and each.op not in ("none", "opaque"):
            each = replace(each, present=bit)
            bit += 1
        numbered.append(each)
    return tuple(numbered)


def place_fields(
    fields: tuple[Field, ...], words: int, result_size: int = 0
) -> tuple[tuple[Field, ...], int, int]:
    """Offsets in the fixed parts of request and reply, and their sizes."""
    request, reply, bits, placed = 4 * words, result_size, 0, []
    for each in fields:
        whole = each.size * (each.extent or 1)
        if each.element == "bits":
            if bits % 32 + each.bit_width > 32:
                bits = (bits + 31) // 32 * 32
            each = replace(each, bit_shift=bits % 32, request_offset=bits // 32)
            bits += each.bit_width
        elif each.op in ("none", "blob", "string", "string_array", "chain", "union"):
            pass
        elif each.op == "opaque" or each.op == "count" or (each.pointers == 0 and each.element in FIXED):
            if each.has_request:
                each = replace(each, request_offset=request)
                request += whole
            if each.has_reply and each.op != "new_handle":
                each = replace(each, reply_offset=reply)
                reply += whole
        placed.append(each)
    words_of_bits = (bits + 31) // 32
    final = tuple(
        replace(f, request_offset=request + 4 * f.request_offset) if f.element == "bits" else f
        for f in placed
    )
    return final, request + 4 * words_of_bits, reply
