"""Selections by the command line: each condition, and what is said of one that cannot be met."""

from __future__ import annotations

import gzip
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackverse_cli.errors import UsageError
from trackverse_cli.keys import contains, text_keys, track_keys
from trackverse_cli.lists import read_track_list, read_video_list
from trackverse_cli.selection import fill_classes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

IDS = ("aaaaaaaaaa1", "-bbbbbbbbb2", "_cccccccc-3")


@pytest.fixture
def small(project: Project) -> Project:
    """Three videos with two tracks of 1.5 and 3 seconds each, of three classes."""
    for number, video_id in enumerate(IDS):
        label = ("dog", "cat", "fire_engine")[number]
        project.track(video_id, 0, 1.5, top10_label_names=[label, "x"])
        project.track(video_id, 1, 4, top10_label_names=["dog"])
    project.fetch()
    return project


def report(project: Project, *words: str) -> dict[str, Any]:
    return project.run("verify", "--level", "presence", "--json", *words).exits(1).json


def count(project: Project, *words: str) -> int:
    return int(report(project, *words)["clips"]["expected"])


def file(project: Project, text: str | bytes, name: str = "list.txt") -> str:
    path = project.folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_each_condition(small: Project) -> None:
    assert count(small) == 6
    assert count(small, "--classes", "dog") == 4
    assert count(small, "--classes", "cat, fire_engine") == 2
    assert count(small, "--min-seconds", "2") == 3
    assert count(small, "--per-class", "1") == 3
    assert count(small, "--per-class", "3") == 5
    assert count(small, "--videos", file(small, f"{IDS[1]}\n\n{IDS[2]}.mp4\r\n")) == 4
    assert count(small, "--exclude-videos-of", file(small, f"{IDS[1]}\n")) == 4
    assert count(small, "--tracks", file(small, "t0001\nt0002\nnosuch\n")) == 2


def test_conditions_go_together_and_with_a_named_selection(small: Project) -> None:
    videos = file(small, IDS[0])
    (small.folder / "trackverse.toml").write_text(
        f'[select.dogs]\nclasses = ["dog"]\nmin_seconds = 2\nvideos = "{videos}"\n'
    )
    assert count(small, "--select", "dogs") == 1
    assert count(small, "--select", "dogs", "--min-seconds", "0.1") == 2
    both = file(small, "\n".join(IDS), "all.txt")
    assert count(small, "--select", "dogs", "--videos", both) == 3
    answer = report(small, "--select", "dogs", "--videos", both, "--per-class", "2")
    assert answer["classes"].keys() == {"dog"}
    assert answer["clips"]["expected"] == 2
    assert len(answer["selection"]) == 16


def test_a_list_may_be_a_track_list_or_metadata(small: Project) -> None:
    names = "".join(f"{line['track_mp4_filename']},dog\n" for line in small.lines[:2])  # type: ignore[call-overload, index]
    assert count(small, "--exclude-videos-of", file(small, names)) == 4
    metadata = small.layout.metadata / "Tiny.jsonl.gzip"
    lines = gzip.decompress(metadata.read_bytes()).splitlines(keepends=True)
    part = gzip.compress(b"{\n" + b"".join(lines[:4]))
    assert count(small, "--exclude-videos-of", file(small, part, "Part.jsonl.gzip")) == 2
    assert count(small, "--videos", file(small, part, "Part.jsonl.gzip")) == 4
    packed = gzip.compress(f"{IDS[0]}\n".encode())
    assert count(small, "--videos", file(small, packed, "list.gz")) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--classes", "dgo"), ("no track is of class 'dgo'", "did you mean dog?")),
        (("--classes", "dog,firetruck"), ("no track is of class 'firetruck'", "fire_engine")),
        (("--min-seconds", "900"), ("no track of Tiny fulfils --min-seconds 900",)),
        (
            ("--classes", "cat", "--min-seconds", "2"),
            ("no track of Tiny fulfils all of --min-seconds 2.0, --classes ['cat'] together",),
        ),
        (("--select", "nosuch"), ("[select.nosuch]",)),
        (("--per-class", "0"), ("per_class",)),
        (("--videos", "none.txt"), ("cannot read", "none.txt", "--videos wants a file")),
        (("--tracks", "."), ("cannot read", "--tracks wants a file")),
        (("--only", "none.txt"), ("cannot read", "--only wants a file")),
    ],
)
def test_a_selection_that_cannot_be_met(
    small: Project, words: tuple[str, ...], told: tuple[str, ...]
) -> None:
    small.run("verify", *words).exits(2).says(*told)
    assert not small.layout.ledger.exists()


@pytest.mark.parametrize(
    ("option", "content", "told"),
    [
        ("--videos", "", "names no video"),
        ("--videos", "short\n", "video id 'short'"),
        ("--videos", b"\xff\xfe\x00", "is no text"),
        ("--videos", gzip.compress(b"aaaaaaaaaa1\n" * 999, mtime=0)[:-9], "cannot read"),
        ("--videos", b"\x1f\x8bno", "cannot read"),
        ("--videos", "zzzzzzzzzz9\n", "no track of Tiny fulfils --videos"),
        ("--exclude-videos-of", "\n".join(IDS), "no track of Tiny fulfils --exclude-videos-of"),
        ("--exclude-videos-of", gzip.compress(b"{}\n", mtime=0), "names no video"),
        ("--tracks", " \n", "lists no track"),
        ("--tracks", "nosuch.mp4,dog\n", "no track of Tiny fulfils --tracks"),
        ("--only", "no manifest", "is no manifest"),
    ],
    ids=range(11),
)
def test_a_list_that_cannot_be_used(
    small: Project, option: str, content: str | bytes, told: str
) -> None:
    small.run("verify", option, file(small, content)).exits(2).says(told, "list.txt")


