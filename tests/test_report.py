"""`verify --report`: what the page says and shows, and what it never does."""

from __future__ import annotations

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from tests.project import Project
from tests.videos import disc_centre
from trackverse_cli import audit as audit_module
from trackverse_cli.boxes import plan_crop
from trackverse_cli.ledger import Ledger
from trackverse_cli.reasons import MEANING
from trackverse_cli.report import sheets
from trackverse_cli.report.advice import HELP, helps, state_of
from trackverse_cli.report.pictures import CLIP_SIDE, SOURCE_SIDE
from trackverse_cli.report.text import plain
from trackverse_cli.worklist import CLIP_FAULTS, State, not_there

if TYPE_CHECKING:
    from numpy.typing import NDArray

VIDEO, OTHER, GONE = "abcdefghijk", "ABCDEFGHIJK", "-gone-for-1"
EVIL = "<script>alert('x')</script>\u202e\x07\" onload=\"x"
EVIL_ID = '"><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """A report as a parser that is not ours reads it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.lasttag != "style":
            self.text += data

    def all(self, tag: str, of: str = "") -> list[dict[str, str | None]]:
        return [a for name, a in self.tags if name == tag and of in (a.get("class") or "")]

    @property
    def sources(self) -> list[NDArray[np.uint8]]:
        return [decoded(one["href"]) for one in self.all("image")]

    @property
    def frames(self) -> list[NDArray[np.uint8]]:
        return [decoded(one["src"]) for one in self.all("img")]

    def says(self, *words: str) -> None:
        for word in words:
            assert word in self.text, f"{word!r} is not in:\n{self.text}"


def decoded(uri: str | None) -> NDArray[np.uint8]:
    """A data URI's JPEG as RGB."""
    head, _, text = (uri or "").partition(",")
    assert head == "data:image/jpeg;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture[..., ::-1], dtype=np.uint8)


def disc_in(picture: NDArray[np.uint8]) -> tuple[float, float] | None:
    """The centre of the yellow disc as shares of a picture, or None where there is none."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    y, x = np.nonzero((red > 200) & (green > 170) & (blue < 90))
    if len(x) < 20:
        return None
    return float(x.mean() / picture.shape[1]), float(y.mean() / picture.shape[0])


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Five clips of three classes, one of them with a hostile name."""
    project = Project(tmp_path_factory.mktemp("cut"))
    project.video(VIDEO, frames=80)
    project.video(OTHER, size=(180, 320), frames=80)
    for first in (0.2, 0.5):
        project.track(VIDEO, first, first + 2)
    project.track(VIDEO, 0.4, 2.4, track_id=EVIL_ID, top10_label_names=[EVIL])
    project.track(OTHER, 0.2, 2.2, size=(180, 320), box=0.3, top10_label_names=["upright"])
    project.track(OTHER, 0.52, 0.55, size=(180, 320), box=0.3)
    project.fetch()
    project.run("extract-tracks").exits(0)
    return project


@pytest.fixture
def lab(cut: Project, tmp_path: Path) -> Project:
    """A copy of it that a test may change."""
    shutil.copytree(cut.root, tmp_path / "root")
    return Project(tmp_path, lines=list(cut.lines))


def page_of(lab: Project, *words: str, code: int = 0) -> Page:
    path = lab.folder / "it.html"
    lab.run("verify", "--report", str(path), *words).exits(code)
    return Page(path)


def line(lab: Project, number: int) -> dict[str, Any]:
    found = lab.lines[number]
    assert isinstance(found, dict)
    return found


def test_a_complete_dataset_says_so_and_shows_its_clips(lab: Project) -> None:
    page = page_of(lab)
    page.says("Tiny", "Complete", "All 5 clips are here and sound", "Nothing to run")
    page.says("5 of 5 complete (100 %)", "2 of 2 complete (100 %)", "5 of 5 complete clips")
    assert "<title>Tiny · " in page.source
    assert re.search(r"<title>Tiny · \d+ \w+ 20\d\d, \d\d:\d\d UTC", page.source)
    assert len(page.sources) == 5
    # First, middle and last; the clip of one frame has one picture.
    assert len(page.frames) == 4 * 3 + 1
    assert max(max(p.shape[:2]) for p in page.frames) <= CLIP_SIDE
    assert max(max(p.shape[:2]) for p in page.sources) <= SOURCE_SIDE
    assert str(lab.folder) not in page.source


