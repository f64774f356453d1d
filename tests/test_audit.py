"""`verify`: by class and by rank, what to run again, and going on where an earlier one was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.project import Project
from trackverse_cli import ahead, auditor, checked
from trackverse_cli.checked import ENTRY, Checked, Stamp
from trackverse_cli.errors import ItemError
from trackverse_cli.probe import check_clip
from trackverse_cli.worklist import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDS = ("aaaaaaaaaa1", "bbbbbbbbbb2", "cccccccccc3")
STATES = [state.value for state in State]


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three videos with two clips each, all cut."""
    project = Project(tmp_path_factory.mktemp("cut"))
    for number, video_id in enumerate(IDS):
        project.video(video_id, frames=60)
        project.track(video_id, 0.2, 1.4, top10_label_names=[f"class {number}"])
        project.track(video_id, 0.6, 1.9, top10_label_names=["[/red]"])
    project.fetch()
    project.run("extract-tracks").exits(0)
    return project


@pytest.fixture
def lab(cut: Project, tmp_path: Path) -> Project:
    """A copy of it that a test may change."""
    shutil.copytree(cut.root, tmp_path / "root")
    return Project(tmp_path, lines=list(cut.lines))


def clip(lab: Project, number: int) -> Path:
    return lab.clip(lab.lines[number])  # type: ignore[arg-type]


def adds_up(answer: dict[str, Any]) -> None:
    tallies = [answer["clips"], answer["videos"], *answer["classes"].values(), *answer["ranks"]]
    for tally in tallies:
        assert tally["expected"] == sum(tally[state] for state in STATES)
    for part in (list(answer["classes"].values()), answer["ranks"]):
        for name in ("expected", *STATES):
            assert sum(tally[name] for tally in part) == answer["clips"][name]
    lacking = answer["clips"]["expected"] - answer["clips"]["complete"]
    assert sum(answer["reasons"].values()) == lacking
    assert answer["complete"] is (lacking == 0)


def test_by_class_and_by_rank(lab: Project) -> None:
    clip(lab, 2).unlink()
    clip(lab, 5).write_text("no video")
    lab.lines.append(b"garbage")
    lab.run("fetch-meta", str(lab.write_metadata())).exits(0)
    answer = lab.run("verify", "--json", "--world-size", "3").exits(1).json
    adds_up(answer)
    assert answer["classes"].keys() == {"", "class 0", "class 1", "class 2", "[/red]"}
    assert answer["classes"]["class 1"] == {
        "expected": 1, "complete": 0, "missing": 1, "damaged": 0, "unrecoverable": 0,
    }  # fmt: skip
    assert answer["classes"]["[/red]"]["damaged"] == 1
    assert [rank["rank"] for rank in answer["ranks"]] == [0, 1, 2]
    assert len(answer["run_again"]) == 2
    lacking = [r["rank"] for r in answer["ranks"] if r["missing"] + r["damaged"]]
    assert answer["run_again"] == lacking
    alone = [
        lab.run("verify", "--json", "--world-size", "3", "--rank", str(rank)).json
        for rank in range(3)
    ]
    for one in alone:
        adds_up(one)
    assert [one["ranks"] for one in alone] == [[rank] for rank in answer["ranks"]]
    assert sorted(rank for one in alone for rank in one["run_again"]) == lacking
    whole = lab.run("verify", "--json").exits(1).json
    assert whole["run_again"] == [0]
    assert {key: whole[key] for key in ("clips", "videos", "classes", "reasons")} == {
        key: answer[key] for key in ("clips", "videos", "classes", "reasons")
    }


