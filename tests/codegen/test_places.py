"""places.py: every place that explain prints is there, and every override is one that the policy names."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from support import ROOT, Made

from codegen.explain import Explainer
from codegen.places import Sources, Stop, codecs, definitions, own
from codegen.plan import CommandPlan

# Where the policy's functions are defined: with Vulkan's signature, and with decoded arguments.
CLIENT = re.compile(r"^VKAPI_ATTR [\w ]+?\*?\s+VKAPI_CALL\s+(\w+)\(", re.M)
SERVER = re.compile(r"^void (\w+)\(Session&[ \w]*,\s+const vk::DispatchTable&[ \w]*,\s+wire::\w+Args&", re.M)


@pytest.fixture(scope="module")
def explainer(own_registry: Made) -> Explainer:
    made = own_registry
    return Explainer(made.model, made.policy, made.plan, Sources(ROOT, ROOT / "generated"))


def commands(explainer: Explainer) -> list[CommandPlan]:
    return [*explainer.plan.commands.values(), *explainer.plan.platform_commands.values()]


def stops(explainer: Explainer) -> Iterator[tuple[str, Stop]]:
    for command in commands(explainer):
        has_entry = explainer.offers.has_entry(command)
        for stop in (*explainer.way(command), *own(command, has_entry, explainer.sources)):
            yield command.name, stop
    for (name, _), struct in explainer.plan.structs.items():
        for stop in [] if struct.is_union else codecs(struct):
            yield name, stop


def test_every_stop_is_there(explainer: Explainer) -> None:
    """A function that was renamed or moved fails here: codegen/places.py or policy/ways.toml name it."""
    missing = {f"{name}: {s.file} {s.function}" for name, s in stops(explainer) if not explainer.sources.line(s)}
    assert missing == set()


def overrides(side: str, pattern: re.Pattern[str], explainer: Explainer) -> dict[str, str]:
    """The functions that the policy may name, and the file of each; but those of extensions that are unknown."""
    known = {p.name for p in explainer.model.providers}
    found = {}
    for path in sorted((ROOT / side / "overrides").glob("*.cpp")):
        text = re.sub(
            r"^#if(?:def |\s+defined\()(VK_\w+).*?^#endif",
            lambda m: m[0] if m[1] in known else "",
            path.read_text(),
            flags=re.M | re.S,
        )
        text = re.sub(r"^namespace \{.*?^\}  // namespace$", "", text, flags=re.M | re.S)
        for name in pattern.findall(text):
            if next(definitions(text, name), None):
                found[name] = path.stem
    return found


def test_every_override_is_named_by_the_policy(explainer: Explainer) -> None:
    """A function of overrides/ that no row names is dead: nothing calls it."""
    client = {c.client_override: c.client_file for c in commands(explainer) if c.client_override}
    server = {c.server_override: c.server_file for c in commands(explainer) if c.server_override}
    assert overrides("client", CLIENT, explainer) == client
    assert overrides("server", SERVER, explainer) == server


def test_the_way_of_a_submit(explainer: Explainer) -> None:
    lines = explainer.path("vkQueueSubmit2").splitlines()
    assert lines[0].endswith(": covered")
    steps = [line.split()[0] for line in lines[1:] if line[2] != " "]
    assert steps == [
        "entry", "post", "encode", "batch", "channel", "decode", "invoke", "driver", "queue", "leads", "no"
    ]  # fmt: skip
    assert re.search(r"entry +client/overrides/submit.cpp:\d+ QueueSubmit2", lines[1])
    assert any(re.search(r"generated/wire/sync.cpp:\d+ EncodeRequest", line) for line in lines)


def test_what_is_answered_in_the_client_is_not_sent(explainer: Explainer) -> None:
    assert [line.split()[0] for line in explainer.path("vkGetFenceStatus").splitlines()[1:]] == ["entry"]
    assert "Call::AskCached" in explainer.path("vkGetMemoryHostPointerPropertiesEXT")


def test_the_way_of_a_question(explainer: Explainer) -> None:
    text = explainer.path("vkGetBufferDeviceAddress")
    parts = ["EncodeRequest", "DecodeRequest", "driver", "EncodeReply", "DecodeReply"]
    assert sorted(parts, key=text.index) == parts
    line = re.search(r"driver +generated/server/buffer.cpp:(\d+)", text)
    assert line
    server = (ROOT / "generated" / "server" / "buffer.cpp").read_text().splitlines()
    assert "driver.GetBufferDeviceAddress(" in server[int(line[1]) - 1]


def test_a_local_command_leads_to_the_other_side(explainer: Explainer) -> None:
    text = explainer.explain("vkMapMemory")
    assert re.search(r"client/overrides/memory.cpp:\d+ MapMemory", text)
    assert re.search(r"server/memory/mapped_memory.cpp:\d+ MappedMemory::Write", text)
    assert explainer.path("vkGetMemoryRemoteAddressNV").count("\n") == 0


def test_lines_that_name_a_command(explainer: Explainer) -> None:
    assert re.search(r"client/overrides/submit.cpp:\d+ names it", explainer.explain("vkQueueSubmit2"))


def test_definitions_are_no_declarations_and_no_calls() -> None:
    text = """void Run(int a);
// void Run(
void Run(Args& v,
         std::function<void()> done) {
  Run(v, [] {});
}
Other::Run(Session& s) : s_(s) {}
auto x = Run(1);
"""
    assert [(text.count("\n", 0, b), p) for b, _, p in definitions(text, "Run")] == [
        (2, "Args& v,\n         std::function<void()> done")
    ]
    assert len(list(definitions(text, "Other::Run"))) == 1
