"""The configuration in force: defaults, then trackverse.toml, then TRACKVERSE_*, then flags."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import tomli

from trackverse_cli.config_check import hint, is_secret, shown_value, source_of, validate
from trackverse_cli.errors import ConfigError
from trackverse_cli.layout import Layout
from trackverse_cli.redaction import guard_setting
from trackverse_cli.settings import SelectSettings, Settings, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONFIG_NAME = "trackverse.toml"
ROOT_VARIABLE = "TRACKVERSE_DB"
SECRETS_VARIABLE = "TRACKVERSE_SECRETS_FROM"
"""Names the file that a job's secrets are read from: its own configuration holds none."""

_PREFIX = "TRACKVERSE_"
_RESERVED = "TRACKVERSE_REQUIRE_"
_SELECTION = "selection."
_PATH_KEYS = (("dataset", "root"), ("download", "cookies"), ("pace", "dir"))
_SELECT_PATHS = ("videos", "tracks", "exclude_videos_of", "only")

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Config:
    """A validated configuration and where each value came from.

    Attributes:
        settings: the values.
        origins: dotted key -> "flag --root", "TRACKVERSE_…" or "FILE"; a default has no entry.
        file: the configuration file that was read, or None.
        selection: which tracks are meant: the named selection with the flags of this call on top.
        selection_flags: those flags alone, by key of `SelectSettings`.
    """

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None
    selection: SelectSettings
    selection_flags: Mapping[str, Any]

    @property
    def layout(self) -> Layout:
        """The paths of the dataset folder.

        Raises:
            ConfigError: no dataset folder is set.
        """
        root = self.settings.dataset.root
        if root is None:
            raise ConfigError(
                "no dataset folder is set: give --root DIR, set TRACKVERSE_DB, or write one with "
                "`trackverse config init`"
            )
        return Layout(root)