def test_the_text_names_what_to_run_again(lab: Project) -> None:
    clip(lab, 2).unlink()
    answer = lab.run("verify", "--world-size", "3", "--json").exits(1).json
    (again,) = answer["run_again"]
    told = lab.run("verify", "--world-size", "3").exits(1)
    told.says(f"next: trackverse submit --world-size 3 (ranks {again} of 3 have something left)")
    told.says("class 1", "and 3 more: 5 of 5 complete", "and 2 more")
    alone = ("--world-size", "3", "--rank", str(again))
    lab.run("verify", *alone).says(
        f"next: trackverse download-tracks --rank {again} --world-size 3"
    )
    lab.run("verify", "--classes", "class 1").says(
        "next: trackverse --meta Tiny --classes 'class 1' submit --world-size 1"
    )
    planned = lab.run("submit", "--world-size", "3", "--dry-run").exits(0).out
    assert f"--rank {again} --world-size 3" in planned
    lab.run("verify", "--classes", "class 0").exits(0).says("complete: every clip is there")


def test_many_classes_and_ranks_are_folded_and_one_object(project: Project) -> None:
    line = {"frame_ts": [0.0, 2.0], "frame_bboxes": [[1, 1, 9, 9]] * 2, "track_ts": [0.0, 2.0]}
    for number in range(10_000):
        video_id = f"v{number % 700:010d}"
        project.track(video_id, 0, 0.1, top10_label_names=[f"c{number:05d}"], **line)
    project.fetch()
    words = ("verify", "--level", "presence", "--world-size", "64")
    answer = project.run(*words, "--json").exits(1).json
    adds_up(answer)
    assert len(answer["classes"]) == 10_000
    assert answer["run_again"] == list(range(64))
    told = project.run(*words).exits(1)
    told.says("and 9,990 more: 0 of 9,990 complete", "(ranks 0-63 of 64 have something left)")
    assert len(told.out.splitlines()) < 60


