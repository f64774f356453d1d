"""The command line as a person and a script meet it: help, options, exit codes, what it loads."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

import trackverse_cli
from trackverse_cli.app import _globals_first, app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.project import Project

HEAVY = {
    "torch", "yt_dlp", "av", "pyarrow", "scipy", "cv2", "numpy", "pydantic", "loguru",
    "huggingface_hub", "httpx",
}  # fmt: skip
NEVER_AT_IMPORT = {"torch", "yt_dlp", "pyarrow", "huggingface_hub", "httpx"}
HOMES = {
    "av": {
        "encode",
        "probe",
        "demo",
        "download_check",
        "dataset.frames",
        "decoding.opening",
        "decoding.reader",
    },
    "scipy": {"boxes"},
    "cv2": set[str](),
}
PACKAGE = Path(trackverse_cli.__file__).parent
PLUGINS = PACKAGE.parent / "plugins"


def fresh(code: str, *words: str) -> str:
    """Run Python in a process of its own; return what it printed last."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


LOADED = """
import json, sys
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
HELPS = f"""
import sys
from trackverse_cli.app import app
try:
    app(sys.argv[1:])
except SystemExit:
    pass
{LOADED}
"""


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["verify", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    loaded = set(json.loads(fresh(HELPS, *words)))
    assert {"typer", "pluggy"} <= loaded
    # Newer typers read the options of a command with pydantic themselves.
    assert loaded & HEAVY <= ({"pydantic"} if "verify" in words else set())
    assert {name for name in loaded if name.startswith("trackverse_")} == {"trackverse_cli"}


def modules(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    """Every module below a folder, by its dotted name."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST, *, at_import: bool = False) -> set[str]:
    """Return the dotted names that a module imports; of those at its import only, if asked."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif (at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)) or (
            at_import and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            continue
        else:
            found |= imported(node, at_import=at_import)
    return found


CORE = dict(modules(PACKAGE))
FOR_TORCH = (
    "trackverse_cli.dataset"  # whoever imports it has torch already; nothing else of ours does
)


def test_the_core_is_looked_at_as_a_whole() -> None:
    assert {"trackverse_cli", "trackverse_cli.app", "trackverse_cli.commands.verify"} <= set(CORE)


@pytest.mark.parametrize("name", CORE)
def test_the_core_imports_no_plugin_and_nothing_heavy_before_it_is_used(name: str) -> None:
    everywhere = {full.partition(".")[0] for full in imported(CORE[name])}
    assert not {top for top in everywhere if top.startswith("trackverse_")} - {"trackverse_cli"}
    tops = {full.partition(".")[0] for full in imported(CORE[name], at_import=True)}
    if not name.startswith(FOR_TORCH):
        assert tops & NEVER_AT_IMPORT == set()
    module = name.removeprefix("trackverse_cli.")
    for package, homes in HOMES.items():
        assert package not in tops or module in homes, f"{name} imports {package}"


def test_importing_all_of_the_core_loads_nothing_that_may_wait() -> None:
    names = [n for n in CORE if not n.endswith("__main__") and not n.startswith(FOR_TORCH)]
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)\n{LOADED}"
    assert set(json.loads(fresh(code))) & NEVER_AT_IMPORT == set()


@pytest.mark.parametrize("name", ["trackverse_cli.interfaces", "trackverse_cli.testing"])
def test_what_plugins_import_is_light(name: str) -> None:
    loaded = set(json.loads(fresh(f"import {name}\n{LOADED}")))
    assert loaded & HEAVY == set()
    assert "pytest" not in loaded


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_no_thread_a_core_is_started_for_what_nobody_does() -> None:
    code = """
        import os, sys
        from trackverse_cli.app import main
        sys.argv = ["trackverse", "--version"]
        try:
            main()
        except SystemExit:
            pass
        import numpy, scipy.linalg
        sys.exit(len(os.listdir("/proc/self/task")) - 1)
    """
    clean = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=clean, check=False)
    assert done.returncode == 0


def test_commands_import_lightly() -> None:
    allowed = {"trackverse_cli.commands.options"}
    for name, tree in CORE.items():
        if name.startswith("trackverse_cli.commands"):
            own = {f for f in imported(tree, at_import=True) if f.startswith("trackverse_cli")}
            assert {f.rpartition(".")[0] for f in own} <= allowed, name


PLUGIN_MODULES = {
    name: tree for folder in sorted(PLUGINS.glob("trackverse_*")) for name, tree in modules(folder)
}


@pytest.mark.parametrize("name", PLUGIN_MODULES)
def test_a_plugin_imports_only_what_is_promised_to_plugins(name: str) -> None:
    own = name.partition(".")[0]
    for full in imported(PLUGIN_MODULES[name]):
        if full.startswith("trackverse_") and full.partition(".")[0] != own:
            promised = (
                "trackverse_cli.interfaces.", "trackverse_cli.errors.", "trackverse_cli.decoding.",
            )  # fmt: skip
            assert full == "trackverse_cli.hookimpl" or full.startswith(promised), full


def test_a_plugin_is_listed_without_loading_what_it_works_with() -> None:
    code = f"from trackverse_cli.plugins import find_plugins\nassert find_plugins()\n{LOADED}"
    loaded = set(json.loads(fresh(code)))
    assert {"trackverse_local", "trackverse_pyav"} <= loaded
    assert loaded & (HEAVY - {"pydantic"}) == set()


def commands() -> Iterator[list[str]]:
    group = typer.main.get_command(app)
    names: dict[str, object] = getattr(group, "commands", {})
    yield []
    for name, command in names.items():
        yield [name]
        for below in getattr(command, "commands", {}):
            yield [name, below]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_reads_well_on_80_columns(words: list[str]) -> None:
    env = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}
    result = CliRunner().invoke(app, [*words, "--help"], env=env)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "..." not in result.stdout.partition("Commands:")[2]
    head = result.stdout.partition("Options:")[0]
    assert len(head.splitlines()) > 3, "says nothing about what it does"
    short = CliRunner().invoke(app, [*words, "-h"], env=env)
    assert short.stdout == result.stdout
    for name in [line.split()[0] for line in lines if line.startswith("  --")]:
        [line] = [x for x in lines if x.startswith(f"  {name} ") or x.strip() == name]
        assert line.strip() != name or words == [], f"{name} has no help"


def test_the_contract_commands_are_there() -> None:
    found = {words[0] for words in commands() if words}
    assert {
        "fetch-meta", "download-videos", "extract-tracks", "download-tracks", "verify", "submit",
        "config", "plugins", "doctor", "demo",
    } <= found  # fmt: skip


def test_version_and_module(project: Project) -> None:
    for spawned in (project.spawn("--version"), project.run("verify", "--version")):
        assert spawned.exits(0).out == f"trackverse {trackverse_cli.__version__}\n"
    script = Path(sys.executable).with_name("trackverse")
    if script.exists():
        told = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
        assert told.stdout == f"trackverse {trackverse_cli.__version__}\n"


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        ("verify --root X -q", "--root X -q verify"),
        ("verify --root=X --json", "--root=X verify --json"),
        ("submit --config c -vv --meta m --dry-run", "--config c -vv --meta m submit --dry-run"),
        ("--root X verify --quiet", "--root X --quiet verify"),
        ("show -- --root X -q", "show -- --root X -q"),
        ("-q show -- -v", "-q show -- -v"),
        ("show -vabcdefghij", "show -vabcdefghij"),
        ("config init x --root y", "--root y config init x"),
        ("verify --rootless X", "verify --rootless X"),
        ("verify --root --json", "--root --json verify"),
        ("", ""),
    ],
)
def test_global_options_stand_before_or_after(given: str, moved: str) -> None:
    assert _globals_first(given.split()) == moved.split()


def test_global_options_have_their_effect_at_both_places(project: Project) -> None:
    project.env["TRACKVERSE_DB"] = "/elsewhere"
    for words in (
        ["config", "--json", "--root", "/x", "--meta", "m"],
        ["--root=/x", "--meta=m", "config", "--json"],
        ["--root", "/y", "config", "--root", "/x", "--json", "--meta", "m"],
    ):
        answer = project.run(*words).exits(0).json
        assert answer["dataset.root"] == {"value": "/x", "origin": "flag --root"}
        assert answer["dataset.metadata"] == {"value": ["m"], "origin": "flag --meta"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["verify", "--root"], "Option '--root' requires an argument"),
        (["--config"], "Option '--config' requires an argument"),
        (["nosuch"], "No such command 'nosuch'"),
        (["verify", "--levle", "probe"], "--levle"),
        (["verify", "--level", "deep"], "probe"),
        (["submit", "--world-size", "0"], "--world-size"),
        (["submit", "--world-size", "4097"], "--world-size"),
        (["submit", "--stage", "cut"], "flag --stage: [submit] stage = 'cut'"),
        (["extract-tracks", "--workers", "-1"], "--workers"),
        (["extract-tracks", "--rank", "x"], "--rank"),
        (["verify", "too", "much"], "unexpected extra argument"),
    ],
)
def test_wrong_use_is_2_and_says_what(project: Project, words: list[str], told: str) -> None:
    project.video("abcdefghijk", frames=10)
    project.track("abcdefghijk", 0.0, 0.3)
    project.fetch()
    result = project.run(*words).exits(2).says(told)
    assert result.out == ""


@pytest.mark.parametrize("words", [["--rank", "3", "--world-size", "3"], ["--rank", "-1"]])
def test_a_rank_outside_its_world_is_2(project: Project, words: list[str]) -> None:
    project.video("abcdefghijk", frames=10)
    project.track("abcdefghijk", 0.0, 0.3)
    project.fetch()
    for command in ("extract-tracks", "verify", "download-videos"):
        project.run(command, *words).exits(2).says("rank")


def test_no_command_shows_the_help() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "fetch-meta" in result.output


def test_a_traceback_only_with_v(project: Project) -> None:
    (project.folder / "trackverse.toml").write_text("[extract]\nworkrs = 3")
    quiet = project.spawn("config").exits(2)
    assert quiet.out == ""
    assert quiet.err.count("\n") == 1
    assert quiet.err.startswith("trackverse: trackverse.toml: unknown key [extract] workrs")
    for words in (["config", "-v"], ["-v", "config"], ["config", "-vv"]):
        loud = project.spawn(*words).exits(2)
        assert "Traceback" in loud.err
        assert loud.err.splitlines()[-1] == quiet.err.strip()


@pytest.mark.parametrize(
    "words",
    [
        ["config"], ["plugins"], ["doctor"], ["verify"], ["verify", "--level", "decode"],
        ["fetch-meta", "--list"],
    ],
)  # fmt: skip
def test_json_is_one_object_and_nothing_else(project: Project, words: list[str]) -> None:
    project.video("abcdefghijk", frames=10)
    project.track("abcdefghijk", 0.0, 0.3)
    project.fetch()
    for place in ([*words, "--json"], [*words, "--json", "-v"], ["-q", *words, "--json"]):
        result = project.run(*place)
        decoder = json.JSONDecoder()
        value, end = decoder.raw_decode(result.out)
        assert isinstance(value, dict)
        assert result.out[end:] == "\n"


def test_verify_json_has_its_keys_and_its_sums(project: Project) -> None:
    project.video("abcdefghijk", frames=40)
    project.track("abcdefghijk", 0.1, 1.0)
    project.track("-bcdefghijk", 0.1, 1.0)
    project.fetch()
    project.run("extract-tracks").exits(1)
    answer = project.run("verify", "--json").exits(1).json
    assert {"complete", "videos", "clips", "reasons"} <= set(answer)
    assert answer["complete"] is False
    for tally in (answer["videos"], answer["clips"]):
        assert set(tally) == {"expected", "complete", "missing", "damaged", "unrecoverable"}
        assert tally["expected"] == sum(v for k, v in tally.items() if k != "expected")
    assert sum(answer["reasons"].values()) == 1


def test_a_reader_that_leaves_early_gets_no_traceback(project: Project) -> None:
    words, env = project.command("config")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, env=env, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.returncode in (0, 1)


def test_a_full_standard_output_is_told() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs Linux's /dev/full")
    with full.open("w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "trackverse_cli", "plugins"],
            stdout=out, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
