"""What was found damaged is brought again by `submit`, and what proves nothing does not count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import SERVED_IDS, SERVED_SIZE
from tests.faults.box import flip
from tests.original import Script
from trackverse_cli.ledger import Ledger, read_ledger
from trackverse_cli.recipe import ORIGINAL

if TYPE_CHECKING:
    from tests.project import Project

FIRST, SECOND = SERVED_IDS
SIZE = SERVED_SIZE


@pytest.mark.parametrize("stage", ["download-tracks", "download-videos"])
def test_submit_starts_the_rank_whose_only_work_is_a_damaged_video(
    served: Project, stage: str
) -> None:
    path = served.layout.video_target(FIRST)
    whole, kept = path.read_bytes(), served.nth_clip(0).stat().st_mtime_ns
    flip(path)
    served.run("verify", "--level", "checksum").exits(1)
    submit = ("submit", "--stage", stage, "--world-size", "2")
    planned = served.run(*submit, "--dry-run").exits(0).out
    assert len(planned.splitlines()) == 1
    served.spawn(*submit).exits(0).says("1 of 2 ranks")
    assert path.read_bytes() == whole
    assert served.nth_clip(0).stat().st_mtime_ns == kept
    served.run("verify", "--level", "checksum").exits(0)
    served.run(*submit).exits(0).says("every rank of 2 is done")


def test_submit_starts_no_rank_that_would_not_bring_it_again(served: Project) -> None:
    flip(served.layout.video_target(FIRST))
    served.run("verify", "--level", "checksum").exits(1)
    served.run("submit", "--stage", "extract-tracks").exits(0).says("is done")
    served.env["TRACKVERSE_PIPELINE__REMOVE_VIDEOS"] = "true"
    served.run("submit").exits(0).says("is done")
    served.env["TRACKVERSE_PIPELINE__REMOVE_VIDEOS"] = "false"
    served.layout.video_target(FIRST).unlink()
    served.run("submit").exits(0).says("is done")


def test_a_damaged_video_with_a_clip_to_cut_is_downloaded_by_its_stage(served: Project) -> None:
    flip(served.layout.video_target(FIRST))
    served.run("verify", "--level", "checksum").exits(1)
    served.nth_clip(0).unlink()
    submit = ("submit", "--stage", "download-videos", "--world-size", "2")
    assert len(served.run(*submit, "--dry-run").exits(0).out.splitlines()) == 1


@pytest.mark.parametrize(
    ("reason", "state"), [("beyond-end", "unrecoverable"), ("write-failed", "missing")]
)
def test_a_file_in_the_place_of_a_clip_that_cannot_be_had_proves_nothing(
    served: Project, reason: str, state: str
) -> None:
    sound = served.nth_clip(0).read_bytes()
    served.nth_clip(0).write_bytes(b"not a clip at all")
    recipe = next(iter(read_ledger(served.layout).clips.values())).recipe
    with Ledger(served.layout, "extract-tracks", 0, 1, "Tiny") as ledger:
        ledger.track(FIRST, "t0000", recipe, reason, "it says so")
    for level in ("presence", "probe", "checksum", "decode"):
        found = served.run("verify", "--level", level, "--json").exits(1).json
        assert (found["clips"]["complete"], found["clips"][state]) == (1, 1)
        assert found["reasons"] == {reason: 1}
    planned = served.run("plan", "--json").json
    assert planned["clips"]["complete"] == 1

    served.nth_clip(0).write_bytes(sound)
    found = served.run("verify", "--level", "presence", "--json").exits(1).json
    assert found["clips"]["complete"] == 1, "a listing proves nothing"
    assert served.run("verify", "--json").exits(0).json["complete"], "the clip does"
    assert served.run("verify", "--level", "presence", "--json").exits(0).json["complete"]


def test_a_damaged_clip_whose_new_cut_failed_is_not_forgotten(served: Project) -> None:
    flip(served.nth_clip(0))
    served.run("verify", "--level", "checksum").exits(1)
    recipe = next(iter(read_ledger(served.layout).clips.values())).recipe
    with Ledger(served.layout, "extract-tracks", 0, 1, "Tiny") as ledger:
        ledger.track(FIRST, "t0000", recipe, "write-failed", "Input/output error")
    for level in ("presence", "probe"):
        told = served.run("verify", "--level", level, "--json").exits(1).json
        assert told["reasons"] == {"write-failed": 1}
        assert told["run_again"] == [0]
    served.run("extract-tracks").exits(0)
    served.run("verify", "--level", "checksum").exits(0)


@pytest.mark.parametrize("is_harmed", [False, True])
def test_a_clip_without_a_checksum_on_record_is_decoded_instead(
    served: Project, is_harmed: bool
) -> None:
    for path in served.layout.ledger.iterdir():
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(x for x in lines if b'"done"' not in x or b"t0000" not in x))
    assert (FIRST, "t0000") not in read_ledger(served.layout).clips
    if is_harmed:
        content = bytearray(served.nth_clip(0).read_bytes())
        content[-200:] = bytes(200)  # of its last picture: the header stands before
        served.nth_clip(0).write_bytes(content)
    served.run("verify").exits(0)
    told = served.run("verify", "--level", "checksum", "--json").json
    assert told["complete"] != is_harmed
    assert told["reasons"] == ({"clip-damaged": 1} if is_harmed else {})


def test_what_a_killed_run_cut_after_a_failure_is_not_cut_again(served: Project) -> None:
    mtime = served.nth_clip(0).stat().st_mtime_ns
    recipe = next(iter(read_ledger(served.layout).clips.values())).recipe
    for path in served.layout.ledger.iterdir():
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(x for x in lines if b'"done"' not in x or b"t0000" not in x))
    assert (FIRST, "t0000") not in read_ledger(served.layout).clips
    with Ledger(served.layout, "extract-tracks", 0, 1, "Tiny") as ledger:
        ledger.track(FIRST, "t0000", recipe, "write-failed", "Input/output error")
    served.run("extract-tracks").exits(0)
    assert served.nth_clip(0).stat().st_mtime_ns == mtime
    assert (FIRST, "t0000") in read_ledger(served.layout).clips
    served.run("verify", "--level", "presence").exits(0)


def test_an_adopted_clip_that_is_sound_after_all_stays_an_adopted_one(project: Project) -> None:
    line = project.track(FIRST, 0.1, 0.9)
    source = project.video(FIRST, frames=40)
    good = Script(flushes=True).cut(source, line, project.root)
    project.fetch()
    project.run("adopt", str(project.root)).exits(0)
    whole = good.read_bytes()
    flip(good)
    project.run("verify", "--level", "checksum").exits(1)
    good.write_bytes(whole)
    project.run("verify", "--level", "checksum").exits(0)
    project.run("verify", "--level", "checksum").exits(0)
    assert read_ledger(project.layout).clips[FIRST, "t0000"].recipe == ORIGINAL
