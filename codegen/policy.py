"""Reads the policy: what the registry does not say, or says in words. Every row has a reason.

The policy is a folder of TOML files, a table each; what its columns mean stands at the head of the file. A row may
speak of several things at once (``names = [...]``) or of a pattern (``name = "Vk*Thing"``): each is a row of its own
here. A row naming something absent from the registry at hand is counted as absent; a row that has no effect on
something present fails. Conditions are a small language that becomes a C++ expression::

    descriptorType in VK_DESCRIPTOR_TYPE_SAMPLER VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT
    pCreateInfo->flags has VK_BUFFER_CREATE_DEVICE_ADDRESS_CAPTURE_REPLAY_BIT or chain pCreateInfo VkOpaque...
    any pCreateInfos ( flags has VK_PIPELINE_CREATE_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT )
    call NeedsViewportState
    not dynamic VK_DYNAMIC_STATE_VIEWPORT and within RendersByFormats

The last two look outwards: at the struct around this one that is being encoded (a struct row's `surrounds`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import tomllib

from codegen.errors import InputError, Place
from codegen.model import Member, Model

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
    "way": {"name", "client_file", "server_file", "leads_to"},
    "check": {"of", "name", "is", "within", "each", "call", "elsewhere"},
    "learn": {"name", "keeps"},
    "code": {"command", "code", "only_if"},
    "member": {"of", "name", "read_if", "length", "direction", "opaque", "local", "ignorable"},
    "union": {"name", "as"},
    "struct": {"name", "wire", "surrounds", "known_chain"},
    "value": {"name", "travels_as"},
    "extension": {"name", "side", "same_kernel"},
    "write": {"name", "to"},
}
KEYS = {
    "command": ("name",), "way": ("name",), "code": ("command", "code"), "member": ("of", "name"), "union": ("name",),
    "struct": ("name",), "value": ("name",), "extension": ("name",), "check": ("of", "name"), "learn": ("name",),
    "write": ("name",),
}  # fmt: skip
# Where several stand in one row, and the tables in which a name may be a pattern.
PLURALS = {"name": "names", "command": "commands", "code": "codes", "of": "of"}
PATTERNED = {"command", "way", "code", "member", "union", "struct"}
# What the values may be, where they are words.
WORDS = {
    ("command", "memory"): {"uploads", "accesses", "binds"},
    ("command", "client"): {"override"}, ("command", "server"): {"override"}, ("command", "wire"): {"local", "refused"},
    ("member", "direction"): {"in", "out", "inout"}, ("union", "as"): {"raw"},
    ("extension", "side"): {"local", "refused", "remote"},
    ("check", "is"): {"index", "span", "bytes", "strided"},
}  # fmt: skip
RULES = (
    "destroy_prefixes", "benign_codes", "lost_codes", "allocator", "boolean", "alongside_types", "alongside_pools",
)  # fmt: skip


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
    """All rows by table and key, the patterns of families, and the rules that hold everywhere."""

    rows: dict[str, dict[tuple[str, ...], Row]]
    rules: dict[str, Any] = field(default_factory=dict)
    families: dict[str, list[str]] = field(default_factory=dict)  # patterns by name
    venus: dict[str, Any] = field(default_factory=dict)  # what stands in venus.toml
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
        for family, patterns in self.families.items():
            if any(fnmatchcase(name, p) for p in patterns):
                return family
        return "misc"

    def check_used(self) -> None:
        """Fails for the first row that names something present and changed nothing."""
        unused = [
            r for table in self.rows.values() for r in table.values() if not r.used and r not in self.absent
        ]
        for row in sorted(unused, key=lambda r: (r.place.file, r.place.line)):
            names = " ".join(str(row.get(k)) for k in KEYS[row.table])
            raise InputError(row.place, f"the {row.table} row for {names} has no effect")


# The keys of everything in a registry that rows of a table may name.
Names = dict[str, set[tuple[str, ...]]]


def load_policy(path: Path, model: Model) -> Policy:
    """The policy of a folder or a file, checked against its schema and the model's names."""
    policy = Policy({table: {} for table in SCHEMA})
    known = _known_names(model)
    place = Place(path.name, 1)
    for file in sorted(path.glob("*.toml")) if path.is_dir() else [path]:
        name = f"{path.name}/{file.name}" if path.is_dir() else file.name
        text = file.read_text()
        lines = _row_lines(text)
        tables = _parse(text, name)
        if "rules" in tables:
            policy.rules, place = tables.pop("rules"), Place(name, lines["rules", 0])
        policy.families |= tables.pop("families", {})
        policy.venus |= tables.pop("venus", {})
        for table, rows in tables.items():
            if table not in SCHEMA:
                raise InputError(Place(name, lines[table, 0]), f"no table is called {table}")
            if not isinstance(rows, list):
                raise InputError(Place(name, lines[table, 0]), f"rows of {table} begin with [[{table}]]")
            for index, values in enumerate(rows):
                _add_row(policy, Row(table, values, Place(name, lines[table, index])), model, known)
    _check_rules(policy.rules, place)
    return policy


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise InputError(Place(name, int(line.group(1)) if line else 1), str(error)) from error


