"""Every benchmark starts; what they measure is nothing for a test."""

from __future__ import annotations

import json
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
START_ALL = """
import json, runpy, sys
ended = {}
for name in json.loads(sys.argv[1]):
    sys.argv = [name, "--help"]
    try:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    except SystemExit as end:
        ended[name] = end.code
    except Exception as error:
        ended[name] = repr(error)
print(json.dumps(ended))
"""


def test_the_benchmarks_are_found() -> None:
    assert {"cuda", "cut", "encoders", "fleet", "scale"} <= set(NAMES)


def test_every_benchmark_starts_and_says_how_it_is_called() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    done = subprocess.run(
        [sys.executable, "-c", START_ALL, json.dumps(NAMES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(NAMES, 0)
    assert done.stdout.count("usage:") == len(NAMES)
