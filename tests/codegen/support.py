"""What the suites share: the small registry, edited copies of it, and everything made from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codegen.analysis import Analysis
from codegen.lowering import Lowering
from codegen.model import Model, build_model
from codegen.offers import Offers
from codegen.plan import CommandPlan, Field, Plan, StructPlan
from codegen.policy import Policy, load_policy
from codegen.registry import read_registry

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MINI_XML = (HERE / "mini.xml").read_text()
MINI_POLICY = (HERE / "mini.toml").read_text()


@dataclass(frozen=True)
class Made:
    """All stages up to the plan."""

    model: Model
    policy: Policy
    plan: Plan

    def check_used(self) -> None:
        """Fails for rows without effect, once everything has asked for its rows."""
        assert Offers(self.model, self.policy, self.plan).extensions
        self.policy.check_used()

    def field(self, owner: str, name: str, role: str = "in") -> Field:
        """The plan's field of a command, or of a struct in ``role``."""
        planned: CommandPlan | StructPlan
        planned = self.plan.commands[owner] if owner.startswith("vk") else self.plan.structs[owner, role]
        return next(f for f in planned.fields if f.name == name)


def edited(text: str, *changes: tuple[str, str]) -> str:
    """``text`` with every change made exactly where its old part stands."""
    for old, new in changes:
        assert old in text, f"{old!r} is not in the text"
        text = text.replace(old, new, 1)
    return text


def line_of(text: str, part: str) -> int:
    """The line that ``part`` begins in."""
    return text[: text.index(part)].count("\n") + 1


def make_model(folder: Path, xml: str = MINI_XML) -> Model:
    (folder / "vk.xml").write_text(xml)
    return build_model(read_registry(folder / "vk.xml", None))


def make(folder: Path, xml: str = MINI_XML, policy: str = MINI_POLICY, strict: bool = True) -> Made:
    model = make_model(folder, xml)
    (folder / "policy.toml").write_text(policy)
    loaded = load_policy(folder / "policy.toml", model)
    plan = Lowering(Analysis(model, loaded)).run(strict)
    return Made(model, loaded, plan)
