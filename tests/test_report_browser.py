"""The report as a browser shows it: on a wide and a narrow screen, by day and by night."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.project import Project
from tests.services.browser import Browser, chromium
from tests.test_report import EVIL, EVIL_ID, VIDEO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCREENS = [(1280, 800), (390, 844), (320, 640)]
SCHEMES = ["light", "dark"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with something of everything: hostile and endless names, many classes, damage."""
    chromium()
    project = Project(tmp_path_factory.mktemp("seen"))
    project.video(VIDEO, frames=60)
    project.track(VIDEO, 0.2, 1.8)
    project.track(VIDEO, 0.4, 1.6, track_id=EVIL_ID, top10_label_names=[EVIL])
    project.track(VIDEO, 0.2, 1.2, top10_label_names=["W" * 150])
    project.track(VIDEO, 0.3, 1.2, top10_label_names=["\u0645\u0631\u062d\u0628\u0627 " * 20])
    for number in range(600):
        project.track("-gone-for-1", 0.2, 0.3, top10_label_names=[f"class {number}"])
    project.lines.append(b"garbage")
    project.run("fetch-meta", str(project.write_metadata()))
    project.run("extract-tracks")
    first = project.lines[0]
    assert isinstance(first, dict)
    clip = project.clip(first)
    clip.write_bytes(clip.read_bytes()[:-100])
    path = project.folder / "it.html"
    project.run("verify", "--report", str(path), "--world-size", "30").exits(1)
    return path


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_it_fits_every_screen_and_asks_for_nothing(
    browser: Browser, report: Path, tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    browser.show(report, width, height, scheme)
    assert browser.value("document.documentElement.scrollWidth") == width
    browser.value("for (const d of document.querySelectorAll('details')) d.open = true")
    assert browser.value("document.documentElement.scrollWidth") == width
    past = (
        "Array.from(document.querySelectorAll('body *')).filter(e => "
        "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 90))"
    )
    assert browser.value(past) == []
    broken = "Array.from(document.images).filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.value(broken) == 0
    assert browser.value("document.images.length") >= 9
    assert browser.picture(tmp_path / "seen.png").stat().st_size > 10_000
    assert browser.seen.requests == []
    assert browser.seen.complaints == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_can_be_read_by_day_and_by_night(browser: Browser, report: Path, scheme: str) -> None:
    browser.show(report, 1280, 800, scheme)
    paper = luminance(browser.value("getComputedStyle(document.body).backgroundColor"))
    assert (paper > 0.8) if scheme == "light" else (paper < 0.05)
    for what, least in (("body", 10), (".soft", 4.5), ("a", 4.5), (".next h2", 4.5)):
        ink = browser.value(f"getComputedStyle(document.querySelector('{what}')).color")
        bright, dim = sorted([paper, luminance(ink)], reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= least, (what, ink)


def luminance(colour: str) -> float:
    """The relative luminance of `rgb(r, g, b)`, as WCAG 2 defines it."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("width", "height"), SCREENS[:2])
def test_the_first_screen_answers(browser: Browser, report: Path, width: int, height: int) -> None:
    browser.show(report, width, height)
    for what in (".verdict", ".stages", ".next pre"):
        bottom = browser.value(f"document.querySelector('{what}').getBoundingClientRect().bottom")
        assert 0 < bottom <= height, what


def test_names_are_text_and_nothing_runs(browser: Browser, report: Path) -> None:
    browser.show(report, 1280, 800)
    assert browser.value("document.scripts.length") == 0
    assert browser.value("document.querySelectorAll('[onerror], [onload], [style]').length") == 0
    names = browser.value("Array.from(document.querySelectorAll('bdi')).map(e => e.textContent)")
    assert "<script>alert('x')</script>\\u202e\\u0007\" onload=\"x" in names
    assert EVIL_ID in names
    assert browser.seen.complaints == []


def test_a_name_in_a_folded_list_is_there(browser: Browser, report: Path) -> None:
    browser.show(report, 390, 844)
    count = "Array.from(document.querySelectorAll('#classes details bdi')).length"
    assert browser.value(count) >= 600
    folded = (
        "Array.from(document.querySelectorAll('#classes bdi')).filter(e => "
        "e.textContent === 'class 599')[0].checkVisibility()"
    )
    assert browser.value(folded) is False
    browser.value("for (const d of document.querySelectorAll('#classes details')) d.open = true")
    assert browser.value(folded) is True


def test_this_browser_would_have_noticed(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><body><script>console.error('ran')</script>"
        "<img src='http://127.0.0.1:9/it.png'><div style='width: 3000px'>wide</div>"
    )
    browser.show(bad, 390, 844)
    assert browser.seen.requests == ["http://127.0.0.1:9/it.png"]
    assert any("ran" in told for told in browser.seen.complaints)
    assert browser.value("document.documentElement.scrollWidth") > 390