def test_boxes_sit_on_their_objects(lab: Project) -> None:
    page = page_of(lab)
    boxes = [one for one in page.all("rect") if one["class"] == "box"]
    views = [one["viewbox"] for one in page.all("svg") if one.get("aria-label", "") and "frame of"
             in (one["aria-label"] or "")]  # fmt: skip
    assert len(boxes) == len(views) == 5
    times = [float(t) for t in re.findall(r"video at ([\d.]+) s", page.text)]
    for box, view, picture, at in zip(boxes, views, page.sources, times, strict=True):
        width, height = (float(side) for side in (view or "").split()[2:])
        assert picture.shape[1] / picture.shape[0] == pytest.approx(width / height, rel=0.02)
        x, y, w, h = (float(box[key] or "") for key in ("x", "y", "width", "height"))
        seen = disc_in(picture)
        assert seen is not None
        assert seen == pytest.approx(disc_centre(at), abs=0.02)
        centre = (seen[0] * width, seen[1] * height)
        assert x < centre[0] < x + w
        assert y < centre[1] < y + h
        assert abs(centre[0] - (x + w / 2)) < w / 4
        assert abs(centre[1] - (y + h / 2)) < h / 4
    # The same box as a plan by hand, at the moment that the caption tells.
    told = line(lab, 3)
    (place,) = (n for n, at in enumerate(times) if views[n] == "0 0 180 320" and at > 1)
    (plan,) = plan_crop(told["frame_ts"], told["frame_bboxes"], (320, 180)).boxes_at([times[place]])
    keys = ("x", "y", "width", "height")
    drawn = [float(boxes[place][key] or "") for key in keys]
    assert drawn == pytest.approx(plan.tolist(), abs=0.6)


def test_the_middle_frame_and_the_frame_of_the_video_are_the_same_moment(lab: Project) -> None:
    page = page_of(lab, "--report-clips", "1")
    clip = re.search(r"middle ([\d.]+) s", page.text)
    video = re.search(r"video at ([\d.]+) s", page.text)
    assert clip is not None
    assert video is not None
    assert abs(float(clip[1]) - float(video[1])) <= 1 / 25 + 0.011


def test_names_from_outside_stay_text(lab: Project) -> None:
    page = page_of(lab)
    allowed = {
        "html", "head", "meta", "link", "title", "style", "body", "main", "header", "h1", "h2",
        "p", "div", "span", "b", "i", "ul", "li", "nav", "a", "section", "figure", "figcaption",
        "svg", "path", "table", "caption", "thead", "tbody", "tr", "th", "td", "details",
        "summary", "article", "image", "rect", "polyline", "img", "bdi", "br", "dl", "dt", "dd",
        "footer", "code", "h3",
    }  # fmt: skip
    assert {tag for tag, _ in page.tags} <= allowed
    for tag, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on")], (tag, attributes)
        assert "style" not in attributes
        address = attributes.get("href") or attributes.get("src") or "#"
        assert address.startswith(("#", "data:")), address
    page.says("<script>alert('x')</script>\\u202e\\u0007\" onload=\"x", EVIL_ID)
    assert "\u202e" not in page.source
    assert "\x07" not in page.source
    (policy,) = (a["content"] for a in page.all("meta") if a.get("http-equiv"))
    assert (policy or "").startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in (policy or "")


