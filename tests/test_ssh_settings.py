"""What the executor `ssh` takes for a configuration, and how words and files keep their form."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from trackverse_cli.config_text import example_text
from trackverse_cli.interfaces import Job
from trackverse_cli.plugins import choose_executor
from trackverse_cli.testing.executors import ODD_WORDS
from trackverse_ssh.executor import SSHExecutor
from trackverse_ssh.line import Door, Line
from trackverse_ssh.places import SHARE_VARIABLE as SHARE
from trackverse_ssh.places import Place, moved
from trackverse_ssh.protocol import UnreachableError
from trackverse_ssh.remote.parcels import listing, newer, pack, target_of, unpack
from trackverse_ssh.remote.process import words_of
from trackverse_ssh.settings import SSHSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WORDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
PARTS = st.lists(st.sampled_from(["a", "b c", "it's", "data", "data2"]), min_size=1, max_size=4)


def read(**table: Any) -> SSHSettings:
    return SSHSettings.model_validate(table)


def test_hosts_are_names_or_tables() -> None:
    found = read(hosts=["a", {"name": "me@b.c", "slots": 4, "root": "/scratch/tv/"}], slots=2)
    assert [(host.name, host.slots, host.root) for host in found.hosts] == [
        ("a", None, ""),
        ("me@b.c", 4, "/scratch/tv"),
    ]
    assert [host.name for host in read(hosts="a, b c").hosts] == ["a", "b", "c"]  # a variable


@pytest.mark.parametrize(
    "name",
    ["", "-oProxyCommand=id", "a b", "a\n", "a\0", "a;id", "$(id)", "a:b", "a/b", "..", "../a",
     "'a'", "ä", "a" * 300, "@a", ".a", "--", "a`id`", "~", "a=b"],
)  # fmt: skip
def test_a_hostile_host_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="is no host name"):
        read(hosts=[name] if name.strip() else [{"name": name}])


@pytest.mark.parametrize(
    "table",
    [
        {"hosts": ["a", "a"]},
        {"hosts": [{"name": "a", "root": "relative"}]},
        {"hosts": [{"name": "a", "root": "/"}]},
        {"hosts": [{"name": "a", "root": "/a/../b"}]},
        {"hosts": [{"name": "a", "slot": 2}]},
        {"hosts": [{"name": "a", "slots": 0}]},
        {"hosts": 3},
        {"python": "-c"},
        {"python": "a\nb"},
        {"ssh": []},
        {"host": ["a"]},
    ],
)
def test_a_wrong_value_is_refused(table: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(**table)


def test_the_plugin_offers_what_the_core_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = choose_executor("ssh")
    assert not plugin.foreground
    assert "[executor.ssh]\n" in example_text()
    monkeypatch.setenv("PATH", "")
    assert plugin.unavailable() == "the command ssh is not on PATH; install an OpenSSH client"


def fake_ssh(folder: Path) -> list[str]:
    """An ssh without a network: what follows the host's name goes to a shell, as sshd does it."""
    path = folder / "an ssh"
    path.write_text(
        '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\necho Welcome!\nexec sh -c "$*"\n'
    )
    path.chmod(0o755)
    return [str(path)]


@pytest.mark.parametrize("folder", ["plain", "two words", "it's $HOME `id`", 'a "b" \\ ; *'])
def test_an_odd_path_of_the_interpreter_arrives(tmp_path: Path, folder: str) -> None:
    python = tmp_path / folder / "py"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    line = Line.of(read(ssh=fake_ssh(tmp_path)))
    answer = line.call(Door("h", str(python)), {"do": "list", "root": "/no such", "tops": []})
    assert answer == {"files": {}}


def test_without_an_answer_the_reason_is_what_ssh_said(tmp_path: Path) -> None:
    line = Line.of(read(ssh=["sh", "-c", "echo first >&2; echo the reason >&2; exit 255"]))
    with pytest.raises(UnreachableError, match=r"^the reason$"):
        line.call(Door("h", "python3"), {"do": "list", "root": "/", "tops": []})
    with pytest.raises(UnreachableError, match="cannot run /no/ssh"):
        Line.of(read(ssh=["/no/ssh"])).call(Door("h", "python3"), {"do": "list"})
    with pytest.raises(UnreachableError, match="it has no /no/python; set `python`"):
        Line.of(read(ssh=fake_ssh(tmp_path))).call(Door("h", "/no/python"), {"do": "list"})
    hangs = Line.of(read(ssh=["sh", "-c", "sleep 60"], call_timeout_seconds=0.2))
    with pytest.raises(UnreachableError, match="no answer within"):
        hangs.call(Door("h", "python3"), {"do": "list"})