def test_a_class_that_is_near_nothing(project: Project) -> None:
    for number in range(30):
        name = f"class number {number}"
        project.track("aaaaaaaaaa1", number, number + 1, top10_label_names=[name])
    project.fetch()
    project.run("verify", "--classes", "zzz").exits(2).says("30 classes are known, none near")
    project.run("verify", "--classes", "class number 77").exits(2).says("near are class number 7")


def test_the_labels_of_a_list_win(small: Project) -> None:
    names = [str(line["track_mp4_filename"]) for line in small.lines[:3]]  # type: ignore[call-overload, index]
    base = [name.rpartition("/")[2] for name in names]
    path = file(small, f"{base[0]},puppy\nother/{base[1]},puppy\n{base[2]}\n{base[0]},late\n")
    assert report(small, "--tracks", path)["classes"].keys() == {"puppy", "cat"}
    assert count(small, "--tracks", path, "--classes", "puppy") == 2
    assert count(small, "--tracks", path, "--per-class", "1") == 2
    small.run("verify", "--tracks", path, "--classes", "dog").exits(2).says("'dog'")


LABELS, VIDEOS, CLIPS, LINES = 797, 3885, 4771, 4782


def validation_list(project: Project) -> tuple[Path, set[str]]:
    """Metadata that holds the clips of a list of the form of the released one, and others."""
    draw = random.Random(11)
    ids = [f"{number:04d}-valid_"[:11] for number in range(VIDEOS)]
    videos = ids + draw.choices(ids, k=CLIPS - VIDEOS)
    listed = []
    labels = set()
    for number, video_id in enumerate(videos):
        label = f"kind_of-{number % LABELS}" if number % LABELS else "bow-tie"
        labels.add(label)
        name = f"{video_id}-{label.replace('_', '-')}-{number:032x}.mp4"
        listed.append(f"{name},{label}")
        folder = f"{video_id[:2]}/{name}"
        line = {"frame_ts": [1.0, 4.0], "frame_bboxes": [[1, 1, 9, 9]] * 2, "track_ts": [1.0, 4.0]}
        project.track(
            video_id, 1, 1.1, track_id=f"v{number}", track_mp4_filename=folder,
            top10_label_names=["another"], **line,
        )  # fmt: skip
        if number % 5 == 0:
            project.track(
                video_id, 2, 2.1, track_id=f"n{number}", track_mp4_filename=f"x/{number}.mp4",
                top10_label_names=["another"], **line,
            )  # fmt: skip
    lines = listed + draw.sample(listed, LINES - CLIPS)
    draw.shuffle(lines)
    draw.shuffle(project.lines)
    path = project.folder / "verified.txt"
    path.write_text("\n".join(lines) + "\n")
    return path, labels


def test_the_validation_list(project: Project) -> None:
    path, labels = validation_list(project)
    assert len(path.read_text().splitlines()) == LINES
    project.fetch()
    answer = report(project, "--tracks", str(path))
    assert answer["clips"]["expected"] == CLIPS
    assert answer["videos"]["expected"] == VIDEOS
    assert answer["classes"].keys() == labels
    assert len(labels) == LABELS
    assert sum(one["expected"] for one in answer["classes"].values()) == CLIPS
    assert count(project, "--tracks", str(path), "--classes", "bow-tie") == -(-CLIPS // LABELS)
    assert count(project, "--tracks", str(path), "--per-class", "2") == 2 * LABELS
    project.run("verify", "--exclude-videos-of", str(path)).exits(2).says("--exclude-videos-of")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_larger_number_per_class_contains_a_smaller(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 60))
    codes = np.array(data.draw(st.lists(st.integers(0, 5), min_size=size, max_size=size)), np.int32)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool)
    keys = text_keys(str(number) for number in range(size))
    small = data.draw(st.integers(1, 20))
    large = data.draw(st.integers(small, 40))
    few, many = (fill_classes(mask, codes, keys, number) for number in (small, large))
    assert not (few & ~many).any()
    assert not (many & ~mask).any()
    for code in range(6):
        there = int((mask & (codes == code)).sum())
        assert (few & (codes == code)).sum() == min(small, there)
    order = np.array(data.draw(st.permutations(range(size))), dtype=np.int64)
    again = fill_classes(mask[order], codes[order], keys[order], small)
    assert (again == few[order]).all()


def test_keys_are_the_same_everywhere() -> None:
    assert track_keys(["aaaaaaaaaa1"], ["t"]).tolist() == [16014470424423244535]
    assert text_keys([]).dtype == np.uint64
    known = np.sort(text_keys(["a", "b"]))
    assert contains(known, text_keys(["b", "c", "a"])).tolist() == [True, False, True]
    assert contains(known[:0], known).tolist() == [False, False]


def test_lists_say_what_they_want(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("a/b/x.mp4 , dog \nX.MP4\nplain id, ignored\nx.mp4,cat\n")
    found = read_track_list(path)
    assert found.names == {"x.mp4": "dog", "X.MP4": ""}
    assert found.ids == {"plain id"}
    assert found.labels == {"x.mp4": "dog"}
    path.write_text("\ufeffaaaaaaaaaa1\raaaaaaaaaa2\r")
    assert read_video_list(path) == {"aaaaaaaaaa1", "aaaaaaaaaa2"}
    with pytest.raises(UsageError, match="cannot read"):
        read_video_list(tmp_path)
