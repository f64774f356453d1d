"""Plugins are found, listed and chosen; a broken one is listed, not fatal."""

from __future__ import annotations

import textwrap
from importlib.metadata import Distribution, EntryPoint, EntryPoints
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trackverse_cli import plugins
from trackverse_cli.errors import LacksError, UsageError
from trackverse_cli.plugins import choose_decoder, choose_executor, find_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from tests.project import Project

HEAD = """
from pydantic import BaseModel
from trackverse_cli import hookimpl
from trackverse_cli.interfaces import DecoderPlugin, ExecutorPlugin

class Settings(BaseModel):
    partition: str = "gpu"

def make(settings):
    raise AssertionError("it is listed and chosen here, not used")

def executor(name, **other):
    return ExecutorPlugin(name, "runs ranks", Settings, make, **other)
"""
EXECUTOR = '@hookimpl\ndef trackverse_register_executor():\n    return executor("{name}")\n'
DECODER = (
    "@hookimpl\ndef trackverse_register_decoder():\n"
    '    return DecoderPlugin("{name}", "brings frames", Settings, lambda path, settings: None)\n'
)


class Package(Distribution):
    """An installed distribution, as far as its name goes."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def metadata(self) -> Any:
        return {"Name": self._name, "Version": "1.2"}

    def read_text(self, filename: str) -> str | None:
        return None

    def locate_file(self, path: str | PathLike[str]) -> Path:
        return Path(path)


class Installed:
    """Plugins beside our own, each a module of a distribution."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.points = [
            EntryPoint(name, module, "trackverse")
            for name, module in (("local", "trackverse_local"), ("pyav", "trackverse_pyav"))
        ]

    def add(self, source: str, key: str = "strange", package: str = "stranger") -> None:
        module = f"stranger_{self._folder.name}_{len(self.points)}".replace("-", "_")
        (self._folder / f"{module}.py").write_text(HEAD + textwrap.dedent(source))
        point: Any = EntryPoint(key, module, "trackverse")
        self.points.append(point._for(Package(package)))
        find_plugins.cache_clear()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    found = Installed(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "entry_points", lambda group: EntryPoints(found.points))
    find_plugins.cache_clear()
    yield found
    find_plugins.cache_clear()


def listed() -> list[tuple[str | None, str, str | None]]:
    return [(f.kind, f.name, f.problem) for f in find_plugins() if "stranger" in f.source]


def test_ours_are_found_as_any_other() -> None:
    find_plugins.cache_clear()
    found = {(f.kind, f.name): f for f in find_plugins()}
    for key in (("executor", "local"), ("decoder", "pyav")):
        assert found[key].problem is None
        assert found[key].source.startswith("trackverse ")


def test_a_strangers_plugins_are_chosen_by_name(installed: Installed) -> None:
    installed.add(EXECUTOR.format(name="cloud") + DECODER.format(name="gpu"), key="both")
    assert listed() == [("decoder", "gpu", None), ("executor", "cloud", None)]
    assert choose_executor("cloud").name == "cloud"
    assert choose_decoder("gpu").summary == "brings frames"
    assert choose_executor("local").name == "local"
    with pytest.raises(UsageError, match="no decoder is called 'cloud'"):
        choose_decoder("cloud")


