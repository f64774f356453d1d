"""Fuzz one target: `python -m tests.fuzz sidx --seconds 600 [--corpus FOLDER]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from tests.fuzz import TARGETS


def main() -> None:
    """Let atheris run one target; what breaks it is left in the folder of findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"))
    asked = parser.parse_args()
    try:
        atheris = import_module("atheris")
    except ImportError:
        sys.exit("atheris is not installed here; run `pip install atheris`, then this again")
    with atheris.instrument_imports(include=["trackverse_cli"]):
        target = import_module(f"tests.fuzz.{asked.target}")
    corpus = asked.corpus / asked.target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number:03d}").write_bytes(seed)
    # Memory where there is some: a reader of files wants thousands of them a second.
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as place:

        def once(data: bytes) -> None:
            target.check(data, Path(place))

        arguments = [
            sys.argv[0], f"-max_total_time={asked.seconds}", "-timeout=60", "-rss_limit_mb=3000",
            "-max_len=8192", "-print_final_stats=1", f"-artifact_prefix={corpus}-finding-",
            str(corpus),
        ]  # fmt: skip
        atheris.Setup(arguments, once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
