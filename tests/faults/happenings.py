"""Faults that are no call of a command, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults import damage, misfortune
from tests.faults.kit import Happening

if TYPE_CHECKING:
    from collections.abc import Sequence

HAPPENINGS: tuple[Happening, ...] = (
    Happening("a bit flipped in each file", damage.flips_in_files, quick=False),
    Happening("a bit flipped in each file, shards", damage.flips_in_shards, quick=False),
    Happening("a ledger cut at each byte of its last lines", damage.torn_ledger),
    Happening("garbage in the ledger", damage.garbage_in_ledger, quick=False),
    Happening("stale leases", misfortune.stale_leases, quick=False),
    Happening("the clock jumps", misfortune.clock_jumps, quick=False),
    Happening("a folder or disk is gone", damage.dead_disk, quick=False),
    Happening("two jobs at once", misfortune.two_jobs),
    Happening("few file descriptors", misfortune.few_descriptors, quick=False),
    Happening("little memory", misfortune.little_memory, quick=False),
    Happening("a read-only root", misfortune.read_only, quick=False),
    Happening("a folder left for months", misfortune.old_leftovers),
)


def happenings(words: Sequence[str] | None, quick: bool) -> list[Happening]:
    """Return the happenings whose names hold one of some words, all if None; or the quick ones."""
    chosen = [one for one in HAPPENINGS if words is None or any(w in one.name for w in words)]
    return [one for one in chosen if one.quick or not quick]
