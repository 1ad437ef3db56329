"""checks.py: rows of the check table as statements."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import MINI_POLICY, make

from codegen.checks import Checks
from codegen.errors import InputError


def checks(folder: Path, row: str) -> Checks:
    made = make(folder, policy=f'{MINI_POLICY}\n[[check]]\n{row}\nwhy = "trusted"\n')
    return Checks(made.model, made.policy)


@pytest.mark.parametrize(
    ("row", "statement"),
    [
        (
            'of = "vkFreeThings"\nname = "count"\nis = "index"\nwithin = "limits mostThings"',
            'c.Index("count", v.count, c.limits().mostThings);',
        ),
        (
            'of = "vkCreateThing"\nname = "0 pCreateInfo->kind"\nis = "span"\nwithin = "device kinds"',
            'c.Span("0 pCreateInfo->kind", 0, v.pCreateInfo->kind, c.device().kinds);',
        ),
        (
            'of = "vkDestroyThing"\nname = "0 4"\nis = "bytes"\nwithin = "thing size"',
            'c.Bytes("0 4", 0, 4, c.Of(HandleType::kThing, v.thing).size);',
        ),
        ('of = "vkDestroyThing"\nname = "thing"\ncall = "Destroys"', "checks::Destroys(c, v);"),
    ],
)
def test_statements(tmp_path: Path, row: str, statement: str) -> None:
    made = checks(tmp_path, row)
    assert [c.statement for found in made.by_command.values() for c in found] == [statement]


def test_each_element_of_an_array(tmp_path: Path) -> None:
    row = 'of = "vkCmdBuild"\nname = "rangeCount"\nis = "index"\neach = "pInfos"\nwithin = "limits ranges"'
    (check,) = checks(tmp_path, row).by_command["vkCmdBuild"]
    assert (check.array, check.count) == ("v.pInfos", "v.infoCount")
    assert check.statement == 'c.Index("rangeCount", r.rangeCount, c.limits().ranges);'


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('of = "vkFreeThings"\nname = "count"\nis = "span"\nwithin = "limits x"', "takes 2 members"),
        ('of = "vkFreeThings"\nname = "cont"\nis = "index"\nwithin = "limits x"', "names cont, which is no member"),
        ('of = "vkFreeThings"\nname = "count"\nis = "index"\nwithin = "count size"', "`count` is no object"),
        ('of = "vkFreeThings"\nname = "count"\nis = "index"\nwithin = "x"', "`x` is no limit"),
        (
            'of = "vkFreeThings"\nname = "count"\nis = "index"\neach = "pThings"\nwithin = "limits x"',
            "no array of structs",
        ),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checks(tmp_path, row)
