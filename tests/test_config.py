"""The configuration: its layers, where each value came from, and what is said when it is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli

from trackverse_cli.config import Config, load_config
from trackverse_cli.config_text import example_text, values_with_origins
from trackverse_cli.errors import ConfigError
from trackverse_cli.plugins import find_plugins, plugin_settings
from trackverse_cli.settings import SelectSettings, Settings

if TYPE_CHECKING:
    from tests.project import Project

EXAMPLE = Path(__file__).parents[1] / "trackverse.toml.example"


def load(content: str = "", environ: dict[str, str] | None = None, **flags: Any) -> Config:
    """Load `content` as ./trackverse.toml; a flag's `__` is the dot of its key."""
    Path("trackverse.toml").write_text(content, encoding="utf-8")
    dotted = {key.replace("__", "."): value for key, value in flags.items()}
    return load_config(None, dotted, environ or {})


def refusal(content: str = "", environ: dict[str, str] | None = None, **flags: Any) -> str:
    """Return the sentence that refuses a configuration."""
    with pytest.raises(ConfigError) as caught:
        load(content, environ, **flags)
    told = str(caught.value)
    assert "\n" not in told
    return told


def test_each_layer_goes_before_the_one_below() -> None:
    content = '[extract]\nworkers = 1\nmax_clip_seconds = 7\n[encode]\npreset = "slow"\ncrf = 18\n'
    variables = {"TRACKVERSE_EXTRACT__WORKERS": "2", "TRACKVERSE_ENCODE__CRF": "19.5"}
    config = load(content, variables, extract__workers=3)
    settings = config.settings
    assert (settings.extract.workers, settings.extract.max_clip_seconds) == (3, 7)
    assert (settings.encode.preset, settings.encode.crf) == ("slow", 19.5)
    assert settings.extract.decoder == "pyav"
    rows = {key: (value, origin) for key, value, origin in values_with_origins(config)}
    assert rows["extract.workers"] == (3, "flag --workers")
    assert rows["encode.crf"] == (19.5, "TRACKVERSE_ENCODE__CRF")
    assert rows["encode.preset"] == ("slow", "trackverse.toml")
    assert rows["extract.decoder"] == ("pyav", "default")


def test_the_file_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    root, here = tmp_path / "root", tmp_path / "here"
    places = {
        "user": tmp_path / "home" / "trackverse" / "trackverse.toml",
        "root": root / "trackverse.toml",
        "here": here / "trackverse.toml",
        "named": tmp_path / "named.toml",
    }
    here.mkdir()
    monkeypatch.chdir(here)
    named = places["named"]

    def found(file: Path | None = None) -> str:
        seen = load_config(file, {}, {"TRACKVERSE_DB": str(root)}).settings.encode.preset
        flag = load_config(file, {"dataset.root": root}, {}).settings.encode.preset
        variable = {"TRACKVERSE_DATASET__ROOT": str(root)}
        assert seen == flag == load_config(file, {}, variable).settings.encode.preset
        return seen

    assert found() == "veryfast"
    for name, path in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'[encode]\npreset = "{name}"')
        assert found(named if name == "named" else None) == name