SAYS = "import json, sys; print(json.dumps(sys.argv[1:]))"


def said(words: list[str]) -> list[str]:
    done = subprocess.run(words, capture_output=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@settings(max_examples=25, deadline=None)
@given(WORDS)
@example(list(ODD_WORDS))
def test_setup_lines_leave_the_words_unchanged(words: list[str]) -> None:
    command = words_of([sys.executable, "-c", SAYS, *words], ["WORD=1", "true # it's"])
    assert said(command) == words


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(WORDS)
@example(list(ODD_WORDS))
def test_a_described_line_leaves_the_words_unchanged(tmp_path: Path, words: list[str]) -> None:
    command = (sys.executable, "-c", SAYS, *words)
    job = Job("t", command, 1, (0,), tmp_path, {"WORD": "it's $HOME"})
    text = SSHExecutor(read(hosts=["h"], ssh=fake_ssh(tmp_path))).describe(job)
    assert said(["sh", "-c", text]) == [*words, "--rank", "0", "--world-size", "1"]


@given(PARTS, PARTS, PARTS)
def test_only_the_root_and_what_is_below_it_moves(
    root: list[str], word: list[str], new: list[str]
) -> None:
    old, there = "/" + "/".join(root), "/" + "/".join(new)
    inside = f"{old}/" + "/".join(word)
    assert moved(inside, old, there) == f"{there}/" + "/".join(word)
    assert moved(old, old, there) == there
    for other in ("/".join(word), f"{old}2", f"x{old}", "", "--flag"):
        assert moved(other, old, there) == other


def test_a_place_rewrites_words_variables_and_interpreter(tmp_path: Path) -> None:
    root, config = tmp_path / "root", tmp_path / "a.toml"
    config.touch()
    command = (sys.executable, "--config", str(config), "--root", str(root), f"{root}s", "x")
    env = {"A": f"{root}/state", "B": "b"}
    job = Job("t", command, 2, (0,), root / "logs" / "j", env, root)
    known = read(hosts=[{"name": "h", "root": "/own", "python": "/py"}, "s"], python="/usual")
    own, shared = (Place.of_job(host, known, job, job.log_dir / "ssh-1") for host in known.hosts)
    assert own.log_dir == "/own/logs/j"
    assert own.words(job, 0) == [
        "/py", "--config", "/own/logs/j/ssh-1/h/0-a.toml", "--root", "/own", f"{root}s", "x",
        "--rank", "0", "--world-size", "2",
    ]  # fmt: skip
    assert own.env(job) == {"A": "/own/state", "B": "b"}
    assert shared.words(job, 0) == ["/usual", *job.words(0)[1:]]
    assert (shared.env(job), shared.cwd(job), own.cwd(job)) == (env, str(root), "/own")
    assert Place.of_json(json.loads(json.dumps(vars_of(own)))) == own


def vars_of(place: Place) -> dict[str, Any]:
    return {name: getattr(place, name) for name in place.__slots__}


SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("name", "there", "here", "brought"),
    [
        ("tracks_mp4/a.mp4", (9, 0), None, True),
        ("tracks_mp4/a.mp4", (9, 0), (9, 0), False),
        ("tracks_mp4/a.mp4", (5, 9 * SECOND), (9, 0), True),
        ("tracks_mp4/a.mp4", (9, 0), (5, 9 * SECOND), False),
        ("tracks_mp4/a.mp4", (9, SECOND), (9, 0), False),  # a file system of whole seconds
        ("ledger/a.jsonl", (9, 0), (5, 9 * SECOND), True),
        ("ledger/a.jsonl", (5, 9 * SECOND), (9, 0), False),
        ("ledger/a.jsonl", (9, 9 * SECOND), (9, 0), False),
    ],
)
def test_what_is_brought(
    name: str, there: tuple[int, int], here: tuple[int, int] | None, brought: bool
) -> None:
    assert newer({name: there}, {name: here} if here else {}) == [name] * brought