def test_what_lacks_and_what_to_do(lab: Project) -> None:
    for number in (0, 2):
        lab.clip(line(lab, number)).unlink()
    damaged = lab.clip(line(lab, 1))
    damaged.write_bytes(damaged.read_bytes()[:-200])
    lab.lines.append(b"garbage")
    lab.fetch()
    page = page_of(lab, "--world-size", "2", code=1)
    page.says("33.3 % complete", "2 of 6 clips are here and sound")
    page.says("2 missing, 1 damaged, 1 gone for good", "trackverse submit --world-size 2")
    page.says("not-cut", MEANING["not-cut"], "clip-damaged", "invalid-track", "nothing; no retry")
    page.says("rank 0", "rank 1", "All 2 shards", "All 4 classes", "(no class)")
    # The damaged one is shown as such: its sentence, without where this folder lies.
    page.says("Damaged 1 of 1 clip", "it was cut with")
    assert str(lab.folder) not in page.source
    assert len(page.all("article", "bad")) == 1


def test_a_damaged_video_is_told_though_every_clip_is_there(lab: Project) -> None:
    lab.layout.video_target(VIDEO).write_text("no video")
    page = page_of(lab, code=1)
    page.says("Complete", "Next", "1 damaged video", "trackverse download-videos")
    page.says("1 of 2 complete (50.0 %)", "video-damaged", MEANING["video-damaged"])
    assert len(page.sources) == 2


def test_frames_that_cannot_be_read_are_told(lab: Project) -> None:
    path = lab.clip(line(lab, 0))
    content = bytearray(path.read_bytes())
    content[-len(content) // 3 :] = bytes(len(content) // 3 + 1)
    path.write_bytes(bytes(content))
    lab.clip(line(lab, 1)).write_text("no video")
    page = page_of(lab, "--level", "decode", code=1)
    page.says("Damaged 2 of 2 clips", "unreadable", "no picture can be made of it")
    # At presence both count as there; the pictures tell all the same.
    for ledger in lab.layout.ledger.iterdir():
        ledger.unlink()
    page = page_of(lab, "--level", "presence")
    page.says("All 5 clips are here.", "unreadable")
    assert len(page.all("article", "bad")) == 2


def test_without_the_video_there_are_only_the_frames_of_the_clip(lab: Project) -> None:
    lab.layout.video_target(VIDEO).unlink()
    page = page_of(lab)
    page.says("Complete", "the video is not on disk any more")
    assert len(page.sources) == 2
    assert len(page.frames) == 13


def test_clips_in_tar_shards_are_shown(lab: Project) -> None:
    shutil.rmtree(lab.layout.tracks)
    shutil.rmtree(lab.layout.ledger)
    lab.env["TRACKVERSE_EXTRACT__OUTPUT"] = "webdataset"
    lab.run("extract-tracks").exits(0)
    assert not list(lab.layout.tracks.rglob("*.mp4"))
    page = page_of(lab)
    page.says("All 5 clips are here and sound")
    assert (len(page.sources), len(page.frames)) == (5, 13)
    assert not page.all("article", "bad")


def test_a_selection_and_a_shard_stand_in_the_title(lab: Project) -> None:
    assert "<title>Tiny, of disc, at most 1 clip of a class · " in page_of(
        lab, "--classes", "disc", "--per-class", "1"
    ).source  # fmt: skip
    assert "<title>Tiny, rank 1 of 2 · " in page_of(lab, "--rank", "1", "--world-size", "2").source
    held = str(lab.folder / "held.jsonl")
    lab.run("verify", "--manifest", held).exits(0)
    page = page_of(lab, "--only", held)
    assert "<title>Tiny, only what is in held.jsonl · " in page.source


def test_nothing_at_all(project: Project) -> None:
    project.track(GONE, 0.2, 1)
    project.fetch()
    page = page_of(project, code=1)
    page.says("0 % complete", "0 of 1 clip", "not-tried", "No clip is shown", "no time of any clip")
    with Ledger(project.layout, "download-videos", 0, 1, "Tiny") as ledger:
        ledger.video(GONE, "failed", reason="permanent", message="it is gone")
    page = page_of(project, code=1)
    page.says("As complete as it can be", "What is lacking is gone for good", "it is gone")


def test_the_root_stays_as_it_is(lab: Project) -> None:
    def state() -> dict[str, tuple[int, int]]:
        found = (p for p in lab.root.rglob("*") if p.is_file())
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in found}

    before = state()
    page_of(lab)
    assert state() == before
    assert sorted(p.name for p in lab.folder.iterdir()) == ["it.html", "root"]