def test_a_named_file_that_is_not_there_is_told(project: Project) -> None:
    result = project.run("config", "--config", "nowhere.toml").exits(2)
    result.says("trackverse: cannot read the configuration nowhere.toml: No such file")
    assert result.out == ""
    project.run("config", "--config", str(project.folder)).exits(2).says("Is a directory")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[extract]\nworkrs = 3", "unknown key [extract] workrs; did you mean 'workers'?"),
        ("[extrat]\nworkers = 3", "unknown key extrat; did you mean 'extract'?"),
        ("[extrat]", "unknown key extrat; did you mean 'extract'?"),
        ("workers = 3", "unknown key workers; known: "),
        ("[pipeline]\nxyz = 3", "unknown key [pipeline] xyz; known: disk_budget"),
        ("[submit.extract_tracks]\nworld_size = 3", "did you mean 'extract-tracks'"),
        ("[submit.extract-tracks]\nworld = 3", "world; did you mean 'world_size'?"),
        ("[executor.nosuch]", "[executor.nosuch] is the table of no executor that is installed;"),
        ("[executor.locla]\nslots = 1", "installed; did you mean 'local'?"),
        ("[executor.local]\nslotz = 1", "key [executor.local] slotz; did you mean 'slots'?"),
        ("[decoder.pyav]\nthreads = -1", "[decoder.pyav] threads = -1: input should be greater"),
        ('[extract]\nworkers = "many"', "[extract] workers = 'many': input should be a valid int"),
        ("[extract]\nworkers = 2.5", "[extract] workers = 2.5: input should be a valid integer"),
        ("[extract]\nworkers = -1", "[extract] workers = -1: input should be greater than or"),
        ("[extract]\nmax_clip_seconds = 0", "max_clip_seconds = 0: input should be greater than 0"),
        ("[dataset]\nmetadata = 3", "[dataset] metadata = 3: should be a name or a list of names"),
        ("[select.small]\nper_clas = 3", "unknown key [select.small] per_clas; did you mean"),
        ("[select.small]\nper_class = 0", "[select.small] per_class = 0: input should be"),
        ("[dataset]\nselect = 'smal'\n[select.small]\nper_class = 3", "no [select.smal] is in the"),
        ("[dataset]\nroot = 3", "[dataset] root = 3: input is not a valid path"),
        ("[submit]\nworld_size = 4097", "world_size = 4097: input should be less than or equal"),
        ('[submit]\nstage = "cut"', "stage = 'cut': input should be 'download-tracks', "),
        ("extract = 3", "extract = 3: input should be a valid dictionary"),
        ("[[extract]]\nworkers = 3", "extract = [{'workers': 3}]: input should be a valid"),
        ("[download]\nyt_dlp = 3", "[download] yt_dlp = 3: input should be a valid dictionary"),
        (
            '[download]\nurl_template = "http://x/"',
            "[download] url_template = 'http://x/': must hold {video_id}",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_and_key(content: str, told: str) -> None:
    sentence = refusal(content)
    assert sentence.startswith("trackverse.toml: ")
    assert told in sentence


@pytest.mark.parametrize(
    ("content", "line"),
    [("[extract\nworkers = 3", 1), ("[extract]\nworkers = \n", 2), ("[a]\n[a]\n", 2)],
)
def test_what_is_no_toml_is_told_with_its_line(content: str, line: int) -> None:
    sentence = refusal(content)
    assert sentence.startswith("trackverse.toml is not valid TOML: ")
    assert f"line {line}" in sentence


def test_a_file_in_another_encoding_is_told(project: Project) -> None:
    (project.folder / "trackverse.toml").write_bytes(b'[dataset]\nmetadata = "\xe9"')
    project.run("config").exits(2).says("trackverse.toml is not valid TOML: ")


def test_a_byte_order_mark_does_no_harm() -> None:
    assert load("\ufeff[extract]\nworkers = 3").settings.extract.workers == 3


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("EXTRACT__WORKERS", "3", "extract.workers", 3),
        ("PIPELINE__REMOVE_VIDEOS", "true", "pipeline.remove_videos", True),
        ("DATASET__METADATA", "007", "dataset.metadata", ["007"]),
        ("SUBMIT__EXTRACT_TRACKS__EXECUTOR", "local", "submit.extract-tracks.executor", "local"),
        ("SUBMIT__EXTRACT_TRACKS__WORLD_SIZE", "64", "submit.extract-tracks.world_size", 64),
        ("SUBMIT__EXTRACT_TRACKS", "{world_size = 9}", "submit.extract-tracks.world_size", 9),
        ("DOWNLOAD__YT_DLP", '{retries = 3, format = "x"}', "download.yt_dlp.retries", 3),
        ("DOWNLOAD__YT_DLP__RETRIES", "3", "download.yt_dlp.retries", 3),
        ("DOWNLOAD__PROXY", "", "download.proxy", None),
    ],
)
def test_the_environment_reaches_every_key(name: str, text: str, key: str, value: object) -> None:
    config = load("", {f"TRACKVERSE_{name}": text})
    rows = {row: (found, origin) for row, found, origin in values_with_origins(config)}
    assert rows[key] == (value, f"TRACKVERSE_{name}")


@pytest.mark.parametrize(("text", "slots"), [("2", 2), ("007", 7)])
def test_the_environment_reaches_a_plugins_table(text: str, slots: int) -> None:
    [plugin] = [f.plugin for f in find_plugins() if (f.kind, f.name) == ("executor", "local")]
    assert plugin is not None
    config = load(
        "[executor.local]\nmemory_gib_per_rank = 8", {"TRACKVERSE_EXECUTOR__LOCAL__SLOTS": text}
    )
    own = plugin_settings(config, "executor", "local", plugin.settings)
    assert own.model_dump() == {"slots": slots, "memory_gib_per_rank": 8.0}


