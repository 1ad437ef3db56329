"""No eight lines stand twice in code that people write; tests may repeat what they show."""

from __future__ import annotations

from support import ROOT

FOLDERS = ("client", "codegen", "compute", "runtime", "server", "templates", "tools")
ENDINGS = (".cpp", ".h", ".py", ".j2")
RUN = 8


def lines(text: str) -> list[tuple[int, str]]:
    """The lines that say something, with their numbers: no comments, includes or lone brackets."""
    numbered = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(n, s) for n, s in numbered if len(s) > 3 and not s.startswith(("//", "#", "/*", "*", "import ", "from "))]


def test_no_eight_lines_stand_twice() -> None:
    seen: dict[tuple[str, ...], str] = {}
    twice = []
    for folder in FOLDERS:
        for path in sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in ENDINGS and "tests" not in p.parts):
            own = lines(path.read_text())
            for at in range(len(own) - RUN + 1):
                run = tuple(text for _, text in own[at : at + RUN])
                place = f"{path.relative_to(ROOT)}:{own[at][0]}"
                if seen.setdefault(run, place) != place:
                    twice.append(f"{place} repeats {seen[run]}")
    assert twice == []
