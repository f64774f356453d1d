"""The library that samples planes, against arithmetic in doubles, and without it: OpenCV."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.referee import psnr
from trackverse_cli.plugins import choose_decoder
from trackverse_cli.testing import DecoderContract
from trackverse_pyav import bilinear
from trackverse_pyav.crop import Crops, upright_axes
from trackverse_pyav.sampling import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trackverse_cli.interfaces import Decoder

    Plane = NDArray[np.uint8]

HERE = Path(__file__).parents[1]
SOURCE = HERE / "plugins/trackverse_pyav/bilinear.c"
HAS_COMPILER = shutil.which("cc") is not None
GUARD = 77


def cpu_has_avx2() -> bool:
    try:
        return " avx2 " in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


needs_library = pytest.mark.skipif(
    not (HAS_COMPILER and cpu_has_avx2()), reason="no C compiler `cc`, or no AVX2 in this processor"
)


def exact(source: Plane, grid: Grid, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Sample in doubles; beside the source its border repeats."""
    values = source.astype(float)
    for axis, (first, step) in enumerate([(grid.y, grid.down), (grid.x, grid.across)]):
        at = np.clip(first + np.arange(shape[axis]) * step, 0, source.shape[axis] - 1)
        whole = np.floor(at).astype(int)
        beyond = np.minimum(whole + 1, source.shape[axis] - 1)
        part = (at - whole).reshape((-1, 1) if axis == 0 else (1, -1))
        values = values.take(whole, axis) * (1 - part) + values.take(beyond, axis) * part
    return values


def framed(seed: int, shape: tuple[int, int], margin: int = 3) -> tuple[Plane, Plane]:
    """Return a plane of noise within a larger array, and that array."""
    random = np.random.default_rng(seed)
    whole = random.integers(0, 256, (shape[0] + 2 * margin, shape[1] + 2 * margin), np.uint8)
    return whole[margin : margin + shape[0], margin : margin + shape[1]], whole


def filled(source: Plane, grid: Grid, shape: tuple[int, int]) -> Plane:
    """Fill by the library, and see that it wrote nowhere else."""
    whole = np.full((shape[0] + 4, shape[1] + 4), GUARD, np.uint8)
    target = whole[2:-2, 2:-2]
    assert bilinear.fill([bilinear.place_of(source)], [grid], [bilinear.place_of(target)])
    beside = np.ones(whole.shape, bool)
    beside[2:-2, 2:-2] = False
    assert (whole[beside] == GUARD).all()
    return target


@needs_library
def test_it_is_there_where_there_is_a_compiler() -> None:
    assert bilinear.is_there()


SIDES = st.integers(1, 90)


@needs_library
@settings(max_examples=400, deadline=None)
@given(
    source=st.tuples(SIDES, SIDES),
    target=st.tuples(SIDES, SIDES),
    first=st.tuples(st.floats(-120, 120), st.floats(-120, 120)),
    steps=st.tuples(st.floats(0.01, 1.85), st.floats(0.01, 40)),
    seed=st.integers(0, 99),
)
def test_samples_are_those_of_the_arithmetic(
    source: tuple[int, int],
    target: tuple[int, int],
    first: tuple[float, float],
    steps: tuple[float, float],
    seed: int,
) -> None:
    plane, whole = framed(seed, source)
    grid = Grid(first[0], steps[0], first[1], steps[1])
    got = filled(plane, grid, target)
    beside = np.abs(got - exact(plane, grid, target))
    # Rounded once to a level; before that to 128ths, and weights to 14 bits.
    assert beside.max() <= 0.53
    # What lies around the plane is never looked at.
    inner = plane.copy()
    whole[...] = 255 - whole
    plane[...] = inner
    assert (filled(plane, grid, target) == got).all()


@needs_library
@pytest.mark.parametrize("across", [0.9, 1.0, 1.04, 1.37, 1.85])
@pytest.mark.parametrize("width", [7, 8, 31, 32, 33, 250, 256])
def test_it_is_as_good_as_rounding_allows(width: int, across: float) -> None:
    plane, _ = framed(5, (300, 520))
    grid = Grid(12.3, across, 7.7, 0.93)
    error = filled(plane, grid, (240, width)) - exact(plane, grid, (240, width))
    # Rounding to a level leaves 1/12 of mean square, which is 58.9 dB.
    assert 10 * math.log10(255**2 / np.mean(error**2)) > 58.5
    # To both sides alike: of so many errors the mean has a deviation of 0.29 / sqrt(n).
    assert abs(np.mean(error)) < 5 * 0.29 / math.sqrt(error.size)


@needs_library
@pytest.mark.parametrize("value", [0, 1, 127, 128, 254, 255])
def test_flat_planes_stay_what_they_are(value: int) -> None:
    plane = np.full((40, 50), value, np.uint8)
    assert (filled(plane, Grid(-3.3, 0.77, 2.2, 1.2), (50, 71)) == value).all()


@needs_library
def test_whole_pixels_are_copied() -> None:
    plane, _ = framed(1, (60, 80))
    assert (filled(plane, Grid(5, 1, 7, 1), (40, 61)) == plane[7:47, 5:66]).all()


