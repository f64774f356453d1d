"""A long video's stretches, decoded by one thread or by several: the same clips, no leftovers."""

from __future__ import annotations

import errno
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.test_extract import VIDEO, Bench, assert_shows_its_track, disc_track
from tests.videos import make_video
from trackverse_cli import plugins
from trackverse_cli.decoding import Reader
from trackverse_cli.errors import DamagedFileError, LacksError, StoppedError
from trackverse_cli.extract import PartlyCutError
from trackverse_cli.outputs import (
    FileSink,
    ShardIndex,
    ShardSink,
    ShardWriter,
    shards_folder,
)
from trackverse_cli.strands import Seats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from trackverse_cli.extract import CutOutcome
    from trackverse_cli.interfaces import DecoderPlugin
    from trackverse_cli.outputs import ClipSink, FinishedClip
    from trackverse_cli.outputs.table import Member

SIZE = (320, 180)
TRACKS = {"a": (0.2, 1.5), "b": (1.1, 1.9), "c": (5.2, 6.4), "d": (9.3, 10.7), "e": (14.1, 15.2)}
"""Of a video with a key frame every second: a and b overlap, the others have gaps between them."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("source") / "v.mp4", frames=400, gop=25)


class _Watched:
    """The decoder `pyav`; `step` is called before every stretch, with its spans."""

    def __init__(self, decoder: Any, crew: Crew) -> None:
        self.info, self.hw_encoder, self._decoder, self._crew = decoder.info, None, decoder, crew
        self.is_closed = False
        self.note = f"{len(crew.decoders)} were there"

    def key_before(self, seconds: float) -> float | None:
        found: float | None = self._decoder.key_before(seconds)
        return found

    def frames(self, spans: Sequence[tuple[float, float]]) -> Iterator[Any]:
        self._crew.starts.append((threading.get_ident(), spans[0][0]))
        self._crew.step(self, spans)
        yield from self._decoder.frames(spans)

    def close(self) -> None:
        self.is_closed = True
        self._decoder.close()


class Crew:
    """A decoder plugin that keeps all that it opened."""

    def __init__(self, step: Callable[[_Watched, Any], None] = lambda *_: None) -> None:
        self.step = step
        self.decoders: list[_Watched] = []
        self.starts: list[tuple[int, float]] = []
        self.fails_from = 99
        self._pyav = plugins.choose_decoder("pyav")

    @property
    def plugin(self) -> DecoderPlugin:
        return replace(self._pyav, open=self._open)

    def _open(self, path: Path, settings: Any) -> _Watched:
        if len(self.decoders) >= self.fails_from:
            raise MemoryError
        self.decoders.append(_Watched(self._pyav.open(path, settings), self))
        return self.decoders[-1]

    def cut(
        self, bench: Bench, source: Path, workers: int, sink: ClipSink | None = None
    ) -> CutOutcome:
        tracks = [disc_track(name, *span, SIZE) for name, span in TRACKS.items()]
        try:
            return bench.cut(source, *tracks, workers=workers, decoder=self.plugin, sink=sink)
        finally:
            assert all(decoder.is_closed for decoder in self.decoders)
            assert [t.name for t in threading.enumerate() if t.name == "decode"] == []


def meeting(parties: int) -> Callable[[_Watched, Any], None]:
    """Let nobody decode before so many threads want to, each at its first stretch."""
    barrier, seen = threading.Barrier(parties, timeout=30), set[int]()

    def wait(*_: object) -> None:
        if (me := threading.get_ident()) not in seen:
            seen.add(me)
            barrier.wait()

    return wait


@pytest.mark.parametrize("workers", [1, 2, 4, 9])
def test_clips_are_the_same_however_many_threads_decode(
    tmp_path: Path, source: Path, workers: int
) -> None:
    stretches = 4
    threads = min(workers, stretches)
    crew, bench = Crew(meeting(threads)), Bench(tmp_path)
    outcome = crew.cut(bench, source, workers)
    assert outcome.failed == ()
    assert [done.track_id for done in outcome.done] == list(TRACKS)
    for name, span in TRACKS.items():
        track = disc_track(name, *span, SIZE)
        assert_shows_its_track(bench.clip(track), source, track, SIZE)
    assert len(crew.decoders) == len({thread for thread, _ in crew.starts}) == threads
    assert sorted(round(at, 1) for _, at in crew.starts) == [0.2, 5.2, 9.3, 14.1]
    assert set(outcome.note.split("; ")) == {f"{n} were there" for n in range(threads)}


def test_one_thread_goes_through_the_video_in_order(tmp_path: Path, source: Path) -> None:
    crew = Crew()
    crew.cut(Bench(tmp_path), source, 1)
    assert [round(at, 1) for _, at in crew.starts] == [0.2, 5.2, 9.3, 14.1]


def test_no_frame_is_decoded_twice(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    as_it_is = Reader._decoded

    def counted(reader: Reader, packet: Any) -> Any:
        frames = as_it_is(reader, packet)
        decoded.extend(frame.pts for frame in frames)
        return frames

    monkeypatch.setattr(Reader, "_decoded", counted)
    Crew().cut(Bench(tmp_path), source, 1)
    assert len(decoded) == len(set(decoded)) < 300


def test_a_decoder_that_knows_no_key_frames_is_asked_once(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(_Watched, "key_before")
    crew = Crew()
    outcome = crew.cut(Bench(tmp_path), source, 4)
    assert len(outcome.done) == len(TRACKS)
    assert len(crew.starts) == len(crew.decoders) == 1


def test_helpers_that_cannot_open_the_video_are_done_without(tmp_path: Path, source: Path) -> None:
    crew = Crew()
    crew.fails_from = 1
    outcome = crew.cut(Bench(tmp_path), source, 4)
    assert len(outcome.done) == len(TRACKS)
    assert len({thread for thread, _ in crew.starts}) == 1


def test_a_system_without_more_threads_is_done_without(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_it_is = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "decode":
            raise RuntimeError("can't start new thread")
        as_it_is(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    crew = Crew()
    outcome = crew.cut(Bench(tmp_path), source, 4)
    assert len(outcome.done) == len(TRACKS)
    assert len(crew.decoders) == 1


@pytest.mark.parametrize("workers", [1, 4])
def test_a_stretch_that_cannot_be_sought_in_costs_its_own_clips(
    tmp_path: Path, source: Path, workers: int
) -> None:
    def fail(_: _Watched, spans: Any) -> None:
        if 5 < spans[0][0] < 6:
            raise DamagedFileError("v.mp4 cannot be read at 5.200 s")

    outcome = Crew(fail).cut(Bench(tmp_path), source, workers)
    assert [done.track_id for done in outcome.done] == ["a", "b", "d", "e"]
    assert outcome.failed == (("c", "video-damaged", "v.mp4 cannot be read at 5.200 s"),)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("fails", [0.2, 9.3])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("broken"), RuntimeError),
        (MemoryError(), MemoryError),
        (DamagedFileError("v.mp4"), PartlyCutError),
    ],
)
def test_an_error_in_one_stretch_ends_the_others(
    tmp_path: Path, source: Path, workers: int, fails: float, error: Exception, told: Any
) -> None:
    def fail(_: _Watched, spans: Any) -> None:
        if abs(spans[0][0] - fails) < 0.1:
            if told is PartlyCutError:
                raise error from MemoryError()
            raise error

    bench = Bench(tmp_path)
    with pytest.raises(told) as caught:
        Crew(fail).cut(bench, source, workers)
    left = {path.stem for path in bench.layout.tracks.rglob("*.*")}
    assert left <= set(TRACKS)
    if isinstance(caught.value, PartlyCutError):
        assert isinstance(caught.value.cause, LacksError)
        assert {done.track_id for done in caught.value.outcome.done} == left


@pytest.mark.parametrize("workers", [1, 3])
def test_a_stop_ends_all_stretches(tmp_path: Path, source: Path, workers: int) -> None:
    bench = Bench(tmp_path)
    gathered = meeting(workers)

    def stop(*given: Any) -> None:
        gathered(*given)
        bench.stop.set()

    crew = Crew(stop)
    with pytest.raises(PartlyCutError) as caught:
        crew.cut(bench, source, workers)
    assert isinstance(caught.value.cause, StoppedError)
    assert caught.value.outcome.done == caught.value.outcome.failed == ()
    assert list(bench.layout.tracks.rglob("*.*")) == []
    assert len(crew.starts) <= workers


@pytest.mark.parametrize("in_shards", [False, True])
def test_what_was_finished_before_a_stop_is_kept(
    tmp_path: Path, source: Path, in_shards: bool
) -> None:
    bench = Bench(tmp_path)
    writer = ShardWriter(shards_folder(bench.layout), "extract-tracks", 0, 1, "0" * 12)
    sink = ShardSink(writer, tmp_path / "spool", "0" * 12) if in_shards else FileSink(bench.layout)
    stored: list[str] = []
    store = sink.store

    def counted(temporary: Path, member: Member) -> FinishedClip:
        done = store(temporary, member)
        stored.append(member.track_id)
        return done

    sink.store = counted  # type: ignore[method-assign]  # watched

    def stop(_: _Watched, spans: Any) -> None:
        if spans[0][0] > 5:
            until = time.monotonic() + 30
            while len(stored) < 2:
                assert time.monotonic() < until
                time.sleep(0.01)
            bench.stop.set()

    with pytest.raises(PartlyCutError) as caught:
        Crew(stop).cut(bench, source, 1, sink)
    sink.flush()
    assert [done.track_id for done in caught.value.outcome.done] == ["a", "b"]
    if in_shards:
        index = ShardIndex.load(bench.layout)
        assert len(index) == 2
        assert index.find(VIDEO, "a")
        assert index.find(VIDEO, "b")
        assert list((tmp_path / "spool").rglob("*.*")) == []
    else:
        files = [path.name for path in bench.layout.tracks.rglob("*.*")]
        assert sorted(files) == ["a.mp4", "b.mp4"]


def test_a_lack_of_open_files_is_no_fault_of_a_clip(tmp_path: Path, source: Path) -> None:
    bench = Bench(tmp_path)
    sink = FileSink(bench.layout)
    temporary = sink.temporary

    def lacking(clip_name: str) -> Path:
        if clip_name == "d/c.mp4":
            raise OSError(errno.EMFILE, "Too many open files")
        return temporary(clip_name)

    sink.temporary = lacking  # type: ignore[method-assign]  # as if the limit were reached
    with pytest.raises(PartlyCutError) as caught:
        Crew().cut(bench, source, 2, sink)
    assert isinstance(caught.value.cause, LacksError)
    assert "ulimit -n" in str(caught.value.cause)
    assert [done.track_id for done in caught.value.outcome.done] == ["a", "b", "d", "e"]
    assert caught.value.outcome.failed == ()


def test_helpers_make_room_for_the_next_video(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper ends its stretch, and begins no other while there are enough videos."""
    seats: list[Seats] = []

    class Known(Seats):
        def __init__(self, most: int) -> None:
            super().__init__(most)
            seats.append(self)

    monkeypatch.setattr("trackverse_cli.extract.Seats", Known)
    met, main = meeting(2), threading.get_ident()
    helped = threading.Event()

    def step(_: _Watched, spans: Any) -> None:
        met()
        if threading.get_ident() != main:
            seats[0].take()  # another video is begun
            helped.set()
        else:
            assert helped.wait(30)

    crew = Crew(step)
    outcome = crew.cut(Bench(tmp_path), source, 2)
    assert len(outcome.done) == len(TRACKS)
    assert [thread == main for thread, _ in crew.starts].count(False) == 1


def test_clips_that_are_done_are_told_in_the_order_of_the_video(
    tmp_path: Path, source: Path
) -> None:
    crew, bench = Crew(meeting(2)), Bench(tmp_path)
    frames = [done.frames for done in crew.cut(bench, source, 2).done]
    spans = np.array(list(TRACKS.values()))
    assert np.allclose(np.array(frames) / 25, spans[:, 1] - spans[:, 0], atol=0.11)
