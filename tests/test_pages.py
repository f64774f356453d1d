"""The commands that the pages under docs/ show: each exists, with the options that are shown."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trackverse_cli.app import app

DOCS = Path(__file__).parents[1] / "docs"


def shown() -> list[tuple[str, str]]:
    """(page, command) of every shell line of the pages that begins with the program's name."""
    found = []
    for page in sorted(DOCS.glob("*.md")):
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(page.name, line) for line in lines if line.startswith("trackverse ")]
    return found


@cache
def help_of(command: str) -> str:
    done = CliRunner().invoke(app, [command, "--help"] if command else ["--help"])
    assert done.exit_code == 0, f"there is no command {command!r}"
    return done.output


@pytest.mark.parametrize(("page", "line"), shown(), ids=lambda text: text)
def test_a_command_that_is_shown_exists(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command = next(word for word in words if re.fullmatch(r"[a-z-]+", word) and word[0] != "-")
    told = help_of(command) + help_of("")
    for word in words:
        if word == "--":
            break
        if word.startswith("-"):
            option = word.partition("=")[0]
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told), f"{page}: {option}"


def test_the_pages_show_commands() -> None:
    assert len(shown()) > 30
