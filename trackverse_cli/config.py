"""The configuration in force: defaults, then trackverse.toml, then TRACKVERSE_*, then flags."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

import tomli
from pydantic import BaseModel, ValidationError

from trackverse_cli.errors import ConfigError
from trackverse_cli.layout import Layout
from trackverse_cli.settings import Settings, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

CONFIG_NAME = "trackverse.toml"
ROOT_VARIABLE = "TRACKVERSE_DB"
_PREFIX = "TRACKVERSE_"
_RESERVED = "TRACKVERSE_REQUIRE_"
_PATH_KEYS = (("dataset", "root"), ("download", "cookies"))

Tree = dict[str, Any]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Config:
    """A validated configuration and where each value came from.

    Attributes:
        settings: the values.
        origins: dotted key -> "flag --root", "TRACKVERSE_…" or "FILE"; a default has no entry.
        file: the configuration file that was read, or None.
    """

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None

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
        flags: dotted key -> value of the flags that were given.
        environ: the environment, this process's own if None.

    Raises:
        ConfigError: a file that is missing or no TOML, an unknown key, a value of another type.
    """
    environ = os.environ if environ is None else environ
    tree: Tree = {}
    origins: dict[str, str] = {}
    variables = _environment(environ)
    root = flags.get("dataset.root") or variables.get("dataset.root")
    path = file or _find(Path(root) if root else None)
    if path is not None:
        for dotted, value in _leaves(_read(path)):
            _put(tree, origins, dotted, value, str(path))
        _absolute_paths(tree, path.absolute().parent)
    for key, value in variables.items():
        _put(tree, origins, tuple(key.split(".")), value, _variable_of(key, environ))
    for key, value in flags.items():
        _put(tree, origins, tuple(key.split(".")), value, f"flag {_flag(key)}")
    _absolute_paths(tree, Path.cwd())
    settings = validate(Settings, tree, origins, "")
    _check_plugin_tables(settings, origins)
    return Config(settings, origins, path)


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
                    f"{_source(dotted, origins)}: [{dotted}] is the table of no {kind} that is "
                    f"installed; {_hint(name, known)}"
                )


def validate(model: type[M], tree: Mapping[str, Any], origins: Mapping[str, str], prefix: str) -> M:
    """Return `tree` as `model`, or say in one sentence which key of which file is wrong.

    Args:
        model: the pydantic model.
        tree: the values.
        origins: dotted key -> where it came from.
        prefix: dotted key of the table that `tree` is, "" for the whole.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    if model.model_config.get("extra") != "allow":
        # A stranger's model lets unknown keys pass unless it says otherwise; a typo never should.
        known = _known_keys(model, ())
        for key in tree:
            if key not in known:
                dotted = f"{prefix}.{key}".lstrip(".")
                shown = f"[{prefix}] {key}".removeprefix("[] ")
                source = _source(dotted, origins)
                raise ConfigError(f"{source}: unknown key {shown}; {_hint(key, known)}")
    try:
        return model.model_validate(_without_unset(model, tree))
    except ValidationError as error:
        raise ConfigError(_sentence(error.errors()[0], model, origins, prefix)) from None


def _sentence(
    problem: ErrorDetails, model: type[BaseModel], origins: Mapping[str, str], prefix: str
) -> str:
    loc = tuple(str(part) for part in problem["loc"])
    dotted = ".".join((*((prefix,) if prefix else ()), *loc))
    source = _source(dotted, origins)
    shown = f"[{'.'.join(dotted.split('.')[:-1])}] {dotted.split('.')[-1]}".removeprefix("[] ")
    if problem["type"] == "extra_forbidden":
        return f"{source}: unknown key {shown}; {_hint(loc[-1], _known_keys(model, loc[:-1]))}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = "" if problem["type"] == "missing" else f" = {masked(problem['input'])!r}"
    return f"{source}: {shown}{given}: {message}"


def _source(dotted: str, origins: Mapping[str, str]) -> str:
    below = (origin for key, origin in origins.items() if key.startswith(dotted + "."))
    return origins.get(dotted) or next(below, "configuration")


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"


def masked(value: Any) -> Any:
    """Return `value` with `***` for every password in a URL, in lists and tables too."""
    if isinstance(value, str):
        return re.sub(r"(://[^/@\s:]*:)[^/\s]*@", r"\1***@", value)
    if isinstance(value, list):
        return [masked(one) for one in value]
    if isinstance(value, dict):
        return {key: masked(one) for key, one in value.items()}
    return value


def _without_unset(model: type[BaseModel], tree: Mapping[str, Any]) -> Tree:
    """Return `tree` with None for each empty text whose key may be unset: TOML has no null."""
    named = {field.alias or name: field for name, field in model.model_fields.items()}
    result: Tree = {}
    for key, value in tree.items():
        kind = named[key].annotation if key in named else None
        if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
            value = _without_unset(kind, value)
        elif value == "" and type(None) in get_args(kind):
            value = None
        result[key] = value
    return result


def _known_keys(model: type[BaseModel], loc: tuple[str, ...]) -> list[str]:
    for part in loc:
        named = {field.alias or name: field for name, field in model.model_fields.items()}
        annotation = named[part].annotation if part in named else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(field.alias or name for name, field in model.model_fields.items())


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
                f"{origins.get(above, source)}: {above} = {masked(below)!r}: should be a table"
            )
        tree = below
    tree[dotted[-1]] = value
    key = ".".join(dotted)
    for replaced in [old for old in origins if old.startswith(key + ".")]:
        del origins[replaced]
    origins[key] = source


def _absolute_paths(tree: Tree, base: Path) -> None:
    for section, key in _PATH_KEYS:
        table = tree.get(section)
        if not isinstance(table, dict):
            continue
        value = table.get(key)
        if isinstance(value, (str, Path)) and str(value):
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
