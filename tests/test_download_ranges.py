from __future__ import annotations

import os
import threading
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from tests.services.media import times_of, write_fragmented, write_video
from tests.services.web import HostileServer
from trackverse_cli import plugins
from trackverse_cli.clips import CutSettings
from trackverse_cli.download import DownloadedVideo, Downloader, DownloadError
from trackverse_cli.errors import StoppedError, TryLaterError
from trackverse_cli.extract import Cutter
from trackverse_cli.files import checksum
from trackverse_cli.layout import Layout
from trackverse_cli.metadata import Track
from trackverse_cli.ranges import covers, read_held, spans_in
from trackverse_cli.recipe import recipe_id
from trackverse_cli.settings import DownloadSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

VIDEO = "ranges_test"
SIZE = (192, 108)
RATE = Fraction(30000, 1001)
SPANS = ((31.2, 33.9), (250.0, 252.0), (251.0, 253.5), (480.1, 483.0))
"""Three short stretches, one of them with two tracks; the second crosses no border of fragments."""


@pytest.fixture(scope="module")
def fragmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes as a DASH host serves them: a fragment of five seconds after the other."""
    return write_fragmented(tmp_path_factory.mktemp("dash") / "ten-minutes.mp4", size=SIZE)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root")


def fetch(
    server: HostileServer, layout: Layout, spans: Sequence[tuple[float, float]] = SPANS, **how: Any
) -> DownloadedVideo:
    passed = {"socket_timeout": 2, "retries": 0, "extractor_retries": 0}
    settings = DownloadSettings(url_template=server.url_template, yt_dlp=passed)
    with Downloader(settings, layout, **how) as downloader:
        return downloader.fetch(VIDEO, max(stop for _, stop in spans), tuple(spans))


def media(server: HostileServer, path: Path | bytes, behaviour: str = "good", **how: Any) -> None:
    server.serve(f"{VIDEO}.mp4", path, behaviour, **how)


def left(layout: Layout) -> list[str]:
    return sorted(path.name for path in layout.partial.iterdir())


def test_three_short_tracks_cost_a_small_share_of_the_bytes(
    server: HostileServer, layout: Layout, fragmented: Path
) -> None:
    media(server, fragmented)
    came: list[int] = []
    video = fetch(server, layout, on_bytes=came.append)
    whole = fragmented.stat().st_size
    assert video.path == layout.videos / VIDEO[:2] / f"{VIDEO}.ranges.mp4"
    assert (video.whole_bytes, video.fetched_bytes) == (whole, sum(came))
    assert video.fetched_bytes <= 0.10 * whole
    assert (video.width, video.height, video.codec, video.fps) == (*SIZE, "h264", 29.97)
    assert video.duration_seconds == pytest.approx(600, abs=0.1)
    assert (video.bytes, video.checksum) == (video.path.stat().st_size, checksum(video.path))
    assert video.ranges == spans_in(video.path) == read_held(video.path).spans
    assert covers(video.ranges, SPANS, video.duration_seconds)
    assert layout.find_video(VIDEO) is None
    assert left(layout) == []
    asked = [each.headers.get("range") for each in server.requests_of(f"{VIDEO}.mp4")]
    # The first is the downloader's own look at the address.
    assert all(each and each.split("-")[1].isdecimal() for each in asked[1:])
    assert set(times_of(video.path)) < set(times_of(fragmented))


def tracks() -> list[Track]:
    made = []
    for number, (first, last) in enumerate(SPANS):
        times = np.arange(first, last, 1 / 16)
        x = 40 + 20 * np.sin(times)
        boxes = np.stack([x, x / 2, np.full_like(x, 64), np.full_like(x, 48)], axis=1)
        name = f"{number}.mp4"
        made.append(Track(f"t{number}", VIDEO, name, times, boxes, (SIZE[1], SIZE[0]), (), ()))
    return made


def cut(path: Path, folder: Path) -> list[Path]:
    settings, layout = Settings(), Layout(folder)
    layout.tracks.mkdir(parents=True)
    decoder = plugins.choose_decoder("pyav")
    how = CutSettings(decoder, decoder.settings(), settings.encode, 180.0, recipe_id(settings))
    with Cutter(layout, how, 2, threading.Event()) as cutter:
        outcome = cutter.cut(path, tracks(), lambda _: True, None)
    assert outcome.failed == ()
    return [layout.tracks / track.clip_name for track in tracks()]


def pictures(path: Path) -> tuple[list[int], np.ndarray[Any, Any]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.pts or 0 for frame in frames], np.stack([f.to_ndarray() for f in frames])


def psnr(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


def test_the_clips_are_those_of_the_whole_file(
    server: HostileServer, layout: Layout, fragmented: Path, tmp_path: Path
) -> None:
    media(server, fragmented)
    stretches = fetch(server, layout).path
    ours, theirs = cut(stretches, tmp_path / "ours"), cut(fragmented, tmp_path / "theirs")
    for one, other, (first, last) in zip(ours, theirs, SPANS, strict=True):
        (pts, pixels), (expected, reference) = pictures(one), pictures(other)
        assert pts == expected
        assert len(pts) == pytest.approx((last - first) * RATE, abs=3)
        assert psnr(pixels, reference) >= 45


@pytest.mark.parametrize("bframes", ["3:open-gop=1", "0"])
def test_reordered_pictures_at_the_borders_are_all_there(
    server: HostileServer, layout: Layout, tmp_path: Path, bframes: str
) -> None:
    options = {"bf": "3", "x264-params": f"bframes={bframes}"}
    source = write_fragmented(tmp_path / "source.mp4", seconds=60, options=options)
    media(server, source)
    shown = times_of(source)
    head = shown[0]
    for number in (3, 7):
        border = float(head + number * 150 / RATE)
        for span in ((border - 0.02, border + 0.02), (border - 1, border), (border, border + 1)):
            video = fetch(server, layout, [span], ranges="always")
            assert video.ranges, video.note
            wanted = [t for t in shown if span[0] <= t <= span[1]]
            with av.open(str(video.path)) as container:
                base = container.streams.video[0].time_base or Fraction(1)
                whole = [f for f in container.decode(video=0) if not f.is_corrupt]
            decoded = {(frame.pts or 0) * base for frame in whole}
            assert decoded >= set(wanted)


def test_a_track_after_the_end_still_says_so(
    server: HostileServer, layout: Layout, fragmented: Path
) -> None:
    media(server, fragmented)
    video = fetch(server, layout, [(300.0, 301.0), (590.0, 700.0)])
    assert covers(video.ranges, [(590.0, 700.0)], video.duration_seconds)
    decoder = plugins.choose_decoder("pyav")
    opened = decoder.open(video.path, decoder.settings())
    assert opened.info.duration_seconds == pytest.approx(video.duration_seconds, abs=0.1)


@pytest.mark.parametrize(
    ("mode", "spans", "ranges"),
    [
        ("auto", SPANS, True),
        ("auto", [(0.0, 400.0)], False),
        ("always", [(0.0, 400.0)], True),
        ("off", SPANS, False),
    ],
)
def test_the_mode_decides(
    server: HostileServer,
    layout: Layout,
    fragmented: Path,
    mode: Any,
    spans: Sequence[tuple[float, float]],
    ranges: bool,
) -> None:
    media(server, fragmented)
    video = fetch(server, layout, spans, ranges=mode)
    assert bool(video.ranges) is ranges
    assert (layout.find_video(VIDEO) is None) is ranges
    if not ranges:
        assert video.checksum == checksum(fragmented)
        assert ("67%" in video.note) is (mode == "auto")
    assert left(layout) == []


@pytest.mark.parametrize("behaviour", ["no-range", "range-always-new"])
def test_a_host_that_does_not_give_ranges_gives_the_whole(
    server: HostileServer, layout: Layout, fragmented: Path, behaviour: str
) -> None:
    media(server, fragmented, behaviour)
    video = fetch(server, layout)
    assert (video.ranges, video.checksum) == ((), checksum(fragmented))
    assert video.note.startswith("the whole file came: ")
    assert left(layout) == []


@pytest.mark.parametrize("flags", ["faststart", "", "frag_keyframe+empty_moov"])
def test_a_file_without_an_index_comes_whole(
    server: HostileServer, layout: Layout, tmp_path: Path, flags: str
) -> None:
    source = write_fragmented(tmp_path / "source.mp4", seconds=20, flags=flags)
    media(server, source)
    video = fetch(server, layout, [(3.0, 4.0)], ranges="always")
    assert (video.ranges, video.checksum) == ((), checksum(source))
    assert "the whole file came" in video.note


def test_an_index_that_lies_brings_the_whole(
    server: HostileServer, layout: Layout, fragmented: Path
) -> None:
    data = bytearray(fragmented.read_bytes())
    at = data.index(b"sidx") + 36
    # The first fragment's bytes are said to be fewer, so every later one begins too early.
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") - 700).to_bytes(4, "big")
    media(server, bytes(data))
    video = fetch(server, layout)
    assert (video.ranges, video.bytes) == ((), len(data))
    assert left(layout) == []


def test_a_file_that_changes_on_the_way_is_not_mixed(
    server: HostileServer, layout: Layout, fragmented: Path, tmp_path: Path
) -> None:
    other = write_fragmented(tmp_path / "other.mp4", seconds=60)
    media(server, fragmented)

    def change(count: int) -> None:
        media(server, other)

    video = fetch(server, layout, [(20.0, 21.0), (40.0, 41.0)], on_bytes=change)
    assert video.ranges == ()
    assert video.checksum == checksum(other)


@pytest.mark.parametrize("behaviour", ["503", "stall", "truncate"])
def test_a_range_that_fails_once_is_asked_for_again(
    server: HostileServer, layout: Layout, fragmented: Path, behaviour: str
) -> None:
    media(server, fragmented, behaviour, after=2, times=1)
    video = fetch(server, layout, ranges="always")
    assert video.ranges, video.note


def test_throttling_is_not_answered_with_more_requests(
    server: HostileServer, layout: Layout, fragmented: Path
) -> None:
    media(server, fragmented, "429", after=1, headers={"Retry-After": "90"})
    with pytest.raises(DownloadError) as caught:
        fetch(server, layout)
    assert (caught.value.reason, caught.value.retry_after_seconds) == ("throttled", 90)
    assert server.count(f"{VIDEO}.mp4") == 2


def test_a_whole_file_takes_the_place_of_stretches_and_keeps_it(
    server: HostileServer, layout: Layout, fragmented: Path
) -> None:
    media(server, fragmented)
    stretches = fetch(server, layout).path
    assert fetch(server, layout, ranges="off").path == layout.video_target(VIDEO)
    assert not stretches.exists()
    # Beside a whole file, stretches would never be looked at.
    assert fetch(server, layout).path == layout.video_target(VIDEO)


def test_what_stretches_hold_already_stays_held(
    server: HostileServer, layout: Layout, fragmented: Path
) -> None:
    media(server, fragmented)
    fetch(server, layout, [(100.0, 102.0)])
    video = fetch(server, layout, [(400.0, 402.0)])
    assert covers(video.ranges, [(100.0, 102.0), (400.0, 402.0)])


def test_stop_leaves_only_what_is_unfinished(
    server: HostileServer, layout: Layout, fragmented: Path
) -> None:
    stop = threading.Event()
    media(server, fragmented, "drip", after=3)
    threading.Timer(1.0, stop.set).start()
    with pytest.raises(StoppedError):
        fetch(server, layout, stop=stop)
    assert [p for p in layout.videos.rglob("*.mp4") if p.parent != layout.partial] == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_is_not_the_videos_fault(
    server: HostileServer, layout: Layout, fragmented: Path
) -> None:
    media(server, fragmented)
    layout.partial.mkdir(parents=True)

    def fill(count: int) -> None:
        target = layout.partial / f"{VIDEO}.ranges.mp4"
        if not target.is_symlink():
            target.symlink_to("/dev/full")

    with pytest.raises(TryLaterError, match="No space left"):
        fetch(server, layout, on_bytes=fill)


def test_an_ordinary_small_video_is_no_trouble(
    server: HostileServer, layout: Layout, tmp_path: Path
) -> None:
    source = write_video(tmp_path / "small.mp4", frames=10)
    media(server, source)
    assert fetch(server, layout, [(0.0, 0.2)]).checksum == checksum(source)