def _add_row(policy: Policy, written: Row, model: Model, known: Names) -> None:
    """Files what ``written`` says by canonical names: what was an extension's may be in core now."""
    _check_row(written)
    for row in _single_rows(written, known):
        names = [str(row.get(key)) for key in KEYS[row.table]]
        key = tuple(names if row.table == "extension" else [model.canonical(names[0]), *names[1:]])
        first = policy.rows[row.table].get(key)
        if first:
            raise InputError(row.place, f"a second {row.table} row for {' '.join(key)} after {first.place}")
        policy.rows[row.table][key] = row
        if (key[:1] if row.table == "check" else key) not in known[row.table]:
            policy.absent.append(row)


def _single_rows(written: Row, known: Names) -> Iterator[Row]:
    """A row for each thing that ``written`` names; a pattern that nothing matches stands for itself."""
    keys = KEYS[written.table]
    rest = {k: v for k, v in written.values.items() if k not in keys and k not in PLURALS.values()}
    for named in product(*(_named(written, key) for key in keys)):
        matching: Iterable[tuple[str, ...]] = [named]
        if any(_is_pattern(name) for name in named) and written.table in PATTERNED:
            matching = sorted(k for k in known[written.table] if all(map(fnmatchcase, k, named))) or [named]
        for names in matching:
            yield Row(written.table, dict(zip(keys, names)) | rest, written.place)


def _named(row: Row, key: str) -> list[str]:
    value = row.get(key, None)
    named = row.get(PLURALS[key]) if value is None else value
    return [str(name) for name in named] if isinstance(named, list) else [str(named)]


def _is_pattern(name: str) -> bool:
    return any(c in name for c in "*?[")


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
    keys = KEYS[row.table]
    plurals = {PLURALS[key] for key in keys} - set(keys)
    unknown = set(row.values) - SCHEMA[row.table] - plurals - {"why"}
    if unknown:
        raise InputError(row.place, f"a {row.table} row knows no {', '.join(sorted(unknown))}")
    for key in keys:
        _check_key(row, key)
    if not str(row.get("why")).strip():
        raise InputError(row.place, f"the {row.table} row gives no reason (why = ...)")
    if not set(row.values) - set(keys) - plurals - {"why"}:
        raise InputError(row.place, f"the {row.table} row says nothing beside its reason")
    for key, value in row.values.items():
        words = WORDS.get((row.table, key))
        if words and value not in words:
            raise InputError(row.place, f"{key} is one of {', '.join(sorted(words))}, not {value!r}")


def _check_key(row: Row, key: str) -> None:
    plural = PLURALS[key]
    given = [row.values[k] for k in dict.fromkeys((key, plural)) if k in row.values]
    if not given or given == [[]]:
        raise InputError(row.place, f"a {row.table} row needs {key}")
    if len(given) == 2:
        raise InputError(row.place, f"the {row.table} row gives both {key} and {plural}")
    if plural != key and isinstance(given[0], list) != (plural in row.values):
        raise InputError(row.place, f"{key} is one name, {plural} a list")
    if row.table not in PATTERNED and any(map(_is_pattern, _named(row, key))):
        raise InputError(row.place, f"a {row.table} row is no place for patterns")


