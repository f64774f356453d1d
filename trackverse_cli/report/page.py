"""The page as a whole, from what was found; it holds no script and asks for nothing."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, Any

from trackverse_cli import __version__
from trackverse_cli.reasons import MEANING
from trackverse_cli.report import words
from trackverse_cli.report.advice import helps, state_of
from trackverse_cli.report.cards import cards, class_name, gallery
from trackverse_cli.report.chart import chart
from trackverse_cli.report.facts import LOOKED, Facts
from trackverse_cli.report.tables import LETTERS, folded, legend, summary_row
from trackverse_cli.report.target import GENERATOR
from trackverse_cli.report.text import (
    LONGEST_SENTENCE,
    counted,
    day_text,
    escaped,
    number,
)
from trackverse_cli.worklist import State

if TYPE_CHECKING:
    from collections.abc import Iterator


def page(facts: Facts) -> Iterator[str]:
    """Yield the HTML of a report, piece by piece."""
    yield from _head(facts)
    yield from _first_screen(facts)
    if facts.found.reasons or facts.video_reasons:
        yield from _why(facts)
    yield from _over_time(facts)
    yield from _classes(facts)
    if len(facts.shards) > 1:
        yield from _shards(facts)
    yield from _pictures(facts)
    yield from _about(facts)
    yield "</main></body></html>\n"


def style() -> str:
    """Return the style sheet with the widths of the bars, which need no style attribute so."""
    sheet = resources.files("trackverse_cli.report").joinpath("style.css").read_text("utf-8")
    return sheet + "".join(f".w{width}{{width:{width}%}}" for width in range(1, 101))


def _head(facts: Facts) -> Iterator[str]:
    css = style()
    digest = b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    title = escaped(words.title(facts.found.catalog, facts.part))
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'{GENERATOR}{__version__}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" '
        'content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{title} · {day_text(facts.made)} · trackverse</title>\n"
        f"<style>{css}</style></head>\n<body><main>\n"
    )


def _first_screen(facts: Facts) -> Iterator[str]:
    found = facts.found
    verdict, sentence = words.verdict(found)
    yield f"<header><h1>{escaped(words.title(found.catalog, facts.part))}</h1>\n"
    yield f'<p class="when">{day_text(facts.made)}, checked {LOOKED[found.level]}</p>\n'
    yield f'<p class="verdict">{verdict}</p><p>{sentence}</p></header>\n<div class="stages">\n'
    yield summary_row("Clips", found.clips) + summary_row("Videos", found.videos)
    yield f"</div>{legend()}\n"
    yield f'<div class="next"><h2>{_next_title(facts)}</h2>\n'
    if facts.command:
        yield f"<pre><code>{escaped(facts.command, LONGEST_SENTENCE)}</code></pre>"
        if facts.note:
            yield f"<p>{escaped(facts.note[:1].upper() + facts.note[1:], LONGEST_SENTENCE)}.</p>"
        first = words.before_that(found.reasons)
        if first:
            yield "<ul>" + "".join(f"<li>{escaped(one)}</li>" for one in first) + "</ul>"
    else:
        yield words.at_the_end(found)
    if found.damaged_videos:
        videos = counted(len(found.damaged_videos), "damaged video")
        yield f"<p>{videos}: <code>trackverse download-videos</code> brings them again.</p>"
    yield "</div>\n<nav>"
    if found.reasons or facts.video_reasons:
        yield '<a href="#why">Why</a> '
    yield '<a href="#time">Over time</a> <a href="#classes">Classes</a> '
    if len(facts.shards) > 1:
        yield '<a href="#shards">Shards</a> '
    yield '<a href="#pictures">Pictures</a> <a href="#about">About</a></nav>\n'


def _next_title(facts: Facts) -> str:
    return "Next" if facts.command or facts.found.damaged_videos else "Nothing to run"


def _why(facts: Facts) -> Iterator[str]:
    reasons = facts.found.reasons
    of_videos: Counter[str] = Counter()
    for (_, reason), count in facts.video_reasons.items():
        of_videos[reason] += count
    yield '<section id="why"><h2>Why it is not there</h2><p>Each clip has one reason, and so has '
    yield "each video.</p>\n"
    yield (
        '<table class="r"><thead><tr><th scope="col">reason<th scope="col" class="n">clips'
        '<th scope="col" class="n">videos<th scope="col" class="help">what helps</thead><tbody>\n'
    )
    everything = [reason for reason, _ in reasons.most_common()]
    everything += [reason for reason, _ in of_videos.most_common() if reason not in reasons]
    for reason in everything:
        letter = LETTERS[state_of(reason)]
        yield (
            f'<tr><th scope="row"><i class="{letter}"></i><code>{escaped(reason)}</code>'
            f"<p>{escaped(MEANING.get(reason, ''))}</p>{_examples(facts, reason)}"
            f"{_count(reasons[reason], 'clip')}{_count(of_videos[reason], 'video')}"
            f'<td class="help">{escaped(helps(reason))}\n'
        )
    yield "</tbody></table></section>\n"


def _count(value: int, unit: str) -> str:
    """Return a cell; its unit shows where a narrow screen has no head of the column."""
    plural = "" if value == 1 else "s"
    return f'<td class="n" data-unit=" {unit}{plural}">{number(value)}'


def _examples(facts: Facts, reason: str) -> str:
    told = facts.examples.get(reason, [])
    if not told:
        return ""
    items = "".join(f"<li>{escaped(one, LONGEST_SENTENCE)}</li>" for one in told)
    return f"<details><summary>for example</summary><ul>{items}</ul></details>"


def _over_time(facts: Facts) -> Iterator[str]:
    yield '<section id="time"><h2>Over time</h2>'
    if facts.timeline is None:
        yield "<p>The ledger has no time of any clip or video that is here.</p></section>\n"
        return
    yield "<p>When what is complete now was recorded.</p>\n"
    yield from chart(facts.timeline)
    unknown = facts.found.clips.states[State.COMPLETE] - facts.timeline.clips.known
    if unknown > 0:
        yield f"<p>{counted(unknown, 'complete clip')} came without a record.</p>\n"
    yield "</section>\n"


def _classes(facts: Facts) -> Iterator[str]:
    classes = facts.found.classes
    by_name = sorted(classes, key=lambda label: (not label, label.casefold(), label))
    ordered = {label: classes[label] for label in by_name}
    yield '<section id="classes"><h2>Classes</h2><p>How many clips of each class are complete.'
    yield "</p>\n"
    yield from folded(ordered, "class", class_name)
    yield "</section>\n"


def _shards(facts: Facts) -> Iterator[str]:
    size = len(facts.shards)
    yield f'<section id="shards"><h2>Shards</h2><p>Clips by rank, of a world of {size:,}; shard R '
    yield "is what <code>--rank R</code> works on.</p>\n"
    tallies = {str(rank): facts.shards[rank] for rank in sorted(facts.shards)}
    yield from folded(tallies, "shard", lambda rank: f"rank {rank}")
    yield "</section>\n"


def _pictures(facts: Facts) -> Iterator[str]:
    shown = sum(len(sheets) for sheets in facts.by_class.values())
    complete = facts.found.clips.states[State.COMPLETE]
    yield '<section id="pictures"><h2>Do the crops follow their objects?</h2>\n'
    if facts.left_out:
        left = counted(facts.left_out, "clip")
        yield f"<p>{left} could not be shown in the time for pictures.</p>\n"
    if not shown and not facts.damaged:
        yield "<p>No clip is shown.</p></section>\n"
        return
    yield (
        f"<p>{number(shown)} of {counted(complete, 'complete clip')}, from "
        f"{counted(len(facts.by_class), 'class')} of {number(len(facts.found.classes))}, picked by "
        "a hash of their ids. Above, the frame of the video that the middle frame of the clip "
        "was cut from: the box is the crop at that moment, the dotted line the way of its "
        "centre. Below, first, middle and last frame of the clip itself.</p>\n"
    )
    if facts.damaged:
        yield '<details class="class" open><summary>Damaged <span class="soft">'
        every = counted(facts.found.clips.states[State.DAMAGED], "clip")
        yield f"{number(len(facts.damaged))} of {every}"
        yield "</span></summary>\n"
        shown_damaged, sentences = zip(*facts.damaged, strict=True)
        yield from cards(shown_damaged, sentences, named=True)
        yield "</details>\n"
    yield from gallery(facts.by_class)
    yield "</section>\n"


def _about(facts: Facts) -> Iterator[str]:
    catalog = facts.found.catalog
    entries: list[tuple[str, Any]] = [
        (
            "metadata",
            "; ".join(f"{one['file']}, BLAKE2b {one['checksum']}" for one in catalog.sources),
        ),
        ("selection", words.selection(catalog.selection.describe()) or "everything"),
        ("recipe", facts.recipe),
        ("checked", f"{facts.found.level.name.lower()}: {LOOKED[facts.found.level]}"),
        ("made", f"{day_text(facts.made)}, by trackverse {__version__}"),
    ]
    yield '<section id="about"><h2>About this page</h2><dl>\n'
    for key, value in entries:
        yield f"<dt>{key}</dt><dd>{escaped(value, LONGEST_SENTENCE)}</dd>\n"
    yield "</dl></section>\n<footer><p>One file without a script; it loads nothing. "
    yield "What the pictures show belongs to the owners of the videos.</p></footer>\n"
