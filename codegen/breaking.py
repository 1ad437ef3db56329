"""Where a statement that is too long is broken: what clang-format's penalties come to, for templates' statements.

A statement may be broken after a bracket, a comma or an operator, for a price that grows with the brackets
around. The cheapest way wins, among equals the one that breaks last. Arguments stand one under the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

WIDTH = 120
CONTINUED = 4
TOO_WIDE = 1_000_000  # for each letter beyond the width
LOGICAL = (4, 5)
OPERATORS = {"||": 4, "&&": 5, "|": 6, "==": 9, "!=": 9, "<": 10}
LAMBDA = re.compile(r"\[\]\(.*?\) \{.*?\}")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
# A macro that makes the name after it look like a declaration's: the return type may stand alone.
ALONE = re.compile(r"^\w+ .*? VKAPI_CALL (?=\w+\()")


@dataclass(frozen=True)
class Break:
    """A place where a line may end: what follows begins at ``at``."""

    at: int
    kind: str  # open, comma, assign, operator, choice, else, name, return
    cost: int


@dataclass(frozen=True)
class Level:
    """What is open: where its lines begin, and where the argument under way began."""

    indent: int
    begin: int
    angle: bool = False  # of template arguments
    choice: int = 0  # where a `?` stands, and its `:` if that begins a line
    locked: int = 0  # the price of the operator before an operand that does not begin a line
    frozen: bool = False  # no line ends within
    broken: bool = False  # a line has ended within
    wrapped: bool = False  # or within a bracket of the operand under way: it stands alone


# How it goes on from a break: the column, what is open there, and the price.
Way = tuple[int, tuple[Level, ...], int]


def break_line(line: str) -> list[str]:
    """``line``, one statement, as lines of at most WIDTH letters where that can be."""
    indent = len(line) - len(line.lstrip())
    text = line.strip()
    if text.startswith("{."):
        first, *others = re.split(r"(?<=,) (?=\.)", text)  # members by name stand one a line
        return [" " * indent + first, *(" " * (indent + 1) + other for other in others)]
    breaks = breaks_of(text, declares=indent == 0 and " = " not in text)
    ends = [b.at for b in breaks] + [len(text)]

    @cache
    def cheapest(index: int, column: int, levels: tuple[Level, ...]) -> tuple[int, tuple[int, ...]]:
        """The price of what begins with the break at ``index``, and the columns of breaks that are taken."""
        begin = breaks[index - 1].at if index else 0
        part = text[begin : ends[index]]
        end = column + len(part.rstrip())
        price = TOO_WIDE * max(0, end - WIDTH)
        levels = _opened(part, column, levels)
        if index == len(breaks):
            return price, ()
        here = breaks[index]
        ways = []
        for column_then, levels_then, cost in _ways(here, column + len(part), levels):
            rest = cheapest(index + 1, column_then, levels_then)
            ways.append((price + cost + rest[0], (column_then if cost else -1, *rest[1])))
        return min(ways, key=lambda way: way[0])

    columns = cheapest(0, indent, (Level(indent, indent),))[1]
    lines, begin, at = [], 0, indent
    for each, column in zip(breaks, columns):
        if column >= 0:
            lines.append(" " * at + text[begin : each.at].rstrip())
            begin, at = each.at, column
    return [*lines, " " * at + text[begin:]]


def breaks_of(text: str, declares: bool) -> list[Break]:
    """The places where ``text`` may be broken."""
    found: list[Break] = []
    depth, angle, at = 1, 0, 0
    alone = ALONE.match(text) if declares else None
    if alone:
        found.append(Break(alone.end(), "name", 130))
    member = re.fullmatch(r"\w+ (?=\w+;)(.*)", text)
    if member:
        found.append(Break(member.start(1), "assign", 3))
    if text.startswith("return "):
        found.append(Break(len("return "), "return", 0))
    while at < len(text):
        atom = LAMBDA.match(text, at) or STRING.match(text, at)
        if atom:
            at = atom.end()
            continue
        letter = text[at]
        angle += _angle(text, at, angle > 0)
        depth += (letter in "({[") - (letter in ")}]")
        made = _break_at(text, at, depth + 12 * angle, declares)
        if made and made.at > (found[-1].at if found else 0):
            found.append(made)
        at += 1
    return found


def _angle(text: str, at: int, inside: bool) -> int:
    """1 where template arguments begin, -1 where they end."""
    if text[at] == "<" and at and text[at - 1] != " ":
        return 1
    return -1 if text[at] == ">" and inside and text[at - 1] not in " -" else 0


def _break_at(text: str, at: int, depth: int, declares: bool) -> Break | None:
    """The break after the letter at ``at``, if there may be one."""
    if text[at] == "(" and text[at + 1] != ")" and not text[:at].endswith(("if ", "for ", " ", "(", "!")):
        several = _commas(text, at)
        own = 100 if declares and depth == 2 else 1 if several else 19
        return Break(at + 1, "open", 20 * depth + own)
    if text.startswith(", ", at):
        return Break(at + 2, "comma", 20 * depth + 1)
    if text.startswith(" = ", at) and depth == 1 and text[at + 3] != "{":
        return Break(at + 3, "assign", 22)
    if text[at] != " ":
        return None
    if text[at + 1 : at + 3] in ("? ", ": ") and "?" in text[: at + 2]:
        return Break(at + 1, "choice" if text[at + 1] == "?" else "else", 20 * depth + 3)
    operator = text[at + 1 :].split(" ", 1)[0]
    if operator in OPERATORS and text[at + 1 + len(operator) :].startswith(" "):
        return Break(at + len(operator) + 2, "operator", 20 * depth + OPERATORS[operator])
    return None


def _commas(text: str, at: int) -> bool:
    """Whether the bracket at ``at`` holds more than one argument."""
    depth = 0
    for letter in text[at:]:
        depth += (letter in "({[") - (letter in ")}]")
        if letter == "," and depth == 1:
            return True
        if depth == 0:
            break
    return False


def _opened(part: str, column: int, levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """``levels`` after the brackets of ``part``, which begins at ``column``."""
    made = list(levels)
    at = 0
    while at < len(part):
        atom = LAMBDA.match(part, at) or STRING.match(part, at)
        if atom:
            at = atom.end()
            continue
        angle = _angle(part, at, made[-1].angle)
        if part[at] in "({[" or angle > 0:
            frozen = made[-1].frozen or made[-1].locked > 0 and part[at - 1 : at].isalnum()
            made.append(Level(column + at + 1, column + at + 1, angle > 0, frozen=frozen))
        elif (part[at] in ")}]" or angle < 0) and len(made) > 1:
            inner = made.pop()
            made[-1] = replace(made[-1], wrapped=made[-1].wrapped or inner.broken)
        at += 1
    return tuple(made)


def _ways(here: Break, column: int, levels: tuple[Level, ...]) -> list[Way]:
    """Going on in the same line, and in the next one, as far as they may be."""
    *outer, last = levels
    if here.kind in ("operator", "choice", "else"):
        return _operand(here, column, levels)
    begun = last if here.kind == "open" else replace(last, begin=column, locked=0, wrapped=False)
    stay = (column, (*outer, begun), 0)
    if here.kind == "return" or last.frozen:
        return [stay]
    then = last.indent
    if here.kind == "open":
        then = (outer[-1].begin if len(outer) > 1 else outer[-1].indent) + CONTINUED
    elif here.kind == "assign":
        then = last.indent + CONTINUED
    moved = replace(last, indent=then, begin=then, locked=0, broken=True, wrapped=False)
    return [stay, (then, (*outer, moved), here.cost)]


def _operand(here: Break, column: int, levels: tuple[Level, ...]) -> list[Way]:
    """The same for operators: an operand that does not begin a line has no break within."""
    *outer, last = levels
    choice = column if here.kind == "choice" else last.choice
    stay = (column, (*outer, replace(last, locked=here.cost, choice=choice)), 0)
    if last.frozen or last.locked and here.cost > last.locked:
        return [stay]
    if here.kind == "operator":
        there = (last.begin, (*outer, replace(last, locked=0, broken=True, wrapped=False)), here.cost)
        return [there] if last.wrapped and here.cost % 20 in LOGICAL else [stay, there]
    then = last.begin + CONTINUED
    moved = (*outer, replace(last, locked=0, choice=then if here.kind == "choice" else 0))
    if here.kind == "choice":
        return [stay, (then, moved, here.cost)]
    there = (last.choice, moved, here.cost)
    return [there] if last.choice == then else [stay, there]
