"""Every benchmark starts; what they measure is nothing for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = sorted(
    path.stem
    for path in (ROOT / "benchmarks").iterdir()
    if (path.suffix == ".py" and path.stem != "__init__") or (path / "__main__.py").is_file()
)


def test_the_benchmarks_are_found() -> None:
    assert {"cuda", "cut", "encoders", "fleet", "scale"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_starts_and_says_how_it_is_called(name: str) -> None:
    if name == "cuda":
        pytest.importorskip("torch", reason="torch is not installed")
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
