"""Reads policy.toml: what the registry does not say, or says in words. Every row has a reason.

A row naming something absent from the registry at hand is counted as absent; a row that has no effect on something
present fails. Conditions are a small language that becomes a C++ expression::

    descriptorType in VK_DESCRIPTOR_TYPE_SAMPLER VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT
    pCreateInfo->flags has VK_BUFFER_CREATE_DEVICE_ADDRESS_CAPTURE_REPLAY_BIT or chain pCreateInfo VkOpaque...
    any pCreateInfos ( flags has VK_PIPELINE_CREATE_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT )
    call NeedsViewportState
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from codegen.errors import InputError, Place
from codegen.model import Member, Model

# What each table's rows may hold, beside `why`.
SCHEMA: dict[str, set[str]] = {
    "command": {"name", "client", "server", "wire", "slow", "ask", "ask_if", "cache", "submit"},
    "code": {"command", "code", "only_if"},
    "member": {"of", "name", "read_if", "length", "direction", "opaque", "local", "ignorable"},
    "union": {"name", "as"},
    "struct": {"name", "wire"},
    "extension": {"name", "side"},
    "family": {"name", "patterns"},
}
KEYS = {
    "command": ("name",), "code": ("command", "code"), "member": ("of", "name"), "union": ("name",),
    "struct": ("name",), "extension": ("name",), "family": ("name",),
}  # fmt: skip


@dataclass
class Row:
    """One row of one table, with the place it stands in; ``used`` once something asked for it."""

    table: str
    values: dict[str, Any]
    place: Place
    used: bool = False

    def get(self, key: str, default: Any = "") -> Any:
        return self.values.get(key, default)


@dataclass
class Policy:
    """All rows by table and key, and the rules that hold for names of a pattern."""

    rows: dict[str, dict[tuple[str, ...], Row]]
    rules: dict[str, Any]
    absent: list[Row] = field(default_factory=list)
    dropped_values: set[str] = field(default_factory=set)

    def row(self, table: str, *key: str) -> Row | None:
        """The row for ``key``, marked as used."""
        found = self.rows[table].get(key)
        if found:
            found.used = True
        return found

    def family(self, name: str) -> str:
        """The family of a command or struct, by the first pattern that matches."""
        for row in self.rows["family"].values():
            if any(fnmatchcase(name, p) for p in row.get("patterns")):
                row.used = True
                return str(row.get("name"))
        return "misc"

    def check_used(self) -> None:
        """Fails for the first row that names something present and changed nothing."""
        for table in self.rows.values():
            for row in table.values():
                if not row.used and row not in self.absent and row.table != "family":
                    names = " ".join(str(row.get(k)) for k in KEYS[row.table])
                    raise InputError(row.place, f"the {row.table} row for {names} has no effect")


def load_policy(path: Path, model: Model) -> Policy:
    """The policy, checked against its schema and the model's names."""
    text = path.read_text()
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise InputError(Place(path.name, int(line.group(1)) if line else 1), str(error)) from error
    policy = Policy({table: {} for table in SCHEMA}, data.pop("rules", {}))
    lines = _row_lines(text)
    for table, rows in data.items():
        if table not in SCHEMA:
            raise InputError(Place(path.name, lines.get((table, 0), 1)), f"no table is called {table}")
        for index, values in enumerate(rows):
            row = Row(table, values, Place(path.name, lines[table, index]))
            _check_row(row)
            key = tuple(str(values[k]) for k in KEYS[table])
            if key in policy.rows[table]:
                raise InputError(row.place, f"a second {table} row for {' '.join(key)}")
            policy.rows[table][key] = row
            if not _present(row, model):
                policy.absent.append(row)
    return policy


def _row_lines(text: str) -> dict[tuple[str, int], int]:
    lines: dict[tuple[str, int], int] = {}
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[(\w+)\]\]", line)
        if header:
            table = header.group(1)
            lines[table, counts.get(table, 0)] = number
            counts[table] = counts.get(table, 0) + 1
    return lines


def _check_row(row: Row) -> None:
    unknown = set(row.values) - SCHEMA[row.table] - {"why"}
    if unknown:
        raise InputError(row.place, f"a {row.table} row knows no {', '.join(sorted(unknown))}")
    missing = [k for k in KEYS[row.table] if k not in row.values]
    if missing:
        raise InputError(row.place, f"a {row.table} row needs {', '.join(missing)}")
    if row.table != "family" and not str(row.get("why")).strip():
        raise InputError(row.place, f"the {row.table} row gives no reason (why = ...)")


