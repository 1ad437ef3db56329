"""The one exception that people see: what is wrong, and in which line of which file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A line of an input file, e.g. ``Place("vk.xml", 1098)``."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class InputError(Exception):
    """An input (registry or policy) that cannot be used as it is."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message
