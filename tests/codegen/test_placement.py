"""placement.py: presence bits and offsets, by hand."""

from __future__ import annotations

from codegen.placement import bound_outputs, number_presence, place_fields
from codegen.plan import Field


def scalar(name: str, size: int, direction: str = "in", extent: int = 0) -> Field:
    return Field(name, "scalar", "T", element="scalar", size=size, direction=direction, extent=extent)


def test_offsets_follow_the_presence_words_without_padding() -> None:
    fields, request, reply = place_fields((scalar("a", 1), scalar("b", 8), scalar("c", 4, extent=3)), words=1)
    assert [f.request_offset for f in fields] == [4, 5, 13]
    assert (request, reply) == (25, 0)


def test_results_come_first_in_replies() -> None:
    fields, request, reply = place_fields((scalar("a", 4, "out"), scalar("b", 8, "inout")), 0, result_size=4)
    assert [(f.request_offset, f.reply_offset) for f in fields] == [(-1, 4), (0, 8)]
    assert (request, reply) == (8, 16)


def test_bit_fields_share_words_at_the_end_and_do_not_straddle() -> None:
    bits = [
        Field(n, "scalar", "T", element="bits", bit_width=w)
        for n, w in (("a", 24), ("b", 8), ("c", 30), ("d", 4))
    ]
    fields, request, _ = place_fields((*bits, scalar("e", 8)), words=0)
    assert [(f.request_offset, f.bit_shift) for f in fields] == [(8, 0), (8, 24), (12, 0), (16, 0), (0, 0)]
    assert request == 20


def test_pointers_have_presence_bits() -> None:
    chain = Field("pNext", "chain", "void", pointers=1)
    local = Field("pAllocator", "none", "T", pointers=1)
    array = Field("pItems", "array", "T", pointers=1)
    assert [f.present for f in number_presence((chain, scalar("a", 4), local, array))] == [0, -1, -1, 1]


def test_capacity_is_kept_for_outputs_of_counts_alone() -> None:
    count = Field("pCount", "count", "uint32_t", pointers=1, direction="inout")
    out = Field("pItems", "array", "T", pointers=1, direction="out", capacity="pCount")
    fixed = Field("pOthers", "array", "T", pointers=1, direction="out", capacity="otherCount")
    assert [f.capacity for f in bound_outputs((count, out, fixed))] == ["", "pCount", ""]
