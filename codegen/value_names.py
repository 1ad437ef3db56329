"""What shows commands to people needs: what values are called, and which structs requests hold."""

from __future__ import annotations

import re
from functools import cache

from codegen.model import Model
from codegen.plan import CommandPlan, Field, FlatPlan, Plan, StructPlan


def is_shown(field: Field) -> bool:
    """Whether a request says it: what the driver fills does not travel there."""
    return field.direction != "out" and field.role != "out" and field.op != "none"


def requested(plan: Plan) -> tuple[list[FlatPlan], list[StructPlan], list[StructPlan]]:
    """Structs that requests hold: those of fixed size, the others, and of these the ones that stand in chains."""
    flats: set[str] = set()
    structs: dict[str, StructPlan] = {}
    chained: set[str] = set()
    pending: list[CommandPlan | StructPlan | FlatPlan] = [c for c in plan.commands.values() if c.on_wire]
    while pending:
        made = pending.pop()
        names = [f.type for f in made.fields if is_shown(f)]
        if isinstance(made, StructPlan):
            names += made.chain
            chained.update(made.chain)
        for name in names:
            if name in plan.flats and name not in flats:
                flats.add(name)
                pending.append(plan.flats[name])
            elif (name, "in") in plan.structs and name not in structs:
                structs[name] = plan.structs[name, "in"]
                pending.append(structs[name])
    found = [s for s in plan.structs.values() if s.role == "in" and s.name in structs]
    return (
        [f for f in plan.flats.values() if f.name in flats and not f.is_union],
        found,
        [s for s in found if s.name in chained and s.s_type],
    )


class ValueNames:
    """The names of every enumeration's values, without what all of them begin with."""

    def __init__(self, model: Model) -> None:
        self.model = model
        groups = [g for g in model.enum_groups if g in model.scalars or g.isidentifier()]
        self.tables = {group: made for group in groups if (made := self._table(group))}

    def of(self, type_name: str) -> str:
        """The enumeration whose values a type takes, e.g. ``VkImageUsageFlagBits`` for its mask, "" without."""
        for name in (type_name, bits_of(type_name)):
            if name in self.tables:
                return name
        return ""

    def is_mask(self, type_name: str) -> bool:
        return "Flags" in type_name or "FlagBits" in type_name

    def all(self) -> dict[str, list[tuple[str, str]]]:
        """By enumeration: short name and value of each, sorted by value, the first name of a value alone."""
        return dict(sorted(self.tables.items()))

    def _table(self, group: str) -> list[tuple[str, str]]:
        prefix = prefix_of(group, self.model.tags)
        found: dict[int, str] = {}
        for name in self.model.enum_groups[group]:
            value = self.model.enumerators[name]
            if value is not None and -(2**63) < value < 2**63:
                found.setdefault(value, name)
        made = []
        for value, name in sorted(found.items()):
            text = name.removeprefix(prefix)
            if self.is_mask(group):
                text = text.replace("_BIT", "", 1)
            made.append((text, f"{value}LL"))
        return made


def bits_of(mask: str) -> str:
    """``VkImageUsageFlags`` is a mask of ``VkImageUsageFlagBits``."""
    return re.sub(r"Flags(\d*[A-Z]*)$", r"FlagBits\1", mask)


@cache
def prefix_of(group: str, tags: tuple[str, ...]) -> str:
    """What values of an enumeration begin with, e.g. ``VK_IMAGE_USAGE_`` for VkImageUsageFlagBits."""
    stem = group
    for tag in tags:
        stem = stem.removesuffix(tag)
    stem = re.sub(r"FlagBits\d*$", "", stem)
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|[a-z]+|\d+", stem)
    return "_".join(words).upper() + "_"
