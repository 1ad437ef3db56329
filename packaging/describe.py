#!/usr/bin/env python3
"""describe.py PROGRAM SHARE: a man page, and completions for bash and fish, out of what PROGRAM says of itself.

They go under the folder SHARE (usr/share of a package). Only --help and --version are run.
"""

import gzip
import pathlib
import re
import subprocess
import sys

SECTION = "1"


def said(program: pathlib.Path, *arguments: str) -> str:
    return subprocess.run([program, *arguments], capture_output=True, check=True, text=True).stdout


def options(text: str) -> list[str]:
    """The options that a help text offers: -h, --help ..."""
    found = re.findall(r"(?m)^  (-[^\s]+)", text)
    return [option for group in found for option in group.split(",")]


def choices(text: str) -> dict[str, list[str]]:
    """Options that take one of several words, with these."""
    found = re.findall(r"(?m)^  (\S+) [A-Z]+:\{([^}]*)\}", text)
    return {name: words.split(",") for option, words in found for name in option.split(",")}


def subcommands(text: str) -> dict[str, str]:
    """The subcommands that a help text offers, each with its line."""
    _, _, rest = text.partition("Subcommands:\n")
    return {name: line for name, line in re.findall(r"(?m)^  ([a-z-]+)\s+(.*)$", rest)}


def man_page(program: pathlib.Path) -> bytes:
    text = said(program, "--help")
    about = next(line for line in text.splitlines() if line.strip()).strip().rstrip(".")
    page = subprocess.run(
        ["help2man", "--no-info", "--no-discard-stderr", f"--section={SECTION}", f"--name={about[0].lower()}{about[1:]}",
         "--version-string=" + version(program), str(program)],
        capture_output=True, check=True, text=True,
    ).stdout
    for name, line in subcommands(text).items():
        details = "\n".join("  " + each for each in said(program, name, "--help").strip().splitlines())
        page += f".SH \"{program.name.upper()} {name.upper()}\"\n.nf\n" + roff(details) + "\n.fi\n"
    return page.encode()


def roff(text: str) -> str:
    lines = (line.replace("\\", "\\e").replace("-", "\\-") for line in text.splitlines())
    return "\n".join(("\\&" + line) if line[:1] in (".", "'") else line for line in lines)


def version(program: pathlib.Path) -> str:
    run = subprocess.run([program, "--version"], capture_output=True, text=True)
    return run.stdout.strip() or "this version" if run.returncode == 0 else "this version"


def bash(program: pathlib.Path) -> str:
    text = said(program, "--help")
    name = program.name
    function = "_" + name.replace("-", "_")
    commands = {each: said(program, each, "--help") for each in subcommands(text)}
    words = {"": text, **commands}
    lines = [f"{function}() {{", "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} given='' each",
             "  for each in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do",
             f"    case $each in {'|'.join(commands) or '---'}) given=$each; break ;; esac", "  done",
             "  case $given$before in"]
    for command, help_text in words.items():
        for option, among in choices(help_text).items():
            lines.append(f"    {command}{option}) COMPREPLY=($(compgen -W '{' '.join(among)}' -- \"$word\")); return ;;")
    lines += ["  esac", "  case $given in"]
    for command, help_text in words.items():
        offered = options(help_text) + (list(commands) if not command else [])
        lines.append(f"    '{command}') COMPREPLY=($(compgen -W '{' '.join(offered)}' -- \"$word\")) ;;")
    lines += ["  esac", "}", f"complete -o default -F {function} {name}", ""]
    return "\n".join(lines)


def fish(program: pathlib.Path) -> str:
    text = said(program, "--help")
    name = program.name
    lines = []
    for command, line in subcommands(text).items():
        quoted = line.replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"complete -c {name} -n __fish_use_subcommand -a {command} -d '{quoted}'")
        for option in options(said(program, command, "--help")):
            lines.append(f"complete -c {name} -n '__fish_seen_subcommand_from {command}' {fish_option(option)}")
    for option in options(text):
        lines.append(f"complete -c {name} -n __fish_use_subcommand {fish_option(option)}")
    return "\n".join(lines) + "\n"


def fish_option(option: str) -> str:
    return f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"


def main() -> None:
    program, share = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for path, content in {
        share / f"man/man{SECTION}" / f"{program.name}.{SECTION}.gz": gzip.compress(man_page(program), 9, mtime=0),
        share / "bash-completion/completions" / program.name: bash(program).encode(),
        share / "fish/vendor_completions.d" / f"{program.name}.fish": fish(program).encode(),
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


main()