def test_json_is_the_same_with_a_report(lab: Project) -> None:
    path = str(lab.folder / "it.html")
    told = lab.run("verify", "--json").exits(0).json
    assert lab.run("verify", "--json", "--report", path).exits(0).json == told
    assert json.loads(lab.run("verify", "--json", "--report", path).out) == told
    lab.run("verify", "--report", path).exits(0).says(f"report: {path}")


@pytest.fixture
def no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the check has begun")

    monkeypatch.setattr(audit_module, "audit", never)


@pytest.mark.usefixtures("no_check")
def test_a_place_that_cannot_be_is_told_before_the_check(lab: Project) -> None:
    foreign = lab.folder / "thesis.html"
    foreign.write_text("<html>mine</html>")
    (lab.folder / "link.html").symlink_to(foreign)
    for where, told in (
        (lab.folder, "is a folder"),
        (lab.folder / "nowhere" / "it.html", "cannot write the report"),
        (foreign / "it.html", "cannot write the report"),
        (Path("/proc/it.html"), "cannot write the report"),
        (foreign, "is no report of trackverse"),
        (lab.folder / "link.html", "is no report of trackverse"),
        (Path("/dev/null"), "is no report of trackverse"),
    ):
        lab.run("verify", "--report", str(where)).exits(2).says(told)
    assert foreign.read_text() == "<html>mine</html>"


def test_its_own_report_is_replaced_and_a_link_followed(lab: Project) -> None:
    first = page_of(lab).source
    (lab.folder / "link.html").symlink_to("it.html")
    lab.run("verify", "--report", str(lab.folder / "link.html"), "--report-clips", "0").exits(0)
    assert (lab.folder / "link.html").is_symlink()
    second = Page(lab.folder / "it.html")
    assert second.source != first
    second.says("No clip is shown")
    (lab.folder / "empty.html").touch()
    lab.run("verify", "--report", str(lab.folder / "empty.html")).exits(0)
    Page(lab.folder / "empty.html").says("Complete")


def test_a_report_is_whole_or_not_there(lab: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = page_of(lab).source
    names = sorted(p.name for p in lab.folder.iterdir())

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        lab.run("verify", "--report", str(lab.folder / "it.html")).exits(75).says("storage is full")
    assert (lab.folder / "it.html").read_text() == before
    assert sorted(p.name for p in lab.folder.iterdir()) == names


def test_a_slow_disk_costs_pictures_not_hours(
    lab: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "PICTURE_SECONDS", -1.0)
    page = page_of(lab)
    page.says("Complete", "5 clips could not be shown in the time for pictures")
    assert not page.frames


def test_a_file_that_claims_to_be_huge_is_not_decoded(
    lab: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trackverse_cli.report.pictures.LARGEST_PIXELS", 320 * 180 - 1)
    page = page_of(lab)
    page.says("its header says 320x180 pixels", "its header says 180x320 pixels")
    assert not page.sources
    assert len(page.frames) == 13


def test_every_reason_has_its_advice() -> None:
    for reason in MEANING:
        assert helps(reason)
        expected = State.DAMAGED if reason in CLIP_FAULTS else not_there(reason).state
        assert state_of(reason) is expected
        assert (reason in HELP) is (expected is not State.UNRECOVERABLE), reason


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("a\nb\tc\x00", "a\\u000ab\\u0009c\\u0000"),
        ("\u202eabc\u2066\ufeff\u2028", "\\u202eabc\\u2066\\ufeff\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("\u0645\u200c\u0646", "\u0645\u200c\u0646"),
        ("a" + "\u0301" * 50, "a" + "\u0301" * 3),
        ("x" * 200, "x" * 160 + "…"),
    ],
)
def test_what_cannot_be_seen_is_written_out(given: str, shown: str) -> None:
    assert plain(given) == shown
