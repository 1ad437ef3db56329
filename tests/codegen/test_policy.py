"""policy.py: rows and conditions; a bad one fails naming its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import MINI_POLICY, MINI_XML, Made, edited, line_of, make, make_model

from codegen.errors import InputError, Place
from codegen.policy import Scope, condition, load_policy


def fails(folder: Path, addition: str, message: str, strict: bool = True) -> None:
    """The mini policy with ``addition`` at its end fails in the addition's first line."""
    policy = MINI_POLICY + "\n" + addition
    with pytest.raises(InputError) as caught:
        make(folder, policy=policy, strict=strict).check_used()
    assert caught.value.place == Place("policy.toml", line_of(policy, addition)), str(caught.value)
    assert message in caught.value.message


WHY = 'why = "because"\n'


def test_no_such_table(tmp_path: Path) -> None:
    fails(tmp_path, '[[comand]]\nname = "vkCmdDraw"\n' + WHY, "no table is called comand")


def test_a_table_is_a_list(tmp_path: Path) -> None:
    fails(tmp_path, '[code]\ncommand = "vkCmdDraw"\n' + WHY, "rows of code begin with [[code]]")


def test_an_unknown_key(tmp_path: Path) -> None:
    fails(tmp_path, '[[command]]\nname = "vkCmdDraw"\nslwo = true\n' + WHY, "knows no slwo")


def test_a_missing_key(tmp_path: Path) -> None:
    fails(tmp_path, '[[member]]\nof = "VkGap"\nopaque = true\n' + WHY, "a member row needs name")


def test_no_reason(tmp_path: Path) -> None:
    fails(tmp_path, '[[command]]\nname = "vkCmdDraw"\nslow = true\n', "gives no reason")


def test_an_empty_reason(tmp_path: Path) -> None:
    fails(tmp_path, '[[command]]\nname = "vkCmdDraw"\nslow = true\nwhy = " "\n', "gives no reason")


def test_a_row_that_says_nothing(tmp_path: Path) -> None:
    fails(tmp_path, '[[command]]\nname = "vkCmdDraw"\n' + WHY, "says nothing beside its reason")


def test_a_word_that_is_none(tmp_path: Path) -> None:
    fails(
        tmp_path, '[[command]]\nname = "vkCmdDraw"\nwire = "lokal"\n' + WHY, "wire is one of local, refused"
    )


def test_a_duplicate(tmp_path: Path) -> None:
    fails(tmp_path, '[[command]]\nname = "vkRefusedThing"\nslow = true\n' + WHY, "a second command row")


def test_a_duplicate_under_an_alias(tmp_path: Path) -> None:
    fails(tmp_path, '[[command]]\nname = "vkGetThingProperties"\nslow = true\n' + WHY, "a second command row")


def test_rows_for_several_names(tmp_path: Path) -> None:
    row = '[[command]]\nnames = ["vkCmdDraw", "vkCmdMark"]\nmemory = "accesses"\n' + WHY
    made = make(tmp_path, policy=MINI_POLICY + row)
    for name in ("vkCmdDraw", "vkCmdMark"):
        found = made.policy.row("command", name)
        assert found is not None and found.values == {"name": name, "memory": "accesses", "why": "because"}
        assert found.place == Place("policy.toml", line_of(MINI_POLICY + row, row))


def test_each_owner_with_each_name(tmp_path: Path) -> None:
    row = '[[member]]\nof = ["VkExtent", "VkNone"]\nnames = ["width", "height"]\nignorable = true\n' + WHY
    policy = make(tmp_path, policy=MINI_POLICY + row).policy
    keys = {key for key, row in policy.rows["member"].items() if row.get("ignorable")}
    assert {("VkExtent", "width"), ("VkNone", "height")} < keys
    assert ["VkNone", "VkNone"] == [r.get("of") for r in policy.absent if r.table == "member"]


def test_a_pattern_names_what_matches(tmp_path: Path) -> None:
    row = '[[command]]\nnames = ["vkCmd[DM]*", "vkFuture*"]\nmemory = "accesses"\n' + WHY
    policy = make(tmp_path, policy=MINI_POLICY + row).policy
    keys = {key for (key,), row in policy.rows["command"].items() if row.get("memory")}
    assert keys == {"vkCmdDraw", "vkCmdMark", "vkFuture*"}
    assert "vkFuture*" in [r.get("name") for r in policy.absent]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ('names = ["vkCmdDraw", "vkRefusedThing"]', "a second command row for vkRefusedThing after policy.toml:"),
        ('names = ["vkCmdDraw", "vkCmdDraw"]', "a second command row for vkCmdDraw after policy.toml:"),
        ('name = "vkRefused*"', "a second command row for vkRefusedThing after policy.toml:"),
        ('name = "vkCmdDraw"\nnames = ["vkCmdMark"]', "gives both name and names"),
        ('name = ["vkCmdDraw"]', "name is one name, names a list"),
        ('names = "vkCmdDraw"', "name is one name, names a list"),
        ("names = []", "a command row needs name"),
    ],
)
def test_bad_names(tmp_path: Path, named: str, message: str) -> None:
    fails(tmp_path, f"[[command]]\n{named}\nslow = true\n" + WHY, message)


def test_no_pattern_where_others_read_the_table(tmp_path: Path) -> None:
    fails(tmp_path, '[[extension]]\nname = "VK_KHR_*"\nside = "local"\n' + WHY, "no place for patterns")


