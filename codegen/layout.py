"""Lays out generated C++ as clang-format would, which never runs here: a test compares.

Templates write one statement a line. Here parameters that nothing uses lose their names, blocks of one statement
become one line where it fits, and what is too long is broken.
"""

from __future__ import annotations

import re

from codegen.breaking import STRING, WIDTH, break_line

UNUSED = re.compile(r"\[\[maybe_unused\]\] ((?:const )?[\w:]+[&*]?) (\w+)")
GOVERNS = re.compile(r"( *)(?:if|for) \(")
ITEM = re.compile(r"    (?:[&\w\"]+|{}),")
FUNCTION = re.compile(r"(?!template).*\n\w.*\) {")  # and the line before
HEAD = re.compile(r"( *)(?:if|for) \(.*\) {")


def lay_out(text: str) -> str:
    """``text`` of a C++ file, a statement a line, as it should stand."""
    text = re.sub(r"(?<=\d)\*(?=[A-Z])", " * ", text)  # as registries write it
    lines = set_columns(join_blocks(name_parameters(text.split("\n"))))
    return "\n".join(each for line in lines for each in lay_out_line(line))


def lay_out_line(line: str) -> list[str]:
    """``line`` as it is, or as several that fit: what an ``if`` or ``for`` governs gets a block then."""
    if len(line) <= WIDTH or line.lstrip().startswith(("//", "#")):
        return [line]
    governed = GOVERNS.match(line)
    if governed and line.endswith(";"):
        head = line[: closing(line, governed.end() - 1) + 1]
        body = lay_out_line(f"{governed[1]}  {line[len(head) + 1 :]}")
        return [*lay_out_line(f"{head} {{"), *body, f"{governed[1]}}}"]
    return [part for each in break_line(line) for part in split_string(each)]


def split_string(line: str) -> list[str]:
    """A line that is too long for one string, as two strings that follow each other."""
    found = STRING.search(line)
    if len(line) <= WIDTH or not found:
        return [line]
    begin = found.start()
    cut = line.rfind(" ", begin, WIDTH - 1) + 1
    return [f'{line[:cut]}"', f'{" " * begin}"{line[cut:]}'] if cut > begin else [line]


def closing(text: str, at: int) -> int:
    """Where the parenthesis at ``at`` is closed."""
    depth = 0
    for number in range(at, len(text)):
        depth += (text[number] == "(") - (text[number] == ")")
        if depth == 0:
            return number
    return len(text) - 1


def name_parameters(lines: list[str]) -> list[str]:
    """Leaves their names to parameters marked ``[[maybe_unused]]`` that the function's body uses."""
    made = []
    for number, line in enumerate(lines):
        if not line.startswith(" ") and "[[maybe_unused]]" in line:
            body = "\n".join(lines[number + 1 : lines.index("}", number)])
            line = UNUSED.sub(lambda m: m[1] + (f" {m[2]}" if re.search(rf"(?<![\w.>]){m[2]}\b", body) else ""), line)
        made.append(line)
    return made


def join_blocks(lines: list[str]) -> list[str]:
    """Puts what is one statement on the line of its ``if``, ``for`` or function."""
    made: list[str] = []
    for line in lines:
        made.append(line)
        if len(made) >= 2 and line == "}" and made[-2].endswith(") {"):
            made[-2:] = [made[-2] + "}"]
        governs = HEAD.fullmatch(made[-3]) if len(made) >= 3 else None
        if governs and line == governs[1] + "}" and _is_plain(made[-2], governs[1]):
            _join(made, f"{made[-3][:-2]} {made[-2].strip()}")
        elif line == "}" and FUNCTION.fullmatch("\n".join(made[-4:-2])) and _is_plain(made[-2], ""):
            _join(made, f"{made[-3]} {made[-2].strip()} }}")
    return made


def _join(made: list[str], joined: str) -> None:
    if len(joined) <= WIDTH:
        made[-3:] = [joined]


def _is_plain(line: str, indent: str) -> bool:
    """Whether ``line`` is one statement inside a block at ``indent``."""
    inside = line.startswith(indent + "  ") and line[len(indent) + 2] != " "
    return inside and line.endswith(";") and not re.match(r"\s*(if|for|while|switch|case|return;)\b", line)


def set_columns(lines: list[str]) -> list[str]:
    """Sets lists of five items or more in as many columns as take the fewest lines."""
    made: list[str] = []
    items: list[str] = []
    for line in lines:
        if ITEM.fullmatch(line):
            items.append(line.strip())
            continue
        made += _columns(items) if len(items) > 4 and line == "};" else [f"    {item}" for item in items]
        items = []
        made.append(line)
    return made


def _columns(items: list[str]) -> list[str]:
    """No column holds items that differ by more than ten letters, but the last."""
    best, widths = [[item] for item in items], [0]
    for count in range(1, len(items) + 1):
        rows = [items[at : at + count] for at in range(0, len(items), count)]
        columns = [[len(row[c]) for row in rows if c < len(row)] for c in range(count)]
        even = all(max(lengths) - min(lengths) <= 10 for lengths in columns[:-1])
        if even and sum(map(max, columns)) + count - 1 <= WIDTH - 4 and (count == 1 or len(rows) < len(best)):
            best = rows
            widths = [max(lengths) for lengths in columns]
    return ["    " + " ".join(f"{item:{w}}" for item, w in zip(row, widths)).rstrip() for row in best]