def test_what_is_packed_arrives_with_its_time(tmp_path: Path) -> None:
    names = ["ledger/ü it's.jsonl", "tracks_mp4/a/b.mp4"]
    for name in names:
        (tmp_path / "from" / name).parent.mkdir(parents=True)
        (tmp_path / "from" / name).write_text(name * 999)
    (tmp_path / "from/tracks_mp4/link.mp4").symlink_to("/etc/passwd")
    (tmp_path / "from/tracks_mp4/.hidden").touch()
    before = listing(tmp_path / "from", ("ledger", "tracks_mp4", "nothing"))
    assert sorted(before) == names
    stream = io.BytesIO()
    pack(tmp_path / "from", [*names, "ledger/gone"], stream)
    whole = stream.getvalue()
    assert unpack(io.BytesIO(whole), tmp_path / "to", frozenset(names)) == 2
    assert listing(tmp_path / "to", ("ledger", "tracks_mp4")) == before
    for cut in range(0, len(whole), 3001):  # a connection that breaks
        target = tmp_path / f"cut{cut}"
        with suppress(tarfile.TarError, EOFError, OSError):
            unpack(io.BytesIO(whole[:cut]), target, frozenset(names))
        for path in (path for path in target.rglob("*") if path.is_file()):
            assert path.read_text() == str(path.relative_to(target)) * 999


def hostile(name: str, **facts: Any) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo(name)
        for key, value in facts.items():
            setattr(member, key, value)
        tar.addfile(member, io.BytesIO(b"x" * member.size))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("tracks_mp4/../../out", {"size": 1}),
        ("/tmp/out", {"size": 1}),
        ("tracks_mp4/other.mp4", {"size": 1}),
        ("tracks_mp4/a.mp4", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("tracks_mp4/a.mp4", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
        ("tracks_mp4/a.mp4", {"type": tarfile.DIRTYPE}),
        ("tracks_mp4/a.mp4", {"type": tarfile.FIFOTYPE}),
    ],
)
def test_a_hostile_stream_is_refused(tmp_path: Path, name: str, facts: dict[str, Any]) -> None:
    root = tmp_path / "root"
    with pytest.raises(ValueError, match="which was not asked for"):
        unpack(io.BytesIO(hostile(name, **facts)), root, frozenset(["tracks_mp4/a.mp4"]))
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]


def test_the_top_folder_may_be_a_link_and_none_below_it(tmp_path: Path) -> None:
    root, disk = tmp_path / "root", tmp_path / "disk"
    root.mkdir()
    disk.mkdir()
    (root / "tracks_mp4").symlink_to(disk)
    assert target_of(root, "tracks_mp4/a/b.mp4") == root / "tracks_mp4/a/b.mp4"
    (disk / "a").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="by a symbolic link"):
        target_of(root, "tracks_mp4/a/b.mp4")
    for name in ("", "/etc/passwd", "tracks_mp4//b", "tracks_mp4/../b", "tracks_mp4/a\0"):
        with pytest.raises(ValueError, match="leads out of its folder"):
            target_of(root, name)


def test_hosts_apart_divide_the_pace_unless_told_otherwise(tmp_path: Path) -> None:
    asked = SSHSettings(
        hosts=[{"name": "a", "root": "/d"}, {"name": "b", "root": "/d"}, {"name": "c"}]  # type: ignore[arg-type]
    )
    job = Job("j", ("x",), 3, (0,), tmp_path / "logs", {"A": "1"}, tmp_path)
    told = [Place.of_job(host, asked, job, tmp_path).env(job) for host in asked.hosts]
    assert told == [{"A": "1", SHARE: "2"}, {"A": "1", SHARE: "2"}, {"A": "1"}]
    job = Job("j", ("x",), 3, (0,), tmp_path / "logs", {SHARE: "7"}, tmp_path)
    assert Place.of_job(asked.hosts[0], asked, job, tmp_path).env(job) == {SHARE: "7"}
