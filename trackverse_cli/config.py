"""The configuration in force: defaults, then trackverse.toml, then TRACKVERSE_*, then flags."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

import tomli
from pydantic import BaseModel, ValidationError

from trackverse_cli.errors import ConfigError
from trackverse_cli.layout import Layout
from trackverse_cli.settings import Settings

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
    layers = [(_environment(environ), None), (dict(flags), None)]
    root = flags.get("dataset.root") or environ.get(ROOT_VARIABLE)
    path = file or _find(Path(root) if root else None)
    if path is not None:
        content = _read(path)
        for dotted, value in _leaves(content):
            _put(tree, dotted, value, str(path))
            origins[".".join(dotted)] = str(path)
        _absolute_paths(tree, path.absolute().parent)
    for values, _ in layers:
        for key, value in values.items():
            dotted = tuple(key.split("."))
            source = _variable_of(key, environ) if values is layers[0][0] else f"flag {_flag(key)}"
            _put(tree, dotted, value, source)
            origins[key] = source
        _absolute_paths(tree, Path.cwd())
    settings = validate(Settings, tree, origins, "")
    return Config(settings, origins, path)


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
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_sentence(error.errors()[0], model, origins, prefix)) from None


def _sentence(
    problem: ErrorDetails, model: type[BaseModel], origins: Mapping[str, str], prefix: str
) -> str:
    loc = tuple(str(part) for part in problem["loc"])
    dotted = ".".join((*((prefix,) if prefix else ()), *loc))
    source = origins.get(dotted) or next(
        (origin for key, origin in origins.items() if key.startswith(dotted + ".")), "configuration"
    )
    shown = f"[{'.'.join(dotted.split('.')[:-1])}] {dotted.split('.')[-1]}".removeprefix("[] ")
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, loc[:-1])
        near = difflib.get_close_matches(loc[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
        return f"{source}: unknown key {shown}; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{source}: {shown} = {problem['input']!r}: {message}"


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
        return tomli.loads(path.read_text(encoding="utf-8"))
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


def _put(tree: Tree, dotted: tuple[str, ...], value: Any, source: str) -> None:
    for part in dotted[:-1]:
        below = tree.setdefault(part, {})
        if not isinstance(below, dict):
            raise ConfigError(f"{source}: [{part}] must be a table, not {below!r}")
        tree = below
    tree[dotted[-1]] = value


def _absolute_paths(tree: Tree, base: Path) -> None:
    for section, key in _PATH_KEYS:
        table = tree.get(section)
        if not isinstance(table, dict):
            continue
        value = table.get(key)
        if isinstance(value, (str, Path)) and str(value):
            table[key] = base / Path(value).expanduser()


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
    if len(parts) == 3 and parts[0] == "submit":
        parts[1] = parts[1].replace("_", "-")
    return parts


def _value(dotted: list[str], text: str) -> Any:
    """Read a table or list as TOML, and so a plugin's values; the model converts the rest."""
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
