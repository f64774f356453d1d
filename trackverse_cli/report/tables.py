"""Tables with bars: how much of what is complete, the long ones folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackverse_cli.findings import Tally
from trackverse_cli.report.text import counted, escaped, name, number, share
from trackverse_cli.worklist import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

WORDS = {
    State.COMPLETE: "complete",
    State.MISSING: "missing",
    State.DAMAGED: "damaged",
    State.UNRECOVERABLE: "gone for good",
}
"""What a person reads for each state."""

LETTERS = {
    State.COMPLETE: "k",
    State.MISSING: "m",
    State.DAMAGED: "d",
    State.UNRECOVERABLE: "u",
}
"""Classes of the style sheet."""

SHOWN = 10
"""Rows in sight; the others are folded."""

FOLD = 500
"""Rows in one fold: a browser lays out what is open alone."""

ROWS = 20_000
"""Rows in all, which bounds the page; what lacks least is then added up in one row."""


def bar(tally: Tally, what: str = "") -> str:
    """Return a bar of one tally; every state that there is can be seen.

    Args:
        tally: what it shows.
        what: a text for those who hear the page; "" where the numbers stand beside it.
    """
    parts = "".join(
        f'<i class="{LETTERS[state]} w{width}"></i>' for state, width in _widths(tally) if width
    )
    spoken = f' role="img" aria-label="{escaped(what)}"' if what else ' aria-hidden="true"'
    return f'<span class="bar"{spoken}>{parts}</span>'


def _widths(tally: Tally) -> list[tuple[State, int]]:
    """Return whole percents that add up to 100, none of them 0 for a state that there is."""
    there = [(state, tally.states[state]) for state in State if tally.states[state]]
    if not there:
        return []
    widths = [max(1, 100 * count // tally.expected) for _, count in there]
    largest = max(range(len(there)), key=lambda place: there[place][1])
    widths[largest] += 100 - sum(widths)
    return [(state, width) for (state, _), width in zip(there, widths, strict=True)]


def lacking(tally: Tally) -> str:
    """Return `3 missing, 1 damaged`, "" if nothing lacks."""
    rest = (State.MISSING, State.DAMAGED, State.UNRECOVERABLE)
    told = [f"{tally.states[s]:,} {WORDS[s]}" for s in rest if tally.states[s]]
    return ", ".join(told)


def row(label: str, tally: Tally) -> str:
    """Return one row; `label` is HTML."""
    done = tally.expected - tally.lacking
    return (
        f'<tr><th scope="row">{label}<td class="n">{number(done)} / {number(tally.expected)}'
        f'<td class="g">{bar(tally)}<td class="l">{lacking(tally)}\n'
    )


def table(caption: str, head: str, rows: Sequence[str]) -> Iterator[str]:
    """Yield a table of tallies; caption and head are HTML."""
    yield f'<table class="t"><caption>{caption}</caption>\n'
    yield (
        f'<thead><tr><th scope="col">{head}<th scope="col" class="n">complete'
        '<th scope="col" class="g"><span class="hear">as a bar</span>'
        '<th scope="col" class="l"><span class="hear">what is lacking</span></thead><tbody>\n'
    )
    yield from rows
    yield "</tbody></table>\n"


def folded(
    tallies: Mapping[str, Tally], unit: str, label: Callable[[str], str] = name
) -> Iterator[str]:
    """Yield the tables of many tallies: those that lack most in sight, all of them folded.

    Args:
        tallies: in the order in which all of them are listed.
        unit: what a row is, in the singular.
        label: key -> HTML.
    """
    if len(tallies) <= 2 * SHOWN:
        rows = [row(label(key), tally) for key, tally in tallies.items()]
        yield from table(f"All {counted(len(tallies), unit)}", unit, rows)
        return
    by_need = sorted(tallies, key=lambda key: (-tallies[key].lacking, -tallies[key].expected, key))
    worst = [key for key in by_need[:SHOWN] if tallies[key].lacking]
    short = sum(1 for tally in tallies.values() if tally.lacking)
    if worst:
        told = "those that lack most" if short > len(worst) else "all that lack something"
        caption = f"{counted(short, unit)} of {number(len(tallies))} lack something; {told}"
        yield from table(caption, unit, [row(label(key), tallies[key]) for key in worst])
    else:
        yield f"<p>Every one of {counted(len(tallies), unit)} is complete.</p>\n"
    kept = set(by_need[:ROWS])
    listed = [key for key in tallies if key in kept]
    yield f'<details class="all"><summary>All {counted(len(tallies), unit)}</summary>\n'
    for begin in range(0, len(listed), FOLD):
        some = listed[begin : begin + FOLD]
        rows = [row(label(key), tallies[key]) for key in some]
        if len(listed) <= FOLD:
            yield from table(f"All {counted(len(tallies), unit)}", unit, rows)
            continue
        told = f"{label(some[0])} to {label(some[-1])}"
        yield f"<details><summary>{told}</summary>\n"
        yield from table(f'<span class="hear">{told}</span>', unit, rows)
        yield "</details>\n"
    if len(listed) < len(tallies):
        rest = Tally()
        for key in by_need[ROWS:]:
            rest.states.update(tallies[key].states)
        more = counted(len(tallies) - len(listed), unit)
        yield from table("The others", unit, [row(f"{more} more", rest)])
    yield "</details>\n"


def legend() -> str:
    """Return what the colours of the bars mean."""
    items = "".join(f'<li><i class="{LETTERS[state]}"></i>{WORDS[state]}</li>' for state in WORDS)
    return f'<ul class="legend">{items}</ul>'


def summary_row(what: str, tally: Tally) -> str:
    """Return one stage with its bar and its numbers."""
    done = tally.expected - tally.lacking
    spoken = f"{what}: {number(done)} of {number(tally.expected)} complete"
    rest = lacking(tally)
    return (
        f'<div class="stage"><div class="stage-head"><span class="stage-name">{what}</span>'
        f"<span><b>{number(done)}</b> of {number(tally.expected)} complete "
        f'<span class="soft">({share(done, tally.expected)})</span></span></div>'
        f'{bar(tally, spoken)}<p class="stage-rest">{rest or "nothing lacks"}</p></div>\n'
    )