def load_config(
    file: Path | None,
    flags: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read and join all layers.

    Args:
        file: what `--config` named, or None to look in the usual places.
        flags: dotted key -> value of the flags that were given; those of a selection stand
            under `selection.`.
        environ: the environment, this process's own if None.

    Raises:
        ConfigError: a file that is missing or no TOML, an unknown key, a value of another type.
    """
    environ = os.environ if environ is None else environ
    tree: Tree = {}
    origins: dict[str, str] = {}
    _add_secrets(tree, origins, environ.get(SECRETS_VARIABLE, ""))
    variables = _environment(environ)
    root = flags.get("dataset.root") or variables.get("dataset.root")
    path = file or _find(Path(root) if root else None)
    if path is not None:
        for dotted, value in _leaves(_read(path)):
            _put(tree, origins, dotted, value, str(path))
        _absolute_paths(tree, path.absolute().parent)
    for key, value in variables.items():
        _put(tree, origins, tuple(key.split(".")), value, _variable_of(key, environ))
    chosen = {k.removeprefix(_SELECTION): v for k, v in flags.items() if k.startswith(_SELECTION)}
    for key, value in flags.items():
        if not key.startswith(_SELECTION):
            _put(tree, origins, tuple(key.split(".")), value, f"flag {_flag(key)}")
    _absolute_paths(tree, Path.cwd())
    for dotted, value in _leaves(tree):
        guard_setting(".".join(dotted), value)
    settings = validate(Settings, tree, origins, "")
    _check_plugin_tables(settings, origins)
    return Config(settings, origins, path, _selection(settings, origins, chosen), chosen)


def _selection(
    settings: Settings, origins: Mapping[str, str], chosen: Mapping[str, Any]
) -> SelectSettings:
    """Return the named selection with the flags on top."""
    name = settings.dataset.select
    if name and name not in settings.select:
        where, near = source_of("dataset.select", origins), hint(name, sorted(settings.select))
        raise ConfigError(f"{where}: no [select.{name}] is in the configuration; {near}")
    named = settings.select[name].model_dump(exclude_unset=True) if name else {}
    told = {f"select.{key}": f"flag --{key.replace('_', '-')}" for key in chosen}
    return validate(SelectSettings, named | dict(chosen), told, "select")


def _check_plugin_tables(settings: Settings, origins: Mapping[str, str]) -> None:
    """Refuse a table of a plugin that is not there, and a key that its plugin does not know."""
    if not (settings.executor or settings.decoder):
        return
    from trackverse_cli.plugins import find_plugins

    for kind, tables in (("executor", settings.executor), ("decoder", settings.decoder)):
        for name, table in tables.items():
            found = [f for f in find_plugins() if f.name == name and f.kind in (kind, None)]
            for one in found:
                if one.plugin is not None:
                    validate(one.plugin.settings, table, origins, f"{kind}.{name}")
            if not found:
                known = sorted({f.name for f in find_plugins() if f.kind == kind})
                dotted = f"{kind}.{name}"
                raise ConfigError(
                    f"{source_of(dotted, origins)}: [{dotted}] is the table of no {kind} that is "
                    f"installed; {hint(name, known)}"
                )


def _find(root: Path | None) -> Path | None:
    from platformdirs import user_config_path

    places = [Path(CONFIG_NAME)]
    if root is not None:
        places.append(root / CONFIG_NAME)
    places.append(user_config_path("trackverse") / CONFIG_NAME)
    return next((place for place in places if place.is_file()), None)


def _read(path: Path) -> Tree:
    try:
        return tomli.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {error.strerror}; write one with "
            "`trackverse config init`"
        ) from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _add_secrets(tree: Tree, origins: dict[str, str], file: str) -> None:
    if not file:
        return
    for dotted, value in _leaves(_read(Path(file))):
        if is_secret(".".join(dotted), value):
            _put(tree, origins, dotted, value, file)


def _leaves(tree: Tree, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _put(
    tree: Tree, origins: dict[str, str], dotted: tuple[str, ...], value: Any, source: str
) -> None:
    for depth, part in enumerate(dotted[:-1], 1):
        below = tree.setdefault(part, {})
        if not isinstance(below, dict):
            above = ".".join(dotted[:depth])
            raise ConfigError(
                f"{origins.get(above, source)}: {above} = {shown_value(above, below)!r}: "
                "should be a table"
            )
        tree = below
    tree[dotted[-1]] = value
    key = ".".join(dotted)
    for replaced in [old for old in origins if old.startswith(key + ".")]:
        del origins[replaced]
    origins[key] = source


def _absolute_paths(tree: Tree, base: Path) -> None:
    selections = tree.get("select")
    tables = [(tree.get(section), key) for section, key in _PATH_KEYS]
    if isinstance(selections, dict):
        tables += [(table, key) for table in selections.values() for key in _SELECT_PATHS]
    for table, key in tables:
        value = table.get(key) if isinstance(table, dict) else None
        if isinstance(table, dict) and isinstance(value, (str, Path)) and str(value):
            if str(value).startswith("browser:"):
                continue  # cookies of a browser, and no path
            try:
                table[key] = base / Path(value).expanduser()
            except RuntimeError:  # ~somebody whom this machine does not know
                table[key] = base / value


def _environment(environ: Mapping[str, str]) -> Tree:
    found: Tree = {}
    if environ.get(ROOT_VARIABLE):
        found["dataset.root"] = environ[ROOT_VARIABLE]
    for name, text in environ.items():
        if name.startswith(_PREFIX) and "__" in name and not name.startswith(_RESERVED):
            dotted = _dotted(name)
            found[".".join(dotted)] = _value(dotted, text)
    return found


def _dotted(name: str) -> list[str]:
    parts = name.removeprefix(_PREFIX).lower().split("__")
    if parts[0] == "submit" and parts[1].replace("_", "-") in get_args(Stage):
        parts[1] = parts[1].replace("_", "-")
    return parts


def _value(dotted: list[str], text: str) -> Any:
    """Read a table or list as TOML, and what goes to yt-dlp; the models convert the rest."""
    if dotted[0] in ("executor", "decoder") and text.lstrip()[:1] not in ("{", "["):
        return text  # a plugin's `12:00:00` is no time of day, and its `007` no number
    kind: Any = Settings
    for part in dotted:
        fields = getattr(kind, "model_fields", {})
        kind = fields[part].annotation if part in fields else dict
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        origin = next((get_origin(arg) for arg in get_args(kind) if get_origin(arg)), None)
    if kind is dict or origin in (dict, list, tuple):
        try:
            return tomli.loads(f"value = {text}")["value"]
        except tomli.TOMLDecodeError:
            return text
    return text


def _variable_of(key: str, environ: Mapping[str, str]) -> str:
    for name in environ:
        if name.startswith(_PREFIX) and "__" in name and ".".join(_dotted(name)) == key:
            return name
    return ROOT_VARIABLE


def _flag(key: str) -> str:
    special = {"dataset.metadata": "--meta", "pipeline.remove_videos": "--remove-videos"}
    return special.get(key, "--" + key.rpartition(".")[2].replace("_", "-"))
