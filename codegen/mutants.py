"""Faults for the tests to find: sampled one-field changes of the plan, rendered beside the true functions.

Used only with ``--mutants SEED:COUNT``, into a folder of its own: each affected function begins with its faulty
bodies, and
`vesper::wire::active_mutant` says which one runs. A round-trip test must fail for every one of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Callable

from codegen.plan import CommandPlan, Field, FlatPlan, Plan, StructPlan

Planned = CommandPlan | StructPlan | FlatPlan
# A change of one field, given all of them; None where it does not apply or changes nothing that travels.
Fault = Callable[[Field, tuple[Field, ...]], Field | None]


@dataclass(frozen=True)
class Mutant:
    """One fault, e.g. number 17: ``VkBufferCreateInfo.size: dropped``."""

    number: int
    owner: str
    text: str
    original: Planned
    faulty: Planned


def _dropped(field: Field, _all: tuple[Field, ...]) -> Field | None:
    if field.op == "none":
        return None
    return replace(
        field, op="none", element="none", request_offset=-1, reply_offset=-1, present=-1, echo=False
    )


def _wrong_length(field: Field, _all: tuple[Field, ...]) -> Field | None:
    wanted = (
        field.pointers == 1
        and field.op in ("array", "blob", "new_handle", "string_array")
        and not field.stride
    )
    return replace(field, count=f"(({field.count}) / 2)") if wanted else None


def _wrong_row_length(field: Field, _all: tuple[Field, ...]) -> Field | None:
    return replace(field, inner_count="0") if field.inner_count else None


def _short_array(field: Field, _all: tuple[Field, ...]) -> Field | None:
    return replace(field, extent=field.extent - 1) if field.extent > 1 and field.element != "deep" else None


def _never_present(field: Field, _all: tuple[Field, ...]) -> Field | None:
    wanted = field.present >= 0 and field.direction == "in" and not field.condition
    return replace(field, condition="false", required=False) if wanted else None


def _wrong_condition(field: Field, _all: tuple[Field, ...]) -> Field | None:
    return replace(field, condition=f"!({field.condition})") if field.condition else None


def _no_condition(field: Field, _all: tuple[Field, ...]) -> Field | None:
    return replace(field, condition="") if field.condition not in ("", f"(v.{field.name} != 0)") else None


def _same_bit(field: Field, every: tuple[Field, ...]) -> Field | None:
    both = [f for f in every if f.present > field.present >= 0 and f.op != "count"]
    other = next(
        (f for f in both if not (f.required and field.required)), None
    )  # two that are always there share it
    return replace(field, present=other.present) if other and field.op != "chain" else None


def _same_place(field: Field, every: tuple[Field, ...]) -> Field | None:
    wanted = field.request_offset >= 0 and field.element in ("scalar", "handle", "size") and not field.extent
    others = [
        f for f in every if f.request_offset > field.request_offset and not f.extent and f.size == field.size
    ]
    return replace(field, request_offset=others[0].request_offset) if wanted and others else None


def _wrong_handle(field: Field, _all: tuple[Field, ...]) -> Field | None:
    if field.element != "handle" or field.direction == "out":
        return None
    return replace(field, handle="kBuffer" if field.handle != "kBuffer" else "kImage")


def _dispatch_flipped(field: Field, _all: tuple[Field, ...]) -> Field | None:
    wanted = field.element == "handle" and field.direction == "in"
    return replace(field, dispatchable=not field.dispatchable) if wanted else None


def _not_ignorable(field: Field, _all: tuple[Field, ...]) -> Field | None:
    return replace(field, use="kRequired") if field.use == "kIgnorable" and field.direction == "in" else None


def _dense(field: Field, _all: tuple[Field, ...]) -> Field | None:
    return replace(field, stride="") if field.stride else None


def _wrong_direction(field: Field, _all: tuple[Field, ...]) -> Field | None:
    if field.op == "opaque":  # a number, whatever its declaration says
        return None
    if field.direction == "out" and field.pointers == 1 and field.element in ("scalar", "copy", "byte"):
        return replace(field, direction="in", op="array")
    return None


def _not_echoed(field: Field, _all: tuple[Field, ...]) -> Field | None:
    return replace(field, echo=False) if field.echo else None


def _narrow_bits(field: Field, _all: tuple[Field, ...]) -> Field | None:
    return replace(field, bit_width=field.bit_width - 1) if field.bit_width > 1 else None


def _no_translation(field: Field, _all: tuple[Field, ...]) -> Field | None:
    if field.element == "object":
        return replace(field, element="scalar")
    return None


FAULTS: dict[str, Fault] = {
    "dropped": _dropped, "wrong length": _wrong_length, "wrong row length": _wrong_row_length,
    "one element short": _short_array, "never present": _never_present, "wrong condition": _wrong_condition,
    "no condition": _no_condition, "the presence bit of another": _same_bit, "the offset of another": _same_place,
    "handle of another type": _wrong_handle, "dispatchable or not confused": _dispatch_flipped,
    "stale handle not ignored": _not_ignorable, "stride forgotten": _dense, "wrong direction": _wrong_direction,
    "not echoed": _not_echoed, "bit-field too narrow": _narrow_bits, "hidden handle not translated": _no_translation,
}  # fmt: skip


def sample(plan: Plan, seed: int, count: int) -> list[Mutant]:
    """``count`` faults, the same for the same seed, every kind as often as there are places for it, at most evenly."""
    owners: list[Planned] = [c for c in plan.commands.values() if c.on_wire]
    owners += [s for s in plan.structs.values() if not s.is_union and s.name not in plan.quarantined]
    owners += [f for f in plan.flats.values() if not f.copy and not f.is_union]
    places: dict[str, list[tuple[Planned, int, Field]]] = {kind: [] for kind in FAULTS}
    for owner in owners:
        for index, field in enumerate(owner.fields):
            if field.op == "chain" and not getattr(owner, "chain", ()):
                continue  # nothing may stand in it: every fault is without effect
            for kind, fault in FAULTS.items():
                made = fault(field, owner.fields)
                if made is not None:
                    places[kind].append((owner, index, made))
    chooser = random.Random(seed)
    for found in places.values():
        chooser.shuffle(found)
    mutants: list[Mutant] = []
    kinds = list(FAULTS)
    while len(mutants) < count and any(places.values()):
        kind = (
            kinds[len(mutants) % len(kinds)]
            if places[kinds[len(mutants) % len(kinds)]]
            else chooser.choice([k for k in kinds if places[k]])
        )
        owner, index, made = places[kind].pop()
        fields = tuple(made if i == index else f for i, f in enumerate(owner.fields))
        text = f"{owner.fields[index].name}: {kind}" + (
            f" ({owner.role})" if isinstance(owner, StructPlan) else ""
        )
        mutants.append(Mutant(len(mutants) + 1, owner.name, text, owner, replace(owner, fields=fields)))
    return mutants