@pytest.mark.parametrize("text", ["12:00:00", "2026-01-01", "gpu", "1e3", "true"])
def test_words_for_a_plugin_stay_words(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("", {"TRACKVERSE_EXECUTOR__LOCAL__SLOTS": text})
    assert f"TRACKVERSE_EXECUTOR__LOCAL__SLOTS: [executor.local] slots = '{text}'" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("TRACKVERSE_EXTRACT__WORKRS", "3", "unknown key [extract] workrs; did you mean 'work"),
        ("TRACKVERSE_EXTRACT__WORKERS", "x", "[extract] workers = 'x': input should be a valid"),
        ("TRACKVERSE_EXTRACT__WORKERS", "", "[extract] workers = '': input should be a valid int"),
        ("TRACKVERSE_NOSUCH__KEY", "x", "unknown key nosuch; known:"),
        ("TRACKVERSE_EXECUTOR__LOCAL__SLOTZ", "1", "unknown key [executor.local] slotz"),
        ("TRACKVERSE_DOWNLOAD__YT_DLP", "{", "[download] yt_dlp = '{': input should be a valid"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_named(name: str, text: str, told: str) -> None:
    assert refusal("", {name: text}).startswith(f"{name}: {told}")


def test_a_table_that_is_no_table_is_blamed_on_its_own_layer() -> None:
    sentence = refusal("extract = 3", {"TRACKVERSE_EXTRACT__WORKERS": "3"})
    assert sentence == "trackverse.toml: extract = 3: should be a table"


def test_reserved_and_foreign_variables_are_left_alone() -> None:
    environ = {
        "TRACKVERSE_REQUIRE_GPU": "1", "TRACKVERSE_REQUIRE_X__Y": "1", "TRACKVERSE_DB": "",
        "TRACKVERSE_SOMETHING": "x", "OTHER__KEY": "x",
    }  # fmt: skip
    assert load("", environ).settings == Settings()


def test_trackverse_db_is_the_dataset_folder() -> None:
    config = load('[dataset]\nroot = "/from/file"', {"TRACKVERSE_DB": "/from/db"})
    assert config.layout.root == Path("/from/db")
    assert config.origins["dataset.root"] == "TRACKVERSE_DB"
    more = {"TRACKVERSE_DB": "/from/db", "TRACKVERSE_DATASET__ROOT": "/from/key"}
    assert load("", more).layout.root == Path("/from/key")
    assert load("", more, dataset__root=Path("/from/flag")).layout.root == Path("/from/flag")


def test_no_dataset_folder_is_told(project: Project) -> None:
    project.env["TRACKVERSE_DB"] = ""
    project.run("verify").exits(2).says("no dataset folder is set: give --root DIR")


def test_relative_paths_hang_on_who_says_them(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "tv.toml"
    file.write_text('[dataset]\nroot = "data"\n[download]\ncookies = "../c.txt"')
    given = Path("etc/tv.toml")
    settings = load_config(given, {}, {}).settings
    assert settings.dataset.root == tmp_path / "etc" / "data"
    assert settings.download.cookies == tmp_path / "etc" / ".." / "c.txt"
    settings = load_config(given, {"download.cookies": Path("x")}, {"TRACKVERSE_DB": "y"}).settings
    assert settings.dataset.root == tmp_path / "y"
    assert settings.download.cookies == tmp_path / "x"


def test_a_home_folder_is_found_and_an_unknown_one_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert load('[dataset]\nroot = "~/tv"').layout.root == tmp_path / "me" / "tv"
    assert load('[dataset]\nroot = "~nobody-here/tv"').layout.root == tmp_path / "~nobody-here/tv"


@pytest.mark.parametrize(
    "secret",
    [
        '[download]\nproxy = "http://me:hunter2@proxy:3128"',
        '[download]\nproxy = "socks5://me:hunter2@x@proxy:1080"',
        '[download]\nproxy = "http://:hunter2@proxy"',
        '[download.yt_dlp]\nproxy = "http://me:hunter2@proxy"',
        '[download.yt_dlp]\nsome = ["http://me:hunter2@proxy"]',
        '[download.yt_dlp]\npassword = "hunter2"\nap_password = "hunter2"',
        '[download]\nproxy = ["http://me:hunter2@proxy"]',
        '[download]\nmax_height = "http://me:hunter2@proxy"',
    ],
)
@pytest.mark.parametrize("words", [["config"], ["config", "--json"]])
def test_a_password_is_never_shown(project: Project, secret: str, words: list[str]) -> None:
    (project.folder / "trackverse.toml").write_text(secret)
    result = project.run(*words)
    assert "hunter2" not in result.out + result.err
    assert "***" in result.out + result.err


def test_a_port_is_no_password() -> None:
    config = load('[download]\nurl_template = "http://127.0.0.1:8000/a:b/{video_id}@x"')
    rows = {key: value for key, value, _ in values_with_origins(config)}
    assert rows["download.url_template"] == "http://127.0.0.1:8000/a:b/{video_id}@x"


def test_the_command_shows_values_and_origins(project: Project) -> None:
    (project.folder / "trackverse.toml").write_text('[dataset]\nmetadata = "[/red] :smile:"')
    result = project.run("config", "--root", str(project.folder / "[x]" / ("long" * 30))).exits(0)
    result.says("[/red] :smile:", "flag --root", "trackverse.toml")
    project.env["COLUMNS"] = "80"
    shown = project.run("config", "--root", "/" + "long" * 30).exits(0).out
    assert "\u2026" not in shown
    assert "submit.download-videos.world_size" in shown
    answer = project.run("config", "--json", "--root", "/x").exits(0).json
    assert answer["dataset.root"] == {"value": "/x", "origin": "flag --root"}
    assert answer["extract.workers"] == {"value": 0, "origin": "default"}


def test_the_example_is_held_against_the_model() -> None:
    find_plugins.cache_clear()
    assert EXAMPLE.read_text(encoding="utf-8") == example_text()


def test_the_example_names_every_key_with_a_line_of_why() -> None:
    lines = example_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#?\w+ = ", line):
            assert re.match(r"# [A-Zx].*\.$", lines[number - 1]), line
        assert len(line) <= 100
    named = {line.split(" = ")[0].lstrip("#") for line in lines if " = " in line}
    for key in ("url_template", "max_clip_seconds", "gop_seconds", "slots", "threads", "stage"):
        assert key in named


def test_the_example_as_it_is_and_uncommented_gives_the_defaults() -> None:
    text = example_text()
    uncommented = re.sub(r"(?m)^#(\w+ = )", r"\1", text)
    assert len(tomli.loads(uncommented)["download"]) == 11
    for content in (text, uncommented):
        config = load(content)
        settings = config.settings
        for one in find_plugins():
            if one.plugin is not None and one.kind is not None:
                own = plugin_settings(config, one.kind, one.name, one.plugin.settings)
                assert own == one.plugin.settings()
        assert settings.dataset.root == Path("/path/to/trackverse")
        assert settings.select == {"example": SelectSettings()}
        empty: dict[str, Any] = {"executor": {}, "decoder": {}, "select": {}}
        dataset = settings.dataset.model_copy(update={"root": None})
        assert settings.model_copy(update={"dataset": dataset, **empty}) == Settings()


def test_init_writes_the_example_once(project: Project) -> None:
    project.run("config", "init").exits(0).says("wrote trackverse.toml")
    written = project.folder / "trackverse.toml"
    assert written.read_text(encoding="utf-8") == example_text()
    written.write_text("# mine")
    project.run("config", "init").exits(2).says("trackverse.toml is there already")
    assert written.read_text() == "# mine"
    project.run("config", "init", "nowhere/x.toml").exits(2).says("cannot write nowhere/x.toml")


@pytest.mark.parametrize("name", ["data", 'a "b" \\c', "\u732b \U0001f408", "a\x7fb", "#x"])
def test_init_takes_the_root_as_it_is(project: Project, name: str) -> None:
    root = project.folder / name
    project.run("config", "init", "--root", name).exits(0)
    assert load_config(Path("trackverse.toml"), {}, {}).layout.root == root


def test_init_of_a_root_that_is_no_text_is_told(project: Project) -> None:
    project.run("config", "init", "--root", "/x\udcff").exits(2).says("is not valid UTF-8")
    assert not (project.folder / "trackverse.toml").exists()