def test_presence_asks_once_for_each_folder(lab: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("stat", "lstat", "listdir"):
        real = getattr(os, name)

        def spy(path: Any, *more: Any, _real: Any = real, **other: Any) -> Any:
            asked.append(str(path))
            return _real(path, *more, **other)

        monkeypatch.setattr(os, name, spy)
    lab.run("verify", "--level", "presence").exits(0)
    assert not [path for path in asked if path.endswith("disc-t0000.mp4")]
    assert len([path for path in asked if path.endswith("Tiny/aa")]) < 6


class Spy:
    """Notes the clips that were really looked at, and interrupts after some."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.limit = 1000

    def __call__(self, path: Path, *more: Any) -> Any:
        self.names.append(path.name)
        if len(self.names) > self.limit:
            raise KeyboardInterrupt
        return check_clip(path, *more)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """What is found is kept at once."""
    spy = Spy()
    monkeypatch.setattr(auditor, "check_clip", spy)
    monkeypatch.setattr(checked, "FLUSH_SECONDS", 0.0)
    return spy


def interrupted(lab: Project, spy: Spy, after: int, *words: str) -> list[Path]:
    """Run a verify that is stopped after some clips; return what it left in state/."""
    spy.limit = after
    lab.run("verify", *words, "--workers", "1").exits(143).says("to go on")
    for thread in threading.enumerate():
        if thread.name.startswith("verify"):
            thread.join()
    spy.limit = 1000
    spy.names.clear()
    return sorted(lab.layout.state.glob("verify-*"))


def test_an_interrupted_verify_goes_on(lab: Project, spy: Spy) -> None:
    words = ("--level", "decode")
    (kept,) = interrupted(lab, spy, 4, *words)
    entries = kept.stat().st_size // ENTRY.itemsize
    assert 3 <= entries <= 6
    answer = lab.run("verify", *words, "--json").exits(0).json
    assert answer["clips"]["complete"] == 6
    assert 0 < len(spy.names) < 4
    assert not kept.exists()
    spy.names.clear()
    lab.run("verify", *words).exits(0)
    assert len(spy.names) == 6


def test_another_level_recipe_or_shard_begins_anew(lab: Project, spy: Spy) -> None:
    interrupted(lab, spy, 4, "--level", "decode")
    lab.run("verify", "--level", "checksum").exits(0)
    assert len(spy.names) == 6
    spy.names.clear()
    lab.run("verify", "--level", "decode", "--rank", "0", "--world-size", "1").exits(0)
    assert len(spy.names) == 6
    spy.names.clear()
    lab.run("verify", "--level", "decode", "--fresh").exits(0)
    assert len(spy.names) == 6
    assert list(lab.layout.state.glob("verify-*")) == []


def test_what_has_changed_since_is_looked_at_again(lab: Project, spy: Spy) -> None:
    interrupted(lab, spy, 5, "--level", "checksum")
    content = bytearray(clip(lab, 0).read_bytes())
    content[len(content) // 2] ^= 16
    clip(lab, 0).write_bytes(content)
    os.utime(clip(lab, 1), ns=(1, 1))
    answer = lab.run("verify", "--level", "checksum", "--json").exits(1).json
    assert answer["reasons"] == {"clip-damaged": 1}
    assert {clip(lab, 0).name, clip(lab, 1).name} <= set(spy.names)
    assert clip(lab, 2).name not in spy.names


def test_damage_is_never_kept_as_sound(lab: Project, spy: Spy) -> None:
    clip(lab, 0).write_text("no video")
    for after in (4, 1, 1):
        interrupted(lab, spy, after, "--level", "decode")
    assert lab.run("verify", "--level", "decode", "--json").exits(1).json["clips"]["damaged"] == 1


def test_a_killed_verify_goes_on(lab: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from trackverse_cli import auditor, checked; import time\n"
        "checked.FLUSH_SECONDS = 0\nreal = auditor.check_clip\n"
        "def slow(*a):\n    time.sleep(0.3)\n    return real(*a)\n"
        "auditor.check_clip = slow\n"
        "from trackverse_cli.app import main; main()"
    )
    command, env = lab.command("verify", "--level", "decode", "--workers", "1")
    process = subprocess.Popen([command[0], "-c", code, *command[3:]], env=env)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        kept = list(lab.layout.state.glob("verify-*"))
        if kept and kept[0].stat().st_size >= 2 * ENTRY.itemsize:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    seen: list[str] = []
    monkeypatch.setattr(
        auditor, "check_clip", lambda p, *a: seen.append(p.name) or check_clip(p, *a)
    )
    lab.run("verify", "--level", "decode").exits(0)
    assert 0 < len(seen) < 6
    assert lab.half_written() == []


def stamps(count: int) -> list[Stamp]:
    return [Stamp(key, 100 + key, 7) for key in range(count)]


def test_what_is_kept_is_bounded_and_bears_anything(tmp_path: Path) -> None:
    path = tmp_path / "state" / "v.bin"
    for _ in range(5):
        kept = Checked(path, fresh=False)
        for stamp in stamps(100):
            kept.add(stamp)
        kept.close(ended=False)
    assert len(Checked(path, fresh=False)) == 100
    assert path.stat().st_size <= 200 * ENTRY.itemsize
    path.write_bytes(path.read_bytes()[:-5])
    kept = Checked(path, fresh=False)
    assert kept.holds(stamps(99)[-1])
    assert not kept.holds(Stamp(5, 1, 7))
    assert not kept.holds(Stamp(5, 105, 8))
    assert not kept.holds(Stamp(1 << 63, 1, 1))
    path.write_bytes(np.random.default_rng(1).bytes(1000))
    assert not Checked(path, fresh=False).holds(Stamp(1, 101, 7))
    assert len(Checked(path, fresh=True)) == 0
    assert not path.exists()


def test_the_newest_of_two_finds_counts(tmp_path: Path) -> None:
    path = tmp_path / "v.bin"
    kept = Checked(path, fresh=False)
    kept.add(Stamp(3, 1, 1))
    kept.add(Stamp(3, 2, 2))
    kept.close(ended=False)
    again = Checked(path, fresh=False)
    assert again.holds(Stamp(3, 2, 2))
    assert not again.holds(Stamp(3, 1, 1))


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Checked(tmp_path / "file" / "v.bin", fresh=False)
    kept.add(Stamp(1, 1, 1))
    kept.close(ended=False)
    assert not kept.holds(Stamp(1, 1, 1))


def test_a_quick_verify_leaves_nothing_behind(lab: Project) -> None:
    def everything() -> set[Path]:
        return {path for path in lab.root.rglob("*") if path.is_file()}

    before = everything()
    for level in ("presence", "probe", "checksum", "decode"):
        lab.run("verify", "--level", level).exits(0)
    assert everything() == before


def test_damage_is_recorded_once_and_stands_until_as_close_a_look(
    lab: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, *more: Any) -> Any:
        if path.name == clip(lab, 0).name and more[-1] >= 3:
            raise ItemError("clip-damaged", "frame 7 is damaged")
        return check_clip(path, *more)

    monkeypatch.setattr(auditor, "check_clip", broken)
    for _ in range(3):
        lab.run("verify", "--level", "decode").exits(1).says("frame 7 is damaged")
    told = [line for line in lab.ledger() if line["kind"] == "track"]
    assert len(told) == 1
    # A look at the header alone does not make it whole.
    for level in ("presence", "probe"):
        answer = lab.run("verify", "--level", level, "--json").exits(1).json
        assert answer["reasons"] == {"clip-damaged": 1}
    assert len(lab.run("submit", "--dry-run").exits(0).out.splitlines()) == 1
    # Its bytes are those that were cut: it was the reader that failed.
    lab.run("verify", "--level", "checksum").exits(0)
    lab.run("verify", "--level", "presence").exits(0)
    assert lab.run("submit", "--dry-run").exits(0).out == ""


def test_a_change_of_recipe_and_back_costs_nothing(lab: Project) -> None:
    def lines() -> int:
        return sum(line["kind"] == "track" for line in lab.ledger())

    lab.env["TRACKVERSE_ENCODE__CRF"] = "40"
    for level in ("presence", "probe", "decode"):
        answer = lab.run("verify", "--level", level, "--json").exits(1).json
        assert answer["reasons"] == {"other-recipe": 6}
    assert lines() == 0
    del lab.env["TRACKVERSE_ENCODE__CRF"]
    lab.run("verify", "--level", "presence").exits(0)
    # Foreign clips without a record are told to the ledger, so that `submit` sees them.
    for path in lab.layout.ledger.iterdir():
        path.unlink()
    lab.env["TRACKVERSE_ENCODE__CRF"] = "40"
    lab.run("verify", "--classes", "class 0").exits(1)
    assert lines() == 1
    (run,) = [x for x in lab.ledger() if x["kind"] == "run"]
    assert len(run["selection"]) == 16
    del lab.env["TRACKVERSE_ENCODE__CRF"]
    lab.run("verify").exits(0)
    assert lab.run("submit", "--dry-run").exits(0).out == ""


def test_results_come_in_order_and_no_more_are_begun_than_needed() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.001 * (number % 3))
        return -number

    answers = ahead.in_order(work, range(1000), 2, "test", ahead=16)
    first = [next(answers) for _ in range(5)]
    assert first == [(number, -number) for number in range(5)]
    answers.close()  # type: ignore[attr-defined]
    assert len(begun) <= 5 + 2 * 16 + 2
    assert list(ahead.in_order(work, range(50), 3, "test")) == [(n, -n) for n in range(50)]
    assert list(ahead.in_order(work, range(5), 0, "test")) == [(n, -n) for n in range(5)]


def failing(number: int) -> int:
    raise ItemError("tool", str(number))


@pytest.mark.parametrize("threads", [0, 2])
def test_what_goes_wrong_in_a_thread_is_told(threads: int) -> None:
    run: Callable[[int], int] = failing
    with pytest.raises(ItemError, match="0"):
        list(ahead.in_order(run, range(9), threads, "test"))
