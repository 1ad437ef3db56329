"""What the server compares before the driver sees a command: rows of the policy's check table as C++ statements."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from codegen.errors import InputError
from codegen.model import Command, Kind, Model
from codegen.policy import Policy, Row, Scope, member_path

# How many members each kind of comparison is about, e.g. the first element and how many.
KINDS = {"index": 1, "span": 2, "bytes": 2, "strided": 4}


@dataclass(frozen=True)
class Check:
    """One row: a statement over ``v``, or over each element ``r`` of an array."""

    statement: str
    array: str = ""  # e.g. "v.pRegions"
    count: str = ""


class Checks:
    """The statements of every command that has any."""

    def __init__(self, model: Model, policy: Policy) -> None:
        self.model, self.policy = model, policy
        self.by_command: dict[str, list[Check]] = {}
        for (name, _), row in policy.rows["check"].items():
            command = model.commands.get(name)
            if command is not None:
                row.used = True
                if row.get("elsewhere"):  # no statement: the session calls it by itself
                    continue
                self.by_command.setdefault(name, []).append(self._check(command, row))

    def _check(self, command: Command, row: Row) -> Check:
        outer = Scope(self.model, self.policy, command.params, row.place)
        if row.get("call"):
            return Check(f"checks::{row.get('call')}(c, v);")
        if not row.get("each"):
            return Check(self._statement(row, outer, outer))
        path, member = member_path(str(row.get("each")), outer)
        struct = self.model.structs.get(member.type)
        if struct is None or not member.length:
            raise InputError(row.place, f"`{row.get('each')}` is no array of structs")
        count = path.removesuffix(member.name) + member.length[0]
        inner = replace(outer, members=struct.members, root="r.")
        return Check(self._statement(row, inner, outer), path, count)

    def _statement(self, row: Row, values: Scope, limits: Scope) -> str:
        kind, words = str(row.get("is")), str(row.get("name")).split()
        if len(words) != KINDS[kind]:
            raise InputError(row.place, f"a check that is `{kind}` takes {KINDS[kind]} members")
        made = [w if w.isdigit() else member_path(w, values)[0] for w in words]
        arguments = ", ".join(f"Value({m})" if self._is_pointer(w, values) else m for w, m in zip(words, made))
        return f'c.{kind.capitalize()}("{row.get("name")}", {arguments}, {self._limit(row, limits)});'

    def _is_pointer(self, word: str, scope: Scope) -> bool:
        return not word.isdigit() and member_path(word, scope)[1].pointers > 0

    def _limit(self, row: Row, scope: Scope) -> str:
        words = str(row.get("within")).split()
        if len(words) != 2 or not re.fullmatch(r"\w+", words[1]):
            raise InputError(row.place, f"`{row.get('within')}` is no limit")
        if words[0] in ("limits", "device"):
            return f"c.{words[0]}().{words[1]}"
        path, member = member_path(words[0], scope)
        if member.kind is not Kind.HANDLE:
            raise InputError(row.place, f"`{words[0]}` is no object")
        return f"c.Of(HandleType::k{self.model.handles[member.type].short}, {path}).{words[1]}"
