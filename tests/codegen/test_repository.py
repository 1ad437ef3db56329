"""The tree itself: generated code and tables are current, limits hold, no Vulkan names stand where they must not."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from support import ROOT, Made

from codegen.__main__ import check
from codegen.checked import Checked
from codegen.errors import Place
from codegen.explain import Coverage
from codegen.plan import Field, FlatPlan, StructPlan
from codegen.policy import PLURALS
from codegen.render import Renderer

MODULES = sorted((ROOT / "codegen").glob("*.py"))
POLICY = sorted((ROOT / "codegen" / "policy").glob("*.toml"))
TEMPLATES = sorted((ROOT / "templates").rglob("*.j2"))

# Names that every version of Vulkan has and that mean the same everywhere: results, chains, host callbacks, the
# loader's entry points, what headers and registry are written in. Everything else belongs in the policy.
UNIVERSAL = re.compile(
    r"VkResult|VK_SUCCESS|VkStructureType|VkBase(In|Out)Structure|VkAllocationCallbacks|vkGet(Instance|Device)?ProcAddr"
    r"|PFN_vkVoidFunction|PFN_vkGet(Instance|Device)ProcAddr|vk_icdGetPhysicalDeviceProcAddr|VkInstance|VkDevice"
    r"|VkBool32|VK_NULL_HANDLE|VK_DEFINE_HANDLE|VK_HEADER_VERSION|VK_MAKE_API_VERSION|VkFlags64"
)
NAME = re.compile(r"\b(?:PFN_)?(?:vk_?[A-Za-z]\w+|Vk[A-Z]\w+|VK_[A-Z0-9_]+\w|STD_VIDEO\w+|StdVideo\w+)")


def strings_of(path: Path) -> list[str]:
    """String constants of a module but its docstrings."""
    tree = ast.parse(path.read_text())
    documented = [n for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    docs = {id(n.body[0].value) for n in documented if n.body and isinstance(n.body[0], ast.Expr)}
    constants = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docs]
    return [n.value for n in constants if isinstance(n.value, str)]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_modules_know_no_vulkan_names(path: Path) -> None:
    names = {n for text in strings_of(path) for n in NAME.findall(text)}
    patterns = {n for n in names if n in ("VK_", "Vk", "vk")}
    assert {n for n in names - patterns if not UNIVERSAL.fullmatch(n)} == set()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_templates_know_no_vulkan_names(path: Path) -> None:
    text = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.S)
    text = re.sub(r"//[^\n]*", "", re.sub(r"#include[^\n]*", "", text))
    assert {n for n in NAME.findall(text) if not UNIVERSAL.fullmatch(n) and n != "vk_"} == set()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_templates_are_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 120
    for macro in re.findall(r"\{%-?\s*macro .*?\{%-?\s*endmacro", text, re.S):
        assert macro.count("\n") + 1 <= 25, macro.splitlines()[0]


@pytest.mark.parametrize("path", POLICY, ids=lambda p: p.name)
def test_policy_files_say_what_their_columns_mean(path: Path) -> None:
    """A file for each table; it begins with a comment that names every column in use."""
    text = path.read_text()
    head = re.match(r"(#.*\n)+", text)
    assert head and max(map(len, text.splitlines())) <= 120
    rows = [row for table in tomllib.loads(text).values() if isinstance(table, list) for row in table]
    singular = {plural: key for key, plural in PLURALS.items()}
    columns = {singular.get(column, column) for row in rows for column in row}
    assert columns <= set(re.findall(r"\w+", head[0])) | {"name"}


def test_a_reason_is_given_once(own_registry: Made) -> None:
    """What is treated alike for one reason stands in one row (where one list can name it)."""
    seen: dict[str, Place] = {}
    for table in ("command", "struct", "union", "value", "extension"):
        for row in own_registry.policy.rows[table].values():
            said = repr((table, sorted((k, v) for k, v in row.values.items() if k != "name")))
            assert seen.setdefault(said, row.place) == row.place, f"{row.place} and {seen[said]} say the same"


def test_every_family_has_members(own_registry: Made) -> None:
    named = {own_registry.policy.family(name) for name in (*own_registry.model.commands, *own_registry.model.structs)}
    assert set(own_registry.policy.families) <= named


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_functions_are_short(path: Path) -> None:
    assert path.read_text().count("\n") < 500
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


def test_only_registry_knows_xml_and_only_render_knows_jinja() -> None:
    for path in MODULES:
        text = path.read_text()
        assert ("xml.parsers" in text) == (path.name == "registry.py"), path.name
        assert ("import jinja2" in text) == (path.name == "render.py"), path.name


def test_generated_code_is_current(own_registry: Made) -> None:
    assert check(Renderer(own_registry.model, own_registry.policy, own_registry.plan), ROOT / "generated") == 0


def test_generated_code_keeps_its_size() -> None:
    files = [p for p in (ROOT / "generated").rglob("*") if p.is_file()]
    assert len(files) <= 136
    assert sum(p.read_text().count("\n") for p in files) <= 175_000


def coverage(made: Made) -> Coverage:
    path = ROOT / "docs" / "executed.txt"
    return Coverage(made.model, made.policy, made.plan, path.read_text().split() if path.exists() else ())


def test_the_coverage_table_is_current(own_registry: Made) -> None:
    """After a change: python3 -m codegen coverage [--executed docs/executed.txt] > docs/coverage.md"""
    assert (ROOT / "docs" / "coverage.md").read_text() == coverage(own_registry).coverage() + "\n"


def test_the_extension_table_is_current(own_registry: Made) -> None:
    """After a change: python3 -m codegen coverage --extensions > docs/extensions.md"""
    assert (ROOT / "docs" / "extensions.md").read_text() == coverage(own_registry).extensions() + "\n"


def test_the_table_of_checks_is_current(own_registry: Made) -> None:
    """After a change: python3 -m codegen coverage --checks > docs/checks.md"""
    table = Checked(own_registry.model, own_registry.policy, own_registry.plan).table()
    assert (ROOT / "docs" / "checks.md").read_text() == table + "\n"
    commands = [c for c in own_registry.plan.commands.values() if c.on_wire]
    assert table.count("\n| vk") == len(commands)
    for row in own_registry.policy.rows["check"].values():
        assert str(row.get("call") or row.get("elsewhere") or row.get("name")) in table


def test_the_table_of_venus_is_current(own_registry: Made) -> None:
    """After a change: python3 -m codegen coverage --venus > docs/venus_commands.md"""
    assert (ROOT / "docs" / "venus_commands.md").read_text() == coverage(own_registry).venus() + "\n"


def test_97_percent_of_commands_are_covered_or_local(own_registry: Made) -> None:
    beta = {own_registry.model.canonical(n) for p in own_registry.model.providers if p.is_beta for n in p.commands}
    commands = [c for c in own_registry.plan.commands.values() if c.name not in beta]
    assert len(commands) == 670
    done = [c for c in commands if c.status in ("covered", "local")]
    assert len(done) >= 0.97 * len(commands)
    assert sum(c.status == "refused" for c in commands) <= 20
    assert not own_registry.plan.quarantined


# What names memory without letting the device write it.
HARMLESS = {
    "vkFreeMemory", "vkFlushMappedMemoryRanges", "vkInvalidateMappedMemoryRanges", "vkGetDeviceMemoryCommitment",
    "vkGetDeviceMemoryOpaqueCaptureAddress", "vkSetDeviceMemoryPriorityEXT", "vkGetMemoryFdKHR",
    "vkGetMemoryRemoteAddressNV", "vkGetMemoryWin32HandleKHR", "vkGetMemoryWin32HandleNV",
    "vkCmdBindTileMemoryQCOM",  # of a heap of tiles, which nobody maps
}  # fmt: skip


def test_every_binding_of_memory_is_known(own_registry: Made) -> None:
    """The client must learn of each command that lets the device write memory which the application has mapped."""
    plan = own_registry.plan
    by_name: dict[str, list[StructPlan | FlatPlan]] = {}
    for struct in (*plan.structs.values(), *plan.flats.values()):
        by_name.setdefault(struct.name, []).append(struct)

    def names_memory(fields: tuple[Field, ...], seen: set[str]) -> bool:
        for field in fields:
            if field.handle == "kDeviceMemory" and field.has_request:
                return True
            for struct in by_name.get(field.type, ()):
                if struct.name not in seen and names_memory(struct.fields, seen | {struct.name}):
                    return True
        return False

    naming = {c.name: c for c in plan.commands.values() if c.on_wire and names_memory(c.fields, set())}
    assert "vkBindBufferMemory2" in naming and "vkBindVideoSessionMemoryKHR" in naming
    unknown = {name for name, c in naming.items() if not c.client_override and c.memory != "binds"}
    assert unknown - HARMLESS == set()
