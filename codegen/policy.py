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
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import tomllib

from codegen.errors import InputError, Place
from codegen.model import Member, Model, Struct

# What each table's rows may hold, beside `why`.
SCHEMA: dict[str, set[str]] = {
    "command": {
        "name",
        "client",
        "server",
        "wire",
        "slow",
        "after_users",
        "ask",
        "ask_if",
        "cache",
        "remember",
        "submit",
        "memory",
    },
    "code": {"command", "code", "only_if"},
    "member": {"of", "name", "read_if", "length", "direction", "opaque", "local", "ignorable"},
    "union": {"name", "as"},
    "struct": {"name", "wire"},
    "value": {"name", "travels_as"},
    "extension": {"name", "side"},
    "family": {"name", "patterns"},
}
KEYS = {
    "command": ("name",), "code": ("command", "code"), "member": ("of", "name"), "union": ("name",),
    "struct": ("name",), "value": ("name",), "extension": ("name",), "family": ("name",),
}  # fmt: skip
# What the values may be, where they are words.
WORDS = {
    ("command", "memory"): {"uploads", "accesses", "binds"},
    ("command", "client"): {"override"}, ("command", "server"): {"override"}, ("command", "wire"): {"local", "refused"},
    ("member", "direction"): {"in", "out", "inout"}, ("union", "as"): {"raw"},
    ("extension", "side"): {"local", "refused", "remote"},
}  # fmt: skip
RULES = ("destroy_prefixes", "benign_codes", "lost_codes", "allocator", "boolean")


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
        unused = [
            r for table in self.rows.values() for r in table.values() if not r.used and r not in self.absent
        ]
        for row in sorted(unused, key=lambda r: r.place.line):
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
    lines = _row_lines(text)
    rules = data.pop("rules", {})
    _check_rules(rules, Place(path.name, lines.get(("rules", 0), 1)))
    policy = Policy({table: {} for table in SCHEMA}, rules)
    for table, rows in data.items():
        place = Place(path.name, lines.get((table, 0), 1))
        if table not in SCHEMA:
            raise InputError(place, f"no table is called {table}")
        if not isinstance(rows, list):
            raise InputError(place, f"rows of {table} begin with [[{table}]]")
        for index, values in enumerate(rows):
            _add_row(policy, Row(table, values, Place(path.name, lines[table, index])), model)
    return policy


def _add_row(policy: Policy, row: Row, model: Model) -> None:
    """Files ``row`` under the canonical names of what it is about: what was an extension's may be in core now."""
    _check_row(row)
    names = [str(row.get(key)) for key in KEYS[row.table]]
    key = tuple(names if row.table in ("family", "extension") else [model.canonical(names[0]), *names[1:]])
    if key in policy.rows[row.table]:
        raise InputError(row.place, f"a second {row.table} row for {' '.join(key)}")
    policy.rows[row.table][key] = row
    if not _present(row, key, model):
        policy.absent.append(row)


def _row_lines(text: str) -> dict[tuple[str, int], int]:
    lines: dict[tuple[str, int], int] = {}
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?(\w+)\]\]?", line)
        if header:
            table = header.group(1)
            lines[table, counts.get(table, 0)] = number
            counts[table] = counts.get(table, 0) + 1
    return lines


def _check_rules(rules: dict[str, Any], place: Place) -> None:
    for name in RULES:
        if not rules.get(name):
            raise InputError(place, f"the rules need {name}")
    for name in rules:
        if name not in RULES:
            raise InputError(place, f"no rule is called {name}")


def _check_row(row: Row) -> None:
    unknown = set(row.values) - SCHEMA[row.table] - {"why"}
    if unknown:
        raise InputError(row.place, f"a {row.table} row knows no {', '.join(sorted(unknown))}")
    missing = [k for k in KEYS[row.table] if k not in row.values]
    if missing:
        raise InputError(row.place, f"a {row.table} row needs {', '.join(missing)}")
    if row.table != "family" and not str(row.get("why")).strip():
        raise InputError(row.place, f"the {row.table} row gives no reason (why = ...)")
    if not set(row.values) - set(KEYS[row.table]) - {"why"}:
        raise InputError(row.place, f"the {row.table} row says nothing beside its reason")
    for key, value in row.values.items():
        words = WORDS.get((row.table, key))
        if words and value not in words:
            raise InputError(row.place, f"{key} is one of {', '.join(sorted(words))}, not {value!r}")


def _present(row: Row, key: tuple[str, ...], model: Model) -> bool:
    """Whether what the row names is in the registry at hand."""
    if row.table == "family":
        return True
    if row.table == "extension":
        return any(p.name == key[0] for p in model.providers)
    if row.table in ("command", "code"):
        command = model.commands.get(key[0]) or model.platform_commands.get(key[0])
        return command is not None and (row.table == "command" or key[1] in command.errors + command.success)
    if row.table == "value":
        return key[0] in model.enumerators
    if row.table == "member":
        owner = model.structs.get(key[0]) or model.commands.get(key[0])
        members: tuple[Member, ...] = ()
        if owner is not None:
            members = owner.members if isinstance(owner, Struct) else owner.params
        return any(m.name == key[1] for m in members)
    return key[0] in model.structs


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
    words = r"->|[()]|[\w.\[\]]+"
    if re.sub(words, "", text).strip():
        raise InputError(scope.place, f"the condition cannot be read: {text}")
    tokens = re.findall(words, text)
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
            return f"conditions::{self.take()}(v)"  # of runtime/vk/conditions.h
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
            if found.type not in self.scope.model.structs:
                raise InputError(self.scope.place, f"the condition looks into {name}, which is no struct")
            members = self.scope.model.structs[found.type].members
            text += "->" if found.pointers else "."
            name = self.take()

    def comparison(self, first: str) -> str:
        path, _ = self.path(first)
        operator = self.take()
        if operator == "is":
            if self.take() != "set":
                raise InputError(self.scope.place, "after `is` only `set` may stand")
            return f"({path} != 0)"
        if operator not in ("in", "has"):
            raise InputError(self.scope.place, f"the condition knows no operator {operator!r}")
        values = self.values()
        if operator == "in":
            return "(" + (" || ".join(f"{path} == {v}" for v in values) or "false") + ")"
        mask = " | ".join(values) or "0"
        return f"(({path} & ({mask})) != 0)"

    def values(self) -> list[str]:
        """Enumerators and numbers; those that the registry at hand lacks cannot occur and are dropped."""
        if not re.fullmatch(r"[A-Z_0-9a-z]+", self.peek()) or self.peek() in ("and", "or"):
            raise InputError(self.scope.place, "the condition compares with nothing")
        kept: list[str] = []
        while self.peek() and self.peek() not in ("and", "or", ")"):
            name = self.take()
            if not re.fullmatch(r"\d+|VK_\w+|STD_\w+", name):
                raise InputError(self.scope.place, f"the condition compares with {name}, which is no value")
            if name.isdigit() or name in self.scope.model.enumerators:
                kept.append(name)
            else:
                self.scope.policy.dropped_values.add(name)
        return kept

    def any_of(self, array: str) -> str:
        path, member = self.path(array)
        if not member.length or member.type not in self.scope.model.structs:
            raise InputError(self.scope.place, f"`any {array}` needs an array of structs")
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