@pytest.mark.parametrize(
    ("source", "kind", "problem"),
    [
        ("import no_such_package", None, "does not load: ModuleNotFoundError: No module named"),
        ("def (", None, "does not load: SyntaxError"),
        ("raise SystemExit(4)", None, "does not load: SystemExit: 4"),
        ("import sys; sys.exit()", None, "does not load: SystemExit"),
        ('raise RuntimeError("")', None, "does not load: RuntimeError"),
        ('raise RuntimeError("\\nfirst\\nsecond")', None, "does not load: RuntimeError: first"),
        ("", None, "offers neither executor nor decoder"),
        ("def trackverse_register_executor(): 1 / 0", None, "offers neither"),
        ("@hookimpl\ndef trackverse_register_executor(): return None", None, "offers neither"),
        (
            "@hookimpl\ndef trackverse_register_executor(extra): return None",
            None, "does not load: PluginValidationError",
        ),
        (
            "@hookimpl\ndef trackverse_register_executor(): 1 / 0",
            "executor", "does not register: ZeroDivisionError: division by zero",
        ),
        (
            "@hookimpl\ndef trackverse_register_decoder(): raise SystemExit",
            "decoder", "does not register: SystemExit",
        ),
        (
            "@hookimpl\ndef trackverse_register_executor(): return 'slurm'",
            "executor", "registered str, not ExecutorPlugin",
        ),
        (
            "@hookimpl\ndef trackverse_register_decoder(): return [executor('x')]",
            "decoder", "registered list, not DecoderPlugin",
        ),
        (
            "@hookimpl\ndef trackverse_register_decoder(): return executor('x')",
            "decoder", "registered ExecutorPlugin, not DecoderPlugin",
        ),
        (
            "@hookimpl\ndef trackverse_register_executor(): return executor(7)",
            "executor", "its name 7",
        ),
        (
            "@hookimpl\ndef trackverse_register_executor(): return executor('')",
            "executor", "its name ''",
        ),
        (
            "@hookimpl\ndef trackverse_register_executor():"
            " return ExecutorPlugin('x', 'y', dict, make)",
            "executor", "no pydantic model",
        ),
    ],
)  # fmt: skip
def test_a_broken_one_is_listed_and_harms_nobody(
    installed: Installed, source: str, kind: str | None, problem: str
) -> None:
    installed.add(source, key="strange")
    installed.add(EXECUTOR.format(name="sound"), key="sound", package="stranger-two")
    broken, sound = sorted(listed(), key=lambda f: f[2] is None)
    assert broken[:2] == (kind, "strange")
    assert broken[2] is not None
    assert broken[2].startswith(problem) or problem in broken[2]
    assert "\n" not in broken[2]
    assert sound == ("executor", "sound", None)
    assert choose_executor("local")
    assert choose_executor("sound")
    with pytest.raises(LacksError, match=r"'strange' of stranger 1\.2 cannot be used here"):
        (choose_decoder if kind == "decoder" else choose_executor)("strange")


def test_one_hook_that_raises_does_not_cost_the_other(installed: Installed) -> None:
    installed.add(
        EXECUTOR.format(name="cloud") + "@hookimpl\ndef trackverse_register_decoder(): 1 / 0"
    )
    assert ("executor", "cloud", None) in listed()
    assert choose_executor("cloud")


def test_two_that_offer_one_name_are_both_listed_and_neither_is_chosen(
    installed: Installed,
) -> None:
    installed.add(EXECUTOR.format(name="cloud"), key="one", package="stranger-one")
    installed.add(EXECUTOR.format(name="cloud"), key="two", package="stranger-two")
    installed.add(DECODER.format(name="cloud"), key="three", package="stranger-three")
    problems = [f.problem for f in find_plugins() if (f.kind, f.name) == ("executor", "cloud")]
    assert problems == [
        "the name is also taken by stranger-two 1.2; uninstall one of them",
        "the name is also taken by stranger-one 1.2; uninstall one of them",
    ]
    with pytest.raises(UsageError, match=r"stranger-one 1\.2 and stranger-two 1\.2; uninstall"):
        choose_executor("cloud")
    assert choose_decoder("cloud")


def test_a_stranger_cannot_take_the_place_of_ours(installed: Installed) -> None:
    installed.add(EXECUTOR.format(name="local"))
    with pytest.raises(UsageError, match="is offered by"):
        choose_executor("local")


def test_a_broken_one_with_the_key_of_ours_does_not_hide_it(installed: Installed) -> None:
    installed.add("import no_such_package", key="local")
    assert choose_executor("local").name == "local"
    assert (None, "local") in [(f.kind, f.name) for f in find_plugins()]


