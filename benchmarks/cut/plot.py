"""The plot of where the time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

COLOURS = {"decode": "#4c72b0", "crop": "#dd8452", "encode": "#8c8c8c", "the rest": "#c44e52"}


def draw(bars: dict[str, dict[str, float]], path: Path) -> None:
    """Draw one bar a workload, parts beside each other as shares of the limit.

    Args:
        bars: CPU seconds of each part of each workload.
        path: the SVG file to write.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "trackverse"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(bars) + 1.4))
    names = list(bars)
    for name in names:
        parts = bars[name]
        limit = parts["decode"] + parts["encode"]
        left = 0.0
        for part, colour in COLOURS.items():
            width = parts[part] / limit
            axes.barh(name, width, left=left, color=colour, label=part if name == names[0] else "")
            left += width
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("CPU seconds, of the limit (one decode and one encode)")
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
