"""Names from outside stay inside the dataset folder; videos are found in both layouts."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trackverse_cli.errors import RefusedNameError
from trackverse_cli.layout import Layout, check_clip_name, check_video_id

ID = "abcDEF123_-"


@pytest.mark.parametrize("video_id", [ID, "-bcdefghijk", "___________", "-----------"])
def test_takes_an_id_of_youtube(video_id: str) -> None:
    assert check_video_id(video_id) == video_id


@pytest.mark.parametrize(
    "video_id",
    [
        "", "abcdefghij", "abcdefghijkl", "abcdefghijk\n", "\nabcdefghij", "abcdefghij\n",
        "abcdefghij.", "abcde/ghijk", "../defghijk", "abcdefghij\0", "abcdefghij ",
        "1234567890\u0665", "abcdefghij\u00e9", "abcdefghij\uff41", "abcdefghij\ud800",
    ],
)  # fmt: skip
def test_refuses_what_is_no_id_and_shows_it_on_one_line(video_id: str) -> None:
    with pytest.raises(RefusedNameError) as caught:
        check_video_id(video_id)
    told = str(caught.value)
    assert ascii(video_id) in told
    assert told.isascii()
    assert "\n" not in told


@pytest.mark.parametrize(
    "name",
    [
        "a.mp4", "a/b/c.mp4", "-rf", "...", "a/..b/c..", ".hidden", "a b", "~root", "*", "$HOME",
        "x" * 255, "/".join(["y" * 255] * 4), "\u00e9" * 127, "\u732b/\U0001f408.mp4", "con", "a:b",
        "\u00a0", "\u0301.mp4",
    ],
)  # fmt: skip
def test_takes_a_name_that_stays_inside(name: str, tmp_path: Path) -> None:
    assert check_clip_name(name) == name
    path = Layout(tmp_path).clip(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    assert path.is_relative_to(tmp_path / "tracks_mp4")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("//a", "absolute"),
        (".", "part"),
        ("..", "part"),
        ("../a", "part"),
        ("a/../b", "part"),
        ("a/..", "part"),
        ("a/./b", "part"),
        ("a//b", "part"),
        ("a/", "part"),
        ("a\\b", "backslash"),
        ("..\\a", "backslash"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x1b[31m", "control"),
        ("a\x7f", "control"),
        ("a\x80", "control"),
        ("a\x9b31m", "control"),
        ("a\x9f", "control"),
        ("x" * 256, "255"),
        ("a/" + "x" * 256 + "/b", "255"),
        ("\u00e9" * 128, "255"),
        ("\U0001f408" * 64, "255"),
        ("/".join(["y" * 250] * 9), "2048"),
        ("a\ud800", "UTF-8"),
        ("\udcff/a", "UTF-8"),
    ],
)
def test_refuses_a_name_and_says_why(name: str, why: str, tmp_path: Path) -> None:
    for refuse in (check_clip_name, Layout(tmp_path).clip):
        with pytest.raises(RefusedNameError, match=why) as caught:
            refuse(name)
        assert str(caught.value).isascii()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 250


WILD = st.text(
    st.one_of(st.sampled_from("./\\\0\n~-a\x7f\x85"), st.characters()), max_size=300
) | st.lists(st.sampled_from(["..", ".", "", "a", "b", "\u00e9" * 128, "x" * 255]), max_size=9).map(
    "/".join
)


@given(WILD)
@example("a/../../b")
@example("..\u2215b")
def test_any_text_is_refused_or_stays_inside(name: str) -> None:
    layout = Layout(Path("/some/root"))
    try:
        path = layout.clip(name)
    except RefusedNameError:
        return
    assert os.path.normpath(path) == str(path)
    assert path.is_relative_to(layout.tracks)
    assert path != layout.tracks
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in name)


@given(st.text(max_size=14) | st.text("aZ09_-", min_size=11, max_size=11))
def test_any_id_is_refused_or_one_plain_word(video_id: str) -> None:
    try:
        check_video_id(video_id)
    except RefusedNameError:
        return
    assert len(video_id.encode()) == 11
    assert video_id.replace("-", "").replace("_", "").isalnum() or set(video_id) <= set("-_")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=90))
def test_a_name_that_is_taken_can_be_written(name: str) -> None:
    with TemporaryDirectory() as folder:
        try:
            path = Layout(Path(folder)).clip(name)
        except RefusedNameError:
            return
        path.parent.mkdir(parents=True)
        path.touch()
        assert os.path.realpath(path).startswith(os.path.realpath(folder) + "/tracks_mp4/")


def test_a_planted_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    layout.tracks.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (layout.tracks / "out").symlink_to(tmp_path / "outside")
    (layout.tracks / "up").symlink_to("..")
    (layout.tracks / "beside").symlink_to(tmp_path / "root" / "tracks_mp4_of_mine")
    (tmp_path / "root" / "tracks_mp4_of_mine").mkdir()
    for name in ("out/a.mp4", "out/b/c/a.mp4", "up/a.mp4", "up/videos_mp4/a.mp4", "beside/a.mp4"):
        with pytest.raises(RefusedNameError, match="by a symbolic link"):
            layout.clip(name)


def test_a_link_that_dangles_outside_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    layout.tracks.mkdir(parents=True)
    (layout.tracks / "out").symlink_to(tmp_path / "not-yet")
    with pytest.raises(RefusedNameError):
        layout.clip("out/a.mp4")


def test_a_link_within_is_fine_and_so_is_a_linked_top_folder(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    layout.root.mkdir()
    (tmp_path / "big-disk" / "cats").mkdir(parents=True)
    layout.tracks.symlink_to(tmp_path / "big-disk")
    (layout.tracks / "felidae").symlink_to("cats")
    assert layout.clip("felidae/a.mp4") == layout.tracks / "felidae/a.mp4"
    assert layout.clip("new/deep/a.mp4") == layout.tracks / "new/deep/a.mp4"
    assert layout.clip("a.mp4") == layout.tracks / "a.mp4"


def test_links_in_a_circle_do_not_end_the_program(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.tracks.mkdir()
    (layout.tracks / "a").symlink_to("b")
    (layout.tracks / "b").symlink_to("a")
    with pytest.raises((RefusedNameError, OSError)):
        layout.clip("a/x.mp4").touch()


def test_videos_are_found_in_both_layouts(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    flat, deep = layout.videos / f"{ID}.mp4", layout.videos / "-b" / "-bcdefghijk.mp4"
    assert layout.find_video(ID) is None
    assert list(layout.listed_videos()) == []
    for path in (flat, deep):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert layout.find_video(ID) == flat
    assert layout.find_video("-bcdefghijk") == deep == layout.video_target("-bcdefghijk")
    assert dict(layout.listed_videos()) == {ID: flat, "-bcdefghijk": deep}


def test_the_written_layout_wins(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for path in (layout.videos / f"{ID}.mp4", layout.video_target(ID)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert layout.find_video(ID) == layout.video_target(ID)


def test_only_whole_videos_in_their_place_are_listed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for name in (
        f".partial/{ID}.mp4", f"{ID}.webm", f"ab/{ID}.part", f"{ID}.ranges.mp4",
        "ab/notanid.mp4", f"zz/{ID}.mp4", f"abc/{ID}.mp4",
    ):  # fmt: skip
        path = layout.videos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert list(layout.listed_videos()) == []
    assert layout.find_video(ID) is None
    stretches = layout.ranges_target(ID)
    stretches.touch()
    assert list(layout.listed_videos()) == [(ID, stretches)]
    assert (layout.find_video(ID), layout.find_ranges(ID)) == (None, stretches)


def test_relative_paths_survive_a_move(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert layout.relative(layout.video_target(ID)) == f"videos_mp4/ab/{ID}.mp4"