def test_a_policy_may_be_a_folder(tmp_path: Path) -> None:
    """Places name the file; the same thing twice is found across files."""
    model, folder = make_model(tmp_path), tmp_path / "rows"
    folder.mkdir()
    (folder / "all.toml").write_text(MINI_POLICY)
    (folder / "more.toml").write_text('# A file.\n[[command]]\nname = "vkCmdDraw"\nslow = true\n' + WHY)
    (folder / "notes.txt").write_text("[[comand]]")
    found = load_policy(folder, model).row("command", "vkCmdDraw")
    assert found is not None and found.place == Place("rows/more.toml", 2)
    (folder / "other.toml").write_text('[[command]]\nname = "vkCmdDraw"\nslow = true\n' + WHY)
    with pytest.raises(InputError, match=r"rows/other.toml:1: a second command row .* after rows/more.toml:2"):
        load_policy(folder, model)


def test_a_row_without_effect(tmp_path: Path) -> None:
    row = '[[code]]\ncommand = "vkGetThingData"\ncode = "VK_INCOMPLETE"\nonly_if = "never"\n'
    fails(tmp_path, row + WHY, "the code row for vkGetThingData VK_INCOMPLETE has no effect")


def test_rules_are_complete(tmp_path: Path) -> None:
    policy = edited(MINI_POLICY, ("lost_codes", "last_codes"))
    with pytest.raises(InputError, match=r"policy.toml:2: the rules need lost_codes"):
        make(tmp_path, policy=policy)


def test_no_toml(tmp_path: Path) -> None:
    fails(tmp_path, "[[command]\n", "Expected")


def test_absent_names_are_counted(mini: Made) -> None:
    assert [r.get("name") for r in mini.policy.absent] == ["VK_EXT_of_the_future"]
    mini.check_used()


def test_rows_follow_promotion(mini: Made) -> None:
    row = mini.policy.row("command", "vkGetThingProperties")
    assert row is not None and row.get("name") == "vkGetThingPropertiesKHR"


@pytest.fixture(scope="module")
def scope(tmp_path_factory: pytest.TempPathFactory) -> Scope:
    folder = tmp_path_factory.mktemp("policy")
    model = make_model(folder, MINI_XML)
    (folder / "policy.toml").write_text(MINI_POLICY)
    policy = load_policy(folder / "policy.toml", model)
    return Scope(model, policy, model.commands["vkCreateThing"].params, Place("policy.toml", 12))


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("pThing is set", "(v.pThing != 0)"),
        ("not pThing is set", "!((v.pThing != 0))"),
        ("pCreateInfo -> kind in VK_KIND_EXTENT VK_KIND_NEW", "(v.pCreateInfo->kind == VK_KIND_EXTENT)"),
        ("pCreateInfo -> kind in VK_KIND_NEW", "(false)"),
        (
            "pCreateInfo -> flags has VK_SHAPE_ROUND_BIT VK_SHAPE_REPLAY_BIT",
            "((v.pCreateInfo->flags & (VK_SHAPE_ROUND_BIT | VK_SHAPE_REPLAY_BIT)) != 0)",
        ),
        ("chain pCreateInfo VkThingExtra", "HasInChain(v.pCreateInfo->pNext, VK_STRUCTURE_TYPE_THING_EXTRA)"),
        ("chain pCreateInfo VkFuture", "false"),
        ("call Needs", "conditions::Needs(v)"),
        ("within Needs", "conditions::Needs(e.around())"),
        (
            "not dynamic VK_KIND_EXTENT VK_KIND_SIZE",
            "!(conditions::AreDynamic(e.around(), {VK_KIND_EXTENT, VK_KIND_SIZE}))",
        ),
        ("dynamic VK_KIND_EXTENT VK_KIND_NEW", "false"),
        (
            "device is set and (pThing is set or call A)",
            "(v.device != 0) && (((v.pThing != 0) || conditions::A(v)))",
        ),
    ],
)
def test_conditions(scope: Scope, text: str, expression: str) -> None:
    assert condition(text, scope) == expression


def test_any_of_an_array(scope: Scope) -> None:
    inner = Scope(scope.model, scope.policy, scope.model.commands["vkCmdBuild"].params, scope.place)
    assert condition("any pInfos ( rangeCount in 1 2 )", inner) == (
        "(AnyOf(v.pInfos, v.infoCount, "
        "[](const auto& v) { return ((v.rangeCount == 1 || v.rangeCount == 2)); }))"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pCreateInfo -> flags has", "compares with nothing"),
        ("pCreateInfo -> flags < VK_SHAPE_ROUND_BIT", "cannot be read"),
        ("pCreateInfo -> flags equals VK_SHAPE_ROUND_BIT", "knows no operator 'equals'"),
        ("pCreateInfo -> flags has round", "compares with round, which is no value"),
        ("(pThing is set", "ends too early"),
        ("pThing is set)", "ends before ')'"),
        ("pThing is null", "after `is` only `set` may stand"),
        ("pTing is set", "names pTing, which is no member here"),
        ("pCreateInfo -> flag has VK_SHAPE_ROUND_BIT", "names flag, which is no member here"),
        ("device -> flags has VK_SHAPE_ROUND_BIT", "looks into device, which is no struct"),
        ("any pThing ( kind in 1 )", "needs an array of structs"),
        ("", "ends too early"),
    ],
)
def test_bad_conditions_name_their_row(scope: Scope, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        condition(text, scope)
    assert message in caught.value.message
    assert caught.value.place == Place("policy.toml", 12)


def test_families_go_by_the_first_pattern(mini: Made) -> None:
    assert mini.policy.family("vkCmdBuild") == "draw"
    assert mini.policy.family("VkThing") == "misc"
