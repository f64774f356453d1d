"""What the pages under docs/ show, run: the executor of `docs/executors.md`, and every link."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from trackverse_cli.interfaces import Executor
from trackverse_cli.testing import ExecutorContract

TOP = Path(__file__).parents[1]
PAGES = [*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")]


def example() -> dict[str, Any]:
    text = (TOP / "docs" / "executors.md").read_text(encoding="utf-8")
    [code] = [c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "hookimpl" in c]
    names: dict[str, Any] = {"__name__": "trackverse_detached"}
    exec(compile(code, "trackverse_detached.py", "exec"), names)
    return names


class TestTheExampleOfAnExecutor(ExecutorContract):
    def make_executor(self) -> Executor:
        names = example()
        plugin = names["trackverse_register_executor"]()
        executor = plugin.create(plugin.settings())
        assert isinstance(executor, Executor)
        return executor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
