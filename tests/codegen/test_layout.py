"""layout.py and breaking.py: generated code is laid out as clang-format would, without running it."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from support import ROOT

from codegen.breaking import WIDTH, break_line
from codegen.layout import closing, lay_out, split_string


def test_clang_format_changes_nothing() -> None:
    """Of what is not fenced by its template (tests/ are tables for a machine)."""
    program = shutil.which("clang-format-14")
    if not program:
        pytest.skip("there is no clang-format-14")
    files = sorted(p for p in (ROOT / "generated").rglob("*") if p.suffix in (".h", ".cpp"))
    run = subprocess.run(
        [program, "--dry-run", "--Werror", *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, "\n".join(run.stderr.splitlines()[:30])


def test_only_tables_are_fenced() -> None:
    files = [p for p in (ROOT / "generated").rglob("*") if p.is_file()]
    assert {p.parent.name for p in files if "clang-format off" in p.read_text()} == {"tests", "trace", "venus"}


def test_parameters_that_nothing_uses_have_no_name() -> None:
    text = """void F([[maybe_unused]] Encoder& e, [[maybe_unused]] const VkThing& v) {
  e.Take(4);
  e.Take(8);
}
"""
    assert lay_out(text).startswith("void F(Encoder& e, const VkThing&) {\n")


def test_one_statement_needs_no_block() -> None:
    assert lay_out("  if (a) {\n    f();\n  }\n") == "  if (a) f();\n"
    assert lay_out("\nvoid F(int a) {\n  G(a);\n}\n") == "\nvoid F(int a) { G(a); }\n"
    assert lay_out("void F(int) {\n}\n") == "void F(int) {}\n"
    for kept in (
        "  if (a) {\n    f();\n  } else {\n    g();\n  }\n",
        "  if (a) {\n    for (;;) f();\n  }\n",
        "  if (a) {\n    f();\n    g();\n  }\n",
        "template <typename T>\nvoid F(T a) {\n  G(a);\n}\n",
    ):
        assert lay_out(kept) == kept


def test_what_is_governed_gets_a_block_where_the_line_is_too_long() -> None:
    members = ", ".join(f"v.a_member_with_a_long_name_{n}" for n in range(3))
    call = f"StoreAll(p, {members}, v.other);"
    assert len(f"  if (is_present0) {call}") > WIDTH
    expected = ["  if (is_present0) {", f"    {call}", "  }"]
    assert lay_out(f"  if (is_present0) {call}").splitlines() == expected


NAME = "a_name_of_thirty_letters_in_al"


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        (f"  f({NAME}, {NAME}, {NAME}, {NAME});", [f"  f({NAME}, {NAME}, {NAME},", f"    {NAME});"]),
        (
            f"  result = call({NAME}, {NAME}, {NAME}, short_name_);",
            ["  result =", f"      call({NAME}, {NAME}, {NAME}, short_name_);"],
        ),
        (
            f"  if ({NAME} && {NAME} && {NAME} && {NAME}) {{",
            [f"  if ({NAME} && {NAME} && {NAME} &&", f"      {NAME}) {{"],
        ),
        (
            f"void {NAME}{NAME}{NAME}({NAME}, {NAME});",
            [f"void {NAME}{NAME}{NAME}({NAME},".replace(f"({NAME},", "("), f"    {NAME}, {NAME});"],
        ),
        (
            f"  Store(p, {NAME}{NAME} ? {NAME}{NAME} : {NAME});",
            [f"  Store(p, {NAME}{NAME}", f"               ? {NAME}{NAME}", f"               : {NAME});"],
        ),
        (
            f"    {{.invoke = {NAME}{NAME}, .result = {NAME}, .slow = true}},",
            [f"    {{.invoke = {NAME}{NAME},", f"     .result = {NAME},", "     .slow = true},"],
        ),
    ],
)
def test_breaks(line: str, broken: list[str]) -> None:
    assert break_line(line) == broken
    assert max(map(len, broken)) <= WIDTH


def test_lists_are_set_in_columns() -> None:
    items = [f"    &kItemNumber{n}WithALongName," for n in range(10, 16)]
    text = "\n".join(["const T kList[] = {", *items, "};", ""])
    rows = [" ".join(i.strip() for i in row) for row in (items[:3], items[3:])]
    assert lay_out(text) == "\n".join(["const T kList[] = {", *(f"    {r}" for r in rows), "};", ""])
    assert lay_out("\n".join(["{", *items[:4], "};"])) == "\n".join(["{", *items[:4], "};"])


def test_a_string_that_is_too_long() -> None:
    first, second = split_string('      d.Fail("' + "word " * 25 + 'end");')
    assert len(first) <= WIDTH and first.endswith(' "') and second.startswith(" " * 13 + '"word')


def test_closing() -> None:
    assert closing("f(a(b), c) + (d)", 1) == 9