def test_equal_keys_of_two_packages_are_both_listed(installed: Installed) -> None:
    installed.add(EXECUTOR.format(name="a"), key="same", package="stranger-one")
    installed.add(EXECUTOR.format(name="b"), key="same", package="stranger-two")
    assert listed() == [("executor", "a", None), ("executor", "b", None)]
    assert {choose_executor("a").name, choose_executor("b").name} == {"a", "b"}


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    find_plugins.cache_clear()
    with pytest.raises(UsageError, match=r"no executor is called 'locl'; did you mean 'local'\?"):
        choose_executor("locl")
    with pytest.raises(UsageError, match=r"'zzz'; known: .*pyav"):
        choose_decoder("zzz")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("'needs sbatch'", "needs sbatch"),
        ("None", None),
        ("''", None),
        ("True", "True"),
        ("1 / 0", "cannot say whether it is usable: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_unavailable_says_why(
    installed: Installed, answer: str, problem: str | None
) -> None:
    installed.add(
        "@hookimpl\ndef trackverse_register_executor():\n"
        f"    return executor('cloud', unavailable=lambda: {answer})"
    )
    assert listed() == [("executor", "cloud", problem)]
    if problem is None:
        assert choose_executor("cloud")
    else:
        with pytest.raises(LacksError, match=r"executor 'cloud' of stranger 1\.2 cannot be used"):
            choose_executor("cloud")


def test_the_command_lists_them_all(installed: Installed, project: Project) -> None:
    installed.add("raise RuntimeError('[/red] :smile: [bold]x')", key="broken")
    installed.add(EXECUTOR.format(name="cloud"), key="cloud")
    project.run("plugins").exits(0).says("cloud", "not usable", "[/red] :smile: [bold]x", "pyav")
    answer = project.run("plugins", "--json").exits(0).json
    rows = {row["name"]: row for row in answer["plugins"]}
    assert rows["cloud"] == {
        "kind": "executor", "name": "cloud", "summary": "runs ranks", "source": "stranger 1.2",
        "problem": None,
    }  # fmt: skip
    assert rows["broken"]["kind"] is None
    assert rows["broken"]["problem"].startswith("does not load: RuntimeError")
    assert {"local", "pyav"} <= set(rows)


def ready(project: Project) -> Project:
    project.video("abcdefghijk", frames=50)
    project.track("abcdefghijk", 0.2, 1.5)
    project.fetch()
    return project


def test_commands_say_it_by_their_exit_code(installed: Installed, project: Project) -> None:
    installed.add(
        "@hookimpl\ndef trackverse_register_executor():\n"
        "    return executor('cloud', unavailable=lambda: 'no sbatch on PATH')"
    )
    installed.add(EXECUTOR.format(name="twice"), key="one", package="stranger-one")
    installed.add(EXECUTOR.format(name="twice"), key="two", package="stranger-two")
    ready(project)
    project.run("submit", "--executor", "cloud").exits(3).says("no sbatch on PATH")
    project.run("submit", "--executor", "twice").exits(2).says("uninstall one of them")
    project.run("submit", "--executor", "loca").exits(2).says("did you mean 'local'?")
    project.run("extract-tracks", "--decoder", "pyva").exits(2).says("did you mean 'pyav'?")
    project.env["TRACKVERSE_EXTRACT__DECODER"] = "zzz"
    project.run("extract-tracks").exits(2).says("no decoder is called 'zzz'")


def test_a_table_is_held_against_its_plugins_model(installed: Installed, project: Project) -> None:
    installed.add(EXECUTOR.format(name="cloud"))
    file = project.folder / "trackverse.toml"
    for content, told in (
        ('[executor.cloud]\npartition = "a"', None),
        ('[executor.cloud]\npartitoin = "a"', "unknown key [executor.cloud] partitoin; did you"),
        ("[executor.cloud]\npartition = 3", "[executor.cloud] partition = 3: input should be"),
        ("[executor.clod]\n", "[executor.clod] is the table of no executor that is installed"),
        ("[decoder.cloud]\nx = 1", "[decoder.cloud] is the table of no decoder"),
        ("[executor]\ncloud = 3", "[executor] cloud = 3: input should be a valid dictionary"),
    ):
        file.write_text(content)
        result = project.run("config").exits(0 if told is None else 2)
        if told is not None:
            result.says(f"trackverse: trackverse.toml: {told}")


def test_a_table_of_a_plugin_that_does_not_load_is_let_through(
    installed: Installed, project: Project
) -> None:
    installed.add("import no_such_package", key="cloud")
    (project.folder / "trackverse.toml").write_text("[executor.cloud]\npartition = 3")
    project.run("config").exits(0)
