"""Files are whole or not there."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackverse_cli import files
from trackverse_cli.errors import UsageError
from trackverse_cli.files import (
    atomic_write,
    atomic_write_bytes,
    checksum,
    is_temporary,
    make_folder,
    require_writable,
    temporary_beside,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_an_error_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_write(target) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_content_is_not_seen_before_its_end(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"old")
    with atomic_write(target) as temporary:
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
        assert temporary.parent == target.parent
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_the_content_reaches_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "clip.mp4"
    told: list[tuple[str, bool]] = []
    monkeypatch.setattr(files, "fsync_path", lambda path: told.append((path.name, target.exists())))
    with atomic_write(target) as temporary:
        temporary.write_bytes(b"new")
    assert told == [(temporary.name, False), (tmp_path.name, True)]


def test_a_failed_fsync_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output error"):
        atomic_write_bytes(tmp_path / "a", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_the_umask_is_honoured(tmp_path: Path, mask: int, mode: int) -> None:
    os.umask(mask)
    atomic_write_bytes(tmp_path / "a", b"x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.parametrize("name", ["n" * 255, "\u732b" * 85, "-rf", " ", "a\nb"])
def test_odd_and_longest_names_work(tmp_path: Path, name: str) -> None:
    atomic_write_bytes(tmp_path / name, b"x")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_temporary_names_are_known_and_hidden_and_never_the_same(tmp_path: Path) -> None:
    names = {temporary_beside(tmp_path / "x.mp4").name for _ in range(100)}
    assert len(names) == 100
    assert all(is_temporary(name) and name.startswith(".") for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "", ".tv-.tmp", ".tv-0123456789abcdef", "0123456789abcdef.tmp", ".tv-0123456789abcdeg.tmp",
        ".tv-0123456789abcdef0.tmp", "x.tv-0123456789abcdef.tmp", ".tv-0123456789ABCDEF.tmp",
        ".tv-0123456789abcdef.tmp\n",
    ],
)  # fmt: skip
def test_other_names_are_not_temporary(name: str) -> None:
    assert not is_temporary(name)
    assert is_temporary(".tv-0123456789abcdef.tmp")


@given(st.binary(max_size=4096) | st.integers(0, 3).map(lambda n: b"ab" * (n << 19)))
def test_checksum_is_blake2b_of_128_bits(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(content)
        assert checksum(path) == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_require_writable_makes_the_folder_and_leaves_nothing(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b", "the dataset folder")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_where_a_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, why in (("file", "File exists"), ("file/below", "Not a directory")):
        for check in (require_writable, make_folder):
            with pytest.raises(UsageError) as caught:
                check(tmp_path / path, "the dataset folder")
            told = str(caught.value)
            assert told.startswith(f"cannot create the dataset folder {tmp_path / path}: {why}")
            assert "--root" in told


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_a_place_that_takes_no_file_is_told() -> None:
    # Bits mean nothing to root, so this is a file system that refuses everybody.
    with pytest.raises(UsageError, match=r"cannot write into the dataset folder /proc/self/fdinfo"):
        require_writable(Path("/proc/self/fdinfo"), "the dataset folder")
    with pytest.raises(UsageError, match="cannot create the dataset folder /proc/new"):
        require_writable(Path("/proc/new"), "the dataset folder")
