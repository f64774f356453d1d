"""Contact sheets as HTML: a card for each clip, folded by class."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from trackverse_cli.report.text import LONGEST_SENTENCE, counted, escaped, name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trackverse_cli.report.pictures import Picture
    from trackverse_cli.report.sheets import Sheet
    from trackverse_cli.report.sources import SourceFrame

OPEN_CARDS = 24
"""So many cards are in sight; the others are folded."""

GROUPS = 12
"""With more classes, cards are not grouped, but bear the name of their class."""


def gallery(by_class: dict[str, list[Sheet]]) -> Iterator[str]:
    """Yield the cards of all classes."""
    if len(by_class) > GROUPS:
        yield from _mixed([sheet for sheets in by_class.values() for sheet in sheets])
        return
    shown = 0
    for label, sheets in by_class.items():
        is_open = " open" if shown < OPEN_CARDS else ""
        shown += len(sheets)
        yield (
            f'<details class="class"{is_open}><summary>{class_name(label)} '
            f'<span class="soft">{counted(len(sheets), "clip")}</span></summary>\n'
        )
        yield from cards(sheets)
        yield "</details>\n"


def _mixed(sheets: Sequence[Sheet]) -> Iterator[str]:
    for begin in range(0, len(sheets), OPEN_CARDS):
        some = sheets[begin : begin + OPEN_CARDS]
        if begin:
            names = f"{class_name(some[0].clip.label)} to {class_name(some[-1].clip.label)}"
            yield f'<details class="class"><summary>{names} '
            yield f'<span class="soft">{counted(len(some), "clip")}</span></summary>\n'
        yield from cards(some, named=True)
        if begin:
            yield "</details>\n"


def class_name(label: str) -> str:
    """Return a class's name as HTML."""
    return name(label) if label else "(no class)"


def cards(
    sheets: Sequence[Sheet], verdicts: Sequence[str] = (), named: bool = False
) -> Iterator[str]:
    """Yield one card for each sheet.

    Args:
        sheets: what they show.
        verdicts: a sentence for each, what is wrong with it; empty if nothing is.
        named: whether each says its class.
    """
    yield '<div class="cards">\n'
    for place, sheet in enumerate(sheets):
        yield from _card(sheet, verdicts[place] if verdicts else "", named)
    yield "</div>\n"


def _card(sheet: Sheet, verdict: str, named: bool) -> Iterator[str]:
    clip, read = sheet.clip, sheet.read
    yield f'<article class="card{" bad" if verdict or sheet.problem else ""}">'
    if named:
        yield f"<h3>{class_name(clip.label)}</h3>"
    if sheet.source is not None:
        yield _source(sheet.source)
    else:
        why = sheet.source_problem or "no picture can be made of it"
        yield f'<p class="none">{escaped(why, LONGEST_SENTENCE)}</p>'
    yield '<div class="frames">'
    for frame in read.frames if read else ():
        if frame.picture is None:
            yield f'<figure><p class="none">unreadable</p><figcaption>{frame.what}</figcaption>'
        else:
            at = f"{sheet.first + frame.seconds:.2f} s"
            alt = f"{frame.what} frame of the clip"
            yield f"<figure>{_image(frame.picture, alt)}<figcaption>{frame.what} {at}</figcaption>"
        yield "</figure>"
    yield "</div>\n"
    if verdict or sheet.problem:
        yield f'<p class="wrong">{escaped(verdict or sheet.problem, LONGEST_SENTENCE)}</p>'
    facts = ""
    if read:
        facts = f"{counted(read.count, 'frame')}, {read.size[0]}&times;{read.size[1]}"
    yield (
        f'<p class="id">video {name(clip.video_id)}<br>track {name(clip.track_id)}</p>'
        f'<p class="soft">{facts}</p></article>\n'
    )


def _source(source: SourceFrame) -> str:
    width, height = source.size
    x, y, w, h = source.box
    box = f'x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"'
    way = " ".join(f"{a:.0f},{b:.0f}" for a, b in source.path)
    tall = " tall" if height > width else ""
    return (
        f'<figure class="source{tall}"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="frame of the video with the box of the crop">'
        f'<image width="{width}" height="{height}" preserveAspectRatio="none" '
        f'href="{_data(source.picture)}"/>'
        f'<polyline class="way" points="{way}"/>'
        f'<rect class="halo" {box}/><rect class="box" {box}/></svg>'
        f"<figcaption>video at {source.at:.2f} s, {width}&times;{height}</figcaption></figure>\n"
    )


def _image(picture: Picture, alt: str) -> str:
    width, height = picture.size
    return f'<img src="{_data(picture)}" width="{width}" height="{height}" alt="{alt}">'


def _data(picture: Picture) -> str:
    return f"data:image/jpeg;base64,{b64encode(picture.jpeg).decode()}"
