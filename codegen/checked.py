"""What stands between a client's bytes and the driver, command by command: docs/checks.md."""

from __future__ import annotations

from collections.abc import Iterator

from codegen.model import Model
from codegen.plan import CommandPlan, Field, Plan
from codegen.policy import Policy, Row

MEANINGS = {"index": "one of", "span": "first and number within", "bytes": "offset and size within"}
MEANINGS["strided"] = "offset, number, distance and size within"

LETTERS = (
    ("h", "handles are looked up: of this session, of that type, alive"),
    ("n", "what must be there is there: a decoder refuses its absence, as it does a count without its array"),
    ("a", "arrays, texts and chains are as long as the bytes that came, and bounded (`runtime/wire/limits.h`)"),
    ("o", "outputs are memory of the server's own, as long as the request says, and bounded"),
    ("u", "unions are read as their selector says"),
)
ARRAYS = ("array", "blob", "string", "string_array", "chain")


class Checked:
    """The table of every command whose arguments reach the driver."""

    def __init__(self, model: Model, policy: Policy, plan: Plan) -> None:
        self.model, self.policy, self.plan = model, policy, plan
        self.rows: dict[str, list[Row]] = {}
        for (name, _), row in policy.rows["check"].items():
            self.rows.setdefault(model.canonical(name), []).append(row)

    def table(self) -> str:
        """The page."""
        commands = [c for c in self.plan.commands.values() if c.on_wire]
        compared = sum(c.name in self.rows for c in commands)
        lines = [
            "# What is checked of each command",
            "",
            f"Registry {self.model.header_version}: {len(commands)} commands reach the driver, {compared} of them after "
            "comparisons with what the server keeps of the objects (`codegen/policy/checks.toml`). Made by "
            "`python3 -m codegen coverage --checks`; [security](security.md) says against whom. Commands of extensions "
            "that the client did not enable, or that nobody is offered, are refused. What neither column names is what "
            "the client says; what follows from it the sandbox of its worker holds.",
            "",
            *(f"- **{letter}**: {meaning}" for letter, meaning in LETTERS),
            "",
            "| command | by the decoder | compared ahead of the driver |",
            "|---|---|---|",
        ]
        lines += [self._line(c) for c in sorted(commands, key=lambda c: c.name)]
        return "\n".join(lines)

    def _line(self, command: CommandPlan) -> str:
        found = {letter for field in self._fields(command.fields, set()) for letter in _letters(field)}
        letters = "".join(letter for letter, _ in LETTERS if letter in found)
        compared = "; ".join(_comparison(row) for row in self.rows.get(command.name, ()))
        return f"| {command.name} | {letters} | {compared.replace('|', '/')} |"

    def _fields(self, fields: tuple[Field, ...], seen: set[tuple[str, str]]) -> Iterator[Field]:
        """The fields and those of the structs behind them, but for chains, whose structs are many."""
        for field in fields:
            yield field
            name = field.type.removeprefix("const ").rstrip("* ").removesuffix(" const").rstrip("* ")
            key = (self.model.canonical(name), field.role)
            if key in seen:
                continue
            seen.add(key)
            struct = self.plan.structs.get(key)
            flat = self.plan.flats.get(key[0])
            behind = struct.fields if struct else flat.fields if flat else ()
            yield from self._fields(behind, seen)


def _letters(field: Field) -> Iterator[str]:
    if field.op in ("handle", "new_handle") or field.element in ("handle", "object"):
        yield "h"
    if field.required:
        yield "n"
    if field.op in ARRAYS and field.has_request:
        yield "a"
    if field.has_reply:
        yield "o"
    if field.op == "union" or field.element == "union":
        yield "u"


def _comparison(row: Row) -> str:
    called = row.get("call") or row.get("elsewhere")
    if called:
        return f"{row.get('why')} (`{called}`)"
    where = f" of each `{row.get('each')}`" if row.get("each") else ""
    return f"`{row.get('name')}`{where}: {MEANINGS[str(row.get('is'))]} `{row.get('within')}`"
