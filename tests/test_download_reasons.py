from __future__ import annotations

import math

import pytest

from trackverse_cli.reasons import (
    BLAMELESS,
    DOWNLOAD_REASONS,
    MEANING,
    OF_THE_VIDEO,
    UNRECOVERABLE,
    Look,
    next_try_after,
    settle,
)

HOUR, DAY = 3600.0, 24 * 3600.0


def test_every_reason_has_a_meaning_and_one_kind() -> None:
    assert set(DOWNLOAD_REASONS) <= set(MEANING)
    assert set(DOWNLOAD_REASONS) == OF_THE_VIDEO | (BLAMELESS - {"stopped"}) | {"transient"}
    assert not OF_THE_VIDEO & BLAMELESS
    assert not UNRECOVERABLE & BLAMELESS
    assert {"permanent", "access", "geo"} <= UNRECOVERABLE & OF_THE_VIDEO


@pytest.mark.parametrize(
    ("earlier", "settled"),
    [
        ([], "ambiguous"),
        ([(-DAY, "ambiguous")], "permanent"),
        ([(-DAY + 1, "ambiguous")], "ambiguous"),
        ([(-HOUR, "ambiguous"), (-3 * DAY, "ambiguous")], "permanent"),
        ([(-3 * DAY, "ambiguous"), (-2 * DAY, "transient")], "permanent"),
        ([(-3 * DAY, "transient")], "ambiguous"),
        ([(-3 * DAY, "ambiguous"), (-2 * DAY, "")], "ambiguous"),
        ([(-2 * DAY, "ambiguous"), (-3 * DAY, "")], "permanent"),
    ],
)
def test_what_names_no_reason_counts_after_a_second_later_look(
    earlier: list[tuple[float, str]], settled: str
) -> None:
    now = 1_000_000.0
    looks = [Look(now + ago, reason) for ago, reason in earlier]
    assert settle("ambiguous", looks, now) == settled
    assert settle("transient", looks, now) == "transient"


@pytest.mark.parametrize(
    ("reason", "tries", "delay"),
    [
        ("transient", 1, 0),
        ("transient", 2, 600),
        ("transient", 3, 1200),
        ("transient", 50, DAY),
        ("throttled", 1, HOUR),
        ("throttled", 2, 2 * HOUR),
        ("throttled", 9, 12 * HOUR),
        ("tool", 1, 0),
        ("tool", 2, 600),
        ("ambiguous", 1, DAY),
        ("later", 1, 6 * HOUR),
        ("offline", 7, 0),
        ("needs-cookies", 7, 0),
        ("video-damaged", 1, 0),
        ("permanent", 1, math.inf),
        ("geo", 3, math.inf),
    ],
)
def test_when_the_next_try_is_due(reason: str, tries: int, delay: float) -> None:
    assert next_try_after(reason, tries, 1000.0) == 1000.0 + delay