def _present(row: Row, model: Model) -> bool:
    """Whether what the row names is in the registry at hand."""
    if row.table == "family":
        return True
    if row.table == "extension":
        return any(p.name == row.get("name") for p in model.providers)
    if row.table in ("command", "code"):
        name = row.get("name") or row.get("command")
        command = model.commands.get(name) or model.platform_commands.get(name)
        return command is not None and (row.table == "command" or row.get("code") in command.errors + command.success)
    owner = str(row.get("of") or row.get("name"))
    if row.table == "member":
        members: tuple[Member, ...] = ()
        if owner in model.structs:
            members = model.structs[owner].members
        elif owner in model.commands:
            members = model.commands[owner].params
        else:
            return False
        return any(m.name == row.get("name") for m in members)
    return owner in model.structs


@dataclass
class Scope:
    """What names mean inside a condition: the members of a struct or the parameters of a command."""

    model: Model
    policy: Policy
    members: tuple[Member, ...]
    place: Place
    root: str = "v."


def condition(text: str, scope: Scope) -> str:
    """``text`` as a C++ expression over ``v``; raises InputError where it does not parse."""
    tokens = re.findall(r"->|[()]|[\w.\[\]]+", text)
    parser = _Condition(tokens, scope)
    result = parser.alternatives()
    if parser.tokens:
        raise InputError(scope.place, f"the condition ends before {parser.tokens[0]!r}: {text}")
    return result


class _Condition:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, tokens: list[str], scope: Scope) -> None:
        self.tokens = tokens
        self.scope = scope

    def take(self) -> str:
        if not self.tokens:
            raise InputError(self.scope.place, "the condition ends too early")
        return self.tokens.pop(0)

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def alternatives(self) -> str:
        terms = [self.conjunction()]
        while self.peek() == "or":
            self.take()
            terms.append(self.conjunction())
        return " || ".join(terms)

    def conjunction(self) -> str:
        terms = [self.term()]
        while self.peek() == "and":
            self.take()
            terms.append(self.term())
        return " && ".join(f"({t})" if "||" in t else t for t in terms)

    def term(self) -> str:
        word = self.take()
        if word == "not":
            return f"!({self.term()})"
        if word == "(":
            inner = self.alternatives()
            if self.take() != ")":
                raise InputError(self.scope.place, "a parenthesis is not closed")
            return f"({inner})"
        if word == "call":
            return f"conditions::{self.take()}(v)"
        if word == "any":
            return self.any_of(self.take())
        if word == "chain":
            return self.chain(self.take(), self.take())
        return self.comparison(word)

    def path(self, first: str) -> tuple[str, Member]:
        """A member path as C++ and the member it ends in."""
        members, text, found = self.scope.members, self.scope.root, None
        name = first
        while True:
            found = next((m for m in members if m.name == name), None)
            if found is None:
                raise InputError(self.scope.place, f"the condition names {name}, which is no member here")
            text += name
            if self.peek() != "->":
                return text, found
            self.take()
            members = self.scope.model.structs[found.type].members
            text += "->" if found.pointers else "."
            name = self.take()

    def comparison(self, first: str) -> str:
        path, _member = self.path(first)
        operator = self.take()
        if operator == "is":
            if self.take() != "set":
                raise InputError(self.scope.place, "after `is` only `set` may stand")
            return f"({path} != 0)"
        values = self.values()
        if operator == "in":
            return "(" + (" || ".join(f"{path} == {v}" for v in values) or "false") + ")"
        if operator == "has":
            mask = " | ".join(values) or "0"
            return f"(({path} & ({mask})) != 0)"
        raise InputError(self.scope.place, f"the condition knows no operator {operator!r}")

    def values(self) -> list[str]:
        kept: list[str] = []
        while self.peek() and self.peek() not in ("and", "or", ")"):
            name = self.take()
            if name.isdigit() or name in self.scope.model.enumerators:
                kept.append(name)
            else:
                self.scope.policy.dropped_values.add(name)
        return kept

    def any_of(self, array: str) -> str:
        path, member = self.path(array)
        if self.take() != "(":
            raise InputError(self.scope.place, "`any ARRAY` needs a condition in parentheses")
        inner = _Condition(self.tokens, Scope(
            self.scope.model, self.scope.policy, self.scope.model.structs[member.type].members, self.scope.place
        ))  # fmt: skip
        body = inner.alternatives()
        if self.take() != ")":
            raise InputError(self.scope.place, "a parenthesis is not closed")
        return f"AnyOf({path}, {self.scope.root}{member.length[0]}, [](const auto& v) {{ return {body}; }})"

    def chain(self, owner: str, struct: str) -> str:
        path = "v" if owner == "self" else self.path(owner)[0]
        known = self.scope.model.structs.get(struct)
        if known is None:
            self.scope.policy.dropped_values.add(struct)
            return "false"
        arrow = "." if owner == "self" else "->"
        return f"HasInChain({path}{arrow}pNext, {known.s_type})"
