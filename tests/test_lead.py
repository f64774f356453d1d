"""The decoding thread leads: it goes before the encoders, and far ahead of them if need be."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.test_extract import Bench, disc_track
from tests.videos import make_video
from trackverse_cli import one_pass, plugins
from trackverse_cli.machine import STEPS_BACK, step_back

if TYPE_CHECKING:
    from pathlib import Path

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness here")


def own_niceness() -> int:
    if sys.platform != "linux":
        return 0
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def in_a_thread(*calls: Any) -> list[Any]:
    """Return what calls give, one after the other in one new thread."""
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend([call() for call in calls]))
    thread.start()
    thread.join()
    return got


@ON_LINUX
def test_a_thread_steps_back_alone() -> None:
    before = own_niceness()
    was, _, now = in_a_thread(own_niceness, step_back, own_niceness)
    assert (was, now) == (before, min(before + STEPS_BACK, 19))
    assert own_niceness() == before


@ON_LINUX
def test_a_system_that_refuses_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    assert in_a_thread(step_back) == [None]


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a thread's number may be that of a stranger's process."""
    calls: list[object] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "setpriority", lambda *given: calls.append(given), raising=False)
    step_back()
    assert calls == []


class _Watched:
    """The decoder `pyav`; its crops keep an encoder waiting until so many frames were decoded."""

    def __init__(self, decoder: Any, enough: int) -> None:
        self.info, self.hw_encoder, self._decoder = decoder.info, None, decoder
        self.enough, self.decoded, self.reached = enough, 0, threading.Event()
        self.niceness: set[int] = set()

    def frames(self, spans: Any) -> Iterator[Any]:
        for frame in self._decoder.frames(spans):
            yield _WatchedFrame(frame, self)
            self.decoded += 1
            if self.decoded >= self.enough:
                self.reached.set()


class _WatchedFrame:
    def __init__(self, frame: Any, decoder: _Watched) -> None:
        self.pts, self.time_base = frame.pts, frame.time_base
        self._frame, self._decoder = frame, decoder

    def crop(self, boxes: Any, sizes: Any) -> Sequence[Any]:
        return _WatchedCrops(self._frame.crop(boxes, sizes), self._decoder)


class _WatchedCrops(Sequence[Any]):
    def __init__(self, crops: Any, decoder: _Watched) -> None:
        self._crops, self._decoder = crops, decoder
        self._home = threading.get_ident()

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, place: Any) -> Any:
        if threading.get_ident() != self._home:
            self._decoder.niceness.add(own_niceness())
            assert self._decoder.reached.wait(30), f"only {self._decoder.decoded} frames"
        return self._crops[place]


def watched_cut(folder: Path, enough: int) -> _Watched:
    """Cut one clip of 93 frames; return the decoder."""
    source = make_video(folder / "v.mp4", frames=110)
    plugin, opened = plugins.choose_decoder("pyav"), []

    def opening(path: Path, settings: Any) -> Any:
        opened.append(_Watched(plugin.open(path, settings), enough))
        return opened[0]

    track = disc_track("a", 0.2, 3.9, (320, 180))
    outcome = Bench(folder).cut(source, track, decoder=replace(plugin, open=opening))
    assert outcome.failed == ()
    assert [done.frames for done in outcome.done] == [93]
    return opened[0]


def test_frames_are_let_go_where_the_encoders_lag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many more crops are held than frames could be."""
    monkeypatch.setattr(one_pass, "BYTES_HELD", 20 * 320 * 180 * 3 // 2)
    assert watched_cut(tmp_path, enough=60).reached.is_set()


@ON_LINUX
def test_encoders_are_nicer_than_the_decoder(tmp_path: Path) -> None:
    before = own_niceness()
    assert watched_cut(tmp_path, enough=1).niceness == {min(before + STEPS_BACK, 19)}
    assert own_niceness() == before
