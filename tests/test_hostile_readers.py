"""The readers of what strangers and broken disks hand to us: each for a second with hypothesis.

`make fuzz` does the same for as long as one likes, guided by coverage; what it found is among the
seeds (tests/fuzz), so that each of them is read here once as it is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import TARGETS

if TYPE_CHECKING:
    import random
    from pathlib import Path

EXAMPLES = {
    "metadata": 300,
    "gzipped": 200,
    "configuration": 60,
    "ledger": 150,
    "sidx": 250,
    "index": 60,
}
PIECES = (
    b"\0", b"\xff" * 4, b"\x80\0\0\0", b"[", b'"', b"{", b"null", b"1e999",
    b"-1", b"../",
    b"\\u0000", b"99999999999999999999", b"\n", b"\xc3", b"=", b"NaN",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
)  # fmt: skip


def target_of(name: str) -> Any:
    return importlib.import_module(f"tests.fuzz.{name}")


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_is_borne(name: str, tmp_path: Path) -> None:
    target = target_of(name)
    for seed in target.seeds():
        target.check(seed, tmp_path)


def damaged(seed: bytes, rng: random.Random) -> bytes:
    """Return a seed with some bytes changed, left out, doubled or put in."""
    data = bytearray(seed)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        stop = min(len(data), at + rng.choice((1, 1, 4, 40)))
        piece = rng.choice((bytes([rng.randrange(256)]), rng.choice(PIECES), bytes(data[at:stop])))
        data[at : rng.choice((at, stop))] = piece
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused(name: str, tmp_path: Path) -> None:
    target = target_of(name)
    seeds = target.seeds()

    @settings(
        max_examples=EXAMPLES[name], deadline=None, derandomize=True, database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip
    @given(
        st.one_of(
            st.builds(damaged, st.sampled_from(seeds), st.randoms(use_true_random=False)),
            st.binary(max_size=400),
        )
    )
    def run(data: bytes) -> None:
        target.check(data, tmp_path)

    run()