@needs_library
@pytest.mark.parametrize("far", [-1e300, -math.inf, 1e300, math.inf, math.nan])
def test_a_grid_far_away_repeats_the_border(far: float) -> None:
    plane, _ = framed(2, (9, 9))
    got = filled(plane, Grid(far, 1, far, 1), (4, 12))
    corner = -1 if far > 0 else 0
    assert (got == plane[corner, corner]).all()


@needs_library
@pytest.mark.parametrize(
    "steps", [(0, 1), (-1, 1), (1.86, 1), (math.nan, 1), (1, 0), (1, math.nan)]
)
def test_steps_that_it_cannot_take_leave_all_as_it_was(steps: tuple[float, float]) -> None:
    plane, target = np.zeros((9, 9), np.uint8), np.full((5, 5), GUARD, np.uint8)
    grid = Grid(0, steps[0], 0, steps[1])
    assert not bilinear.fill([bilinear.place_of(plane)], [grid], [bilinear.place_of(target)])
    assert (target == GUARD).all()


@needs_library
@pytest.mark.parametrize("shapes", [((0, 4), (4, 4)), ((4, 0), (4, 4)), ((4, 4), (0, 4))])
def test_empty_planes_are_left_alone(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    source, target = (bilinear.place_of(np.zeros(shape, np.uint8)) for shape in shapes)
    assert not bilinear.fill([source], [Grid(0, 1, 0, 1)], [target])


def test_what_is_no_such_library_is_left_alone(tmp_path: Path) -> None:
    assert bilinear.load(tmp_path / "absent.so") is None
    (tmp_path / "text.so").write_text("no library\n")
    assert bilinear.load(tmp_path / "text.so") is None


@needs_library
@pytest.mark.parametrize(
    ("was", "becomes"),
    [("#define INTERFACE 1", "#define INTERFACE 2"), ('"avx2") ?', '"avx2") *0 ?')],
)
def test_a_library_of_another_time_or_machine_is_left_alone(
    tmp_path: Path, was: str, becomes: str
) -> None:
    code = SOURCE.read_text(encoding="utf-8")
    assert code.count(was) == 1
    (tmp_path / "other.c").write_text(code.replace(was, becomes), encoding="utf-8")
    library = tmp_path / "other.so"
    words = ["cc", "-std=c99", "-shared", "-fPIC", "-o", library, tmp_path / "other.c"]
    subprocess.run(words, check=True)
    assert bilinear.load(library) is None


@needs_library
@pytest.mark.parametrize("box", [(20.3, 10.6, 160, 120), (-4, -3.5, 90.5, 71), (250, 130, 70, 50)])
@pytest.mark.parametrize("size", [(160, 120), (72, 64), (30, 22), (200, 190)])
def test_opencv_takes_the_same_crops(
    monkeypatch: pytest.MonkeyPatch,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
) -> None:
    frame = textured(320, 180)
    crops = Crops(frame, np.eye(3), upright_axes(np.eye(3)), np.array([box]), [size])
    ours = crops[0].to_ndarray()
    monkeypatch.setattr(bilinear, "_function", None)
    theirs = crops[0].to_ndarray()
    assert psnr(ours, theirs) >= 45


def textured(width: int, height: int) -> av.VideoFrame:
    """Return a picture with forms and some grain in luma and chroma."""
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (height // 9, width // 9, 3), np.uint8)
    picture = av.VideoFrame.from_ndarray(coarse, "rgb24")
    return picture.reformat(width, height, "yuv420p", interpolation="BICUBIC")


class TestPyavWithoutTheLibrary(DecoderContract):
    @pytest.fixture(autouse=True)
    def _without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bilinear, "_function", None)

    def make_decoder(self, path: Path) -> Decoder:
        assert not bilinear.is_there()
        plugin = choose_decoder("pyav")
        return plugin.open(path, plugin.settings())


@pytest.mark.parametrize("compiler", ["cc", "false", "no-such-compiler"])
def test_a_wheel_is_made_with_and_without_a_compiler(tmp_path: Path, compiler: str) -> None:
    if compiler == "cc" and not (HAS_COMPILER and cpu_has_avx2()):
        pytest.skip("no C compiler `cc`, or no AVX2 in this processor")
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(".*", "libbilinear.*", "__pycache__", "tests", "benchmarks")
    shutil.copytree(HERE, tree, ignore=ignored)
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path]
    subprocess.run([sys.executable, *words, tree], check=True, env={**os.environ, "CC": compiler})
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "trackverse_pyav/bilinear.py" in names
    built = compiler == "cc"
    assert ("trackverse_pyav/libbilinear.so" in names) == built
    assert wheel.name.endswith("-py3-none-any.whl") != built


@pytest.mark.parametrize("there", [True, False])
def test_plugins_say_which_way_crops_go(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    import trackverse_pyav

    monkeypatch.setattr(bilinear, "_function", (lambda: 0) if there else None)
    told = trackverse_pyav.trackverse_register_decoder().summary
    assert ("more slowly here" in told) != there
