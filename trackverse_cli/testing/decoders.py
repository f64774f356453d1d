"""The contract of decoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trackverse_cli.errors import DamagedFileError
from trackverse_cli.interfaces import close_decoder, key_before
from trackverse_cli.testing.reference import (
    EVERYTHING,
    PATCHES,
    Truth,
    brought,
    holed,
    overwrite,
    scrambled,
    sound_frames,
)
from trackverse_cli.testing.videos import FRAMES, KINDS, RATE, write_video

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trackverse_cli.interfaces import Decoder, Frame

SPANS: Final = ((2.72, 2.94), (0.55, 0.75), (0.7, 0.9))
"""Within GOPs, the earlier ones later; two overlap."""


class DecoderContract:
    """What every decoder does, on small videos that PyAV makes and reads as the reference.

    Attributes:
        goes_on: whether it tells damaged frames from sound ones, and finds those after them. One
            that does not ends at what it cannot decode, and the clips after that are lost.
        sees_changed_bytes: whether it tells a picture from a sound one also where its bytes were
            changed so that it still looks like one. A card conceals it, and tells nobody.
    """

    goes_on = True
    sees_changed_bytes = True

    def make_decoder(self, path: Path) -> Decoder:
        """Return the decoder opened on `path`."""
        raise NotImplementedError("a suite says how its decoder is made")

    def test_says_what_the_video_is(self, tmp_path: Path) -> None:
        """Size, rate, time base, duration and codec are the file's."""
        path = write_video(tmp_path / "a video.mp4", "plain")
        info = self.make_decoder(path).info
        assert (info.width, info.height) == KINDS["plain"].size
        assert (info.rate, info.time_base) == (RATE, Truth(path).time_base)
        assert info.codec == "h264"
        assert abs((info.duration_seconds or 4.0) - FRAMES / RATE) < 0.1

    def test_misses_no_frame_of_a_span(self, tmp_path: Path) -> None:
        """Spans out of order, overlapping, of one instant and beyond the end are honoured."""
        path = write_video(tmp_path / "a video.mp4", "plain")
        truth = Truth(path)
        instant = truth.seconds(truth.pts[60])
        spans = [(3.0, 3.4), (0.5, 0.9), (0.8, 1.1), (instant, instant), (3.9, 99.0)]
        self._bring(path, truth, spans)

    def test_videos_with_b_frames(self, tmp_path: Path) -> None:
        """Frames come in the order in which they are shown."""
        self._check(tmp_path, "plain")

    def test_videos_with_open_gops(self, tmp_path: Path) -> None:
        """After a seek no picture is shown that was predicted from what was not decoded."""
        self._check(tmp_path, "open GOPs")

    def test_videos_that_start_late(self, tmp_path: Path) -> None:
        """Times are the file's, also where the first one is not 0."""
        self._check(tmp_path, "late start")

    def test_videos_with_an_edit_list(self, tmp_path: Path) -> None:
        """What an edit list leaves out is not brought."""
        self._check(tmp_path, "edit list")

    def test_videos_of_variable_rate(self, tmp_path: Path) -> None:
        """Frames have the times that they have in the file."""
        self._check(tmp_path, "variable rate")

    def test_videos_in_fragments(self, tmp_path: Path) -> None:
        """Where the file's index ends early, nothing is missed."""
        self._check(tmp_path, "fragments")

    def test_rotated_videos(self, tmp_path: Path) -> None:
        """Sizes and boxes are those of the picture that a viewer sees."""
        self._check(tmp_path, "rotated")
        self._check(tmp_path, "rotated the other way")

    def test_videos_with_wide_pixels(self, tmp_path: Path) -> None:
        """Sizes and boxes are in square pixels."""
        self._check(tmp_path, "wide pixels")

    def test_videos_of_odd_size(self, tmp_path: Path) -> None:
        """The last column and row are there."""
        self._check(tmp_path, "odd size")

    def test_videos_of_ten_bits(self, tmp_path: Path) -> None:
        """Crops have 8 bits."""
        self._check(tmp_path, "10-bit")

    def test_crops_have_the_sizes_and_pictures_asked_for(self, tmp_path: Path) -> None:
        """Crops come in the order of their boxes, and stay valid after `close`."""
        import numpy as np

        decoder = self.make_decoder(write_video(tmp_path / "a video.mp4", "plain"))
        boxes = np.array([[10.5, 24.0, 80.25, 60.0], [120.0, 24.5, 180.0, 60.5]])
        sizes = [(64, 80), (180, 60)]
        frame = sound_frames(decoder, [(1.0, 1.5)])[0]
        close_decoder(decoder)
        crops = list(frame.crop(boxes, sizes))
        assert [(crop.width, crop.height) for crop in crops] == sizes
        if decoder.hw_encoder is not None:
            return  # its pictures are on the device, in a format of their own
        for crop, luma in zip(crops, (40, 200), strict=True):
            assert crop.format.name in ("yuv420p", "yuvj420p")
            planes = crop.to_ndarray()
            assert abs(float(planes[: crop.height].mean()) - luma) < 3
            assert abs(float(planes[crop.height :].mean()) - 128) < 3

    def test_refuses_what_is_no_video(self, tmp_path: Path) -> None:
        """A text file is a DamagedFileError that names it; nothing else is raised."""
        path = tmp_path / "page.mp4"
        path.write_text("<html>not a video</html>\n" * 100, encoding="utf-8")
        told = ""
        try:
            self.make_decoder(path)
        except DamagedFileError as error:
            told = str(error)
        assert path.name in told

    def test_a_picture_that_is_gone(self, tmp_path: Path) -> None:
        """A picture whose bytes are zeros costs the frames up to the next key frame."""
        self._damage(tmp_path, "plain", 40, lambda content: bytes(len(content)))

    def test_a_picture_with_a_hole(self, tmp_path: Path) -> None:
        """A block of zeros within a picture is damage, as a disk leaves it."""
        self._damage(tmp_path, "plain", 40, holed)

    def test_a_picture_that_decoders_conceal(self, tmp_path: Path) -> None:
        """Bytes that differ make a picture that looks like one and must not be brought."""
        self._damage(tmp_path, "plain", 40, scrambled)

    def test_a_key_frame_that_is_damaged(self, tmp_path: Path) -> None:
        """All frames that depend on it are lost, and no others."""
        self._damage(tmp_path, "plain", 30, scrambled)

    def test_a_damaged_key_frame_between_open_gops(self, tmp_path: Path) -> None:
        """The pictures that are shown before it and were predicted from it are lost, too."""
        self._damage(tmp_path, "open GOPs", 60, lambda content: bytes(len(content)))

    def test_spans_beside_damage(self, tmp_path: Path) -> None:
        """Spans that need no damaged frame are whole, whatever lies between them."""
        path = write_video(tmp_path / "a video.mp4", "plain")
        truth = Truth(path)
        overwrite(path, truth.packet(40), lambda content: bytes(len(content)))
        if self.goes_on:
            self._bring(path, truth, [(0.1, 0.8), (truth.seconds(truth.pts[90]), 3.5)])

    def test_stretch_by_stretch(self, tmp_path: Path) -> None:
        """A decoder with `key_before` brings what it is asked for anew, in any order."""
        for name in ("plain", "open GOPs", "late start", "edit list", "variable rate", "fragments"):
            path = write_video(tmp_path / f"{name}.mp4", name)
            truth, decoder = Truth(path), self.make_decoder(path)
            if not hasattr(decoder, "key_before"):
                return
            at = [truth.seconds(pts) for pts in truth.pts]
            end = len(at) - 1
            for first, last in ((70, 80), (81, 85), (3, 9), (3, 9), (end - 9, end), (10, 12)):
                key = key_before(decoder, at[first])
                assert key is None or key <= at[first]
                pts = [frame.pts for frame in sound_frames(decoder, [(at[first], at[last])])]
                asked = truth.pts[first : last + 1]
                assert pts in (asked, asked + truth.pts[last + 1 : last + 2]), (name, first)

    def test_a_file_that_was_cut_off(self, tmp_path: Path) -> None:
        """Up to its end every frame comes; then it ends, if not in silence, as damaged."""
        path = write_video(tmp_path / "a video.mp4", "index first")
        truth = Truth(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        got = brought(self.make_decoder(path))[0]
        assert FRAMES // 4 < len(got) < FRAMES
        assert got == truth.pts[: len(got)]

    def _check(self, folder: Path, name: str) -> None:
        """Compare everything, and what spans bring, with the reference."""
        path = write_video(folder / f"{name}.mp4", name)
        truth = Truth(path)
        decoder = self.make_decoder(path)
        width, height = truth.shown
        assert (decoder.info.width, decoder.info.height) == (width, height), name
        frames = sound_frames(decoder, EVERYTHING)
        wanted = [(pts, truth.time_base) for pts in truth.pts]
        assert [(f.pts, f.time_base) for f in frames] == wanted, name
        self._look(decoder, frames[::40], truth)
        offset = truth.seconds(truth.pts[0])
        self._bring(path, truth, [(a + offset, b + offset) for a, b in SPANS])

    def _bring(self, path: Path, truth: Truth, spans: Sequence[tuple[float, float]]) -> None:
        decoder = self.make_decoder(path)
        frames = sound_frames(decoder, spans)
        got = [frame.pts for frame in frames]
        assert got == [pts for pts in truth.pts if pts in set(got)]
        held = [p for p in truth.pts if any(a <= truth.seconds(p) <= b for a, b in spans)]
        assert [pts for pts in got if pts in set(held)] == held
        self._look(decoder, [f for f in frames if f.pts in set(held)][::3], truth)

    def _look(self, decoder: Decoder, frames: Sequence[Frame], truth: Truth) -> None:
        """Compare parts of the pictures with the reference's."""
        import numpy as np

        if decoder.hw_encoder is not None:
            return
        width, height = truth.shown
        boxes = np.array(PATCHES) * (width, height, width, height)
        for frame in frames:
            crops = frame.crop(boxes, [(16, 16)] * len(boxes))
            means = [float(crop.to_ndarray()[:16].mean()) for crop in crops]
            assert np.allclose(means, truth.means(frame.pts), atol=3), frame.pts

    def _damage(self, folder: Path, name: str, number: int, harm: Callable[[bytes], bytes]) -> None:
        """Damage a picture that others are predicted from; see which frames are left."""
        path = write_video(folder / f"{name}.mp4", name)
        truth = Truth(path)
        hit = truth.packet(number)
        keys = [p for p in truth.packets if p.is_key and p.number > hit.number]
        spoiled = [p for p in truth.packets[hit.number :] if not keys or p.number < keys[0].number]
        # Pictures after the next key frame that are shown before it need what was lost as well.
        spoiled += [p for p in truth.packets if keys and p.number > keys[0].number
                    and p.pts < keys[0].pts]  # fmt: skip
        overwrite(path, hit, harm)
        first, last = min(p.pts for p in spoiled), max(p.pts for p in spoiled)
        got, damages = brought(self.make_decoder(path))
        if not self.goes_on:
            assert got == truth.pts[: len(got)]
            return
        if harm is scrambled and not self.sees_changed_bytes and not damages:
            assert got == truth.pts
            return
        before = [pts for pts in truth.pts if pts < first]
        assert got == before + [pts for pts in truth.pts if pts > last]
        [damage] = damages
        assert truth.seconds(before[-1]) < damage.start <= truth.seconds(first)
        assert truth.seconds(last) <= damage.stop < truth.seconds(got[len(before)])
        assert path.name in damage.message