def _known_names(model: Model) -> Names:
    """What is in the registry at hand."""
    commands = model.platform_commands | model.commands
    structs = {(name,) for name in model.structs}
    members = [(s.name, m.name) for s in model.structs.values() for m in s.members]
    members += [(c.name, p.name) for c in model.commands.values() for p in c.params]
    return {
        "command": {(name,) for name in commands},
        "way": {(name,) for name in commands},
        "code": {(name, code) for name, c in commands.items() for code in c.errors + c.success},
        "member": set(members),
        "union": structs,
        "struct": structs,
        "value": {(name,) for name in model.enumerators},
        "extension": {(provider.name,) for provider in model.providers},
        "write": {(name,) for name in commands},
        "check": {(name,) for name in model.commands},
        "learn": {(name,) for name in model.commands},
    }


@dataclass
class Scope:
    """What names mean inside a condition: the members of a struct or the parameters of a command."""

    model: Model
    policy: Policy
    members: tuple[Member, ...]
    place: Place
    root: str = "v."
    around: str = "e.around()"  # the struct around this one (runtime/wire/encoder.h)


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


def member_path(text: str, scope: Scope) -> tuple[str, Member]:
    """A path such as ``pInfo->size`` as C++, and the member it ends in."""
    tokens = re.findall(r"->|\w+", text)
    parser = _Condition(tokens[1:], scope)
    found = parser.path(tokens[0])
    if parser.tokens:
        raise InputError(scope.place, f"`{text}` is no member")
    return found


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
        return " || ".join(self.terms())

    def terms(self) -> list[str]:
        """What stands between ``or``; nothing that cannot be, but where nothing can be."""
        terms = [self.conjunction()]
        while self.peek() == "or":
            self.take()
            terms.append(self.conjunction())
        return [t for t in terms if t != "false"] or ["false"]

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
        if word == "within":
            return f"conditions::{self.take()}({self.scope.around})"
        if word == "dynamic":
            return self.dynamic()
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
        return f"(({path} & {f'({mask})' if len(values) > 1 else mask}) != 0)"

    def dynamic(self) -> str:
        """Whether all of these states are dynamic; one that the registry at hand lacks never is."""
        wanted = len(self.tokens)
        values = self.values()
        complete = len(values) == wanted - len(self.tokens)
        states = ", ".join(values)
        return f"conditions::AreDynamic({self.scope.around}, {{{states}}})" if complete else "false"

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
            self.scope.model, self.scope.policy, self.scope.model.structs[member.type].members, self.scope.place,
            around=self.scope.around,
        ))  # fmt: skip
        bodies = inner.terms()
        if self.take() != ")":
            raise InputError(self.scope.place, "a parenthesis is not closed")
        return " || ".join(_any(f"{path}, {self.scope.root}{member.length[0]}", body) for body in bodies)

    def chain(self, owner: str, struct: str) -> str:
        path = "v" if owner == "self" else self.path(owner)[0]
        known = self.scope.model.structs.get(self.scope.model.canonical(struct))
        if known is None:
            self.scope.policy.dropped_values.add(struct)
            return "false"
        arrow = "." if owner == "self" else "->"
        return f"HasInChain({path}{arrow}pNext, {known.s_type})"


def _any(items: str, body: str) -> str:
    """Whether ``body`` holds for any of ``items``; what is asked often has a name (runtime/wire/chain.h)."""
    flags = re.fullmatch(r"\(\(v\.flags & (.*)\) != 0\)", body)
    if flags:
        return f"AnyHas({items}, {flags[1]})"
    chained = re.fullmatch(r"HasInChain\(v\.pNext, (\w+)\)", body)
    if chained:
        return f"AnyHasInChain({items}, {chained[1]})"
    return f"AnyOf({items}, [](const auto& v) {{ return {body}; }})"
