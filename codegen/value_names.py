"""What the values of enumerations and bit masks are called, for what shows them to people."""

from __future__ import annotations

import re
from functools import cache

from codegen.model import Model


class ValueNames:
    """The names of every enumeration's values, without what all of them begin with."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tables = {group: made for group in model.enum_groups if (made := self._table(group))}

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
