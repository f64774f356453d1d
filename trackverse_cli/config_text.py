"""The configuration as text: what is in force, and the commented example."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from trackverse_cli.config_check import shown_value
from trackverse_cli.errors import UsageError
from trackverse_cli.files import atomic_write_bytes
from trackverse_cli.plugins import find_plugins
from trackverse_cli.settings import SelectSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trackverse_cli.config import Config

_HEAD = """\
# The configuration of trackverse: every key with its default and one line of why.
# A line that begins with '#key =' is a default; remove the '#' to change it.
# Precedence: these lines < TRACKVERSE_<SECTION>__<KEY> in the environment < flags.
# `trackverse config` shows what is in force and where each value came from.
"""


def values_with_origins(config: Config) -> list[tuple[str, Any, str]]:
    """Return (dotted key, value, origin) of every setting; passwords are masked."""
    rows = []
    for key, value in _flat(config.settings.model_dump(mode="json", by_alias=True)):
        origin = _origin(key, config)
        rows.append((key, shown_value(key, value), origin))
    return rows


def _origin(key: str, config: Config) -> str:
    """Return where a value came from; a table that was set as a whole speaks for its keys."""
    parts = key.split(".")
    tables = (".".join(parts[:depth]) for depth in range(len(parts), 0, -1))
    return next((config.origins[one] for one in tables if one in config.origins), "default")


def _flat(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        elif value != {}:
            yield above + key, value


def example_text(root: Path | None = None) -> str:
    """Return a commented trackverse.toml; `root` is written into it, a placeholder if None."""
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            parts += _table(name, model, root)
    parts += _table("select.example", SelectSettings, None)
    for found in find_plugins():
        if found.plugin is not None and found.source.split()[0] == "trackverse":
            parts += _table(f"{found.kind}.{found.name}", found.plugin.settings, None)
    return "\n".join(parts)


def _table(name: str, model: type[BaseModel], root: Path | None) -> list[str]:
    lines = [f"# {(model.__doc__ or '').splitlines()[0]}", f"[{name}]"]
    below: list[str] = []
    for key, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            below += _table(f"{name}.{field.alias or key}", kind, None)
            continue
        lines.append(f"# {field.description}")
        if (name, key) == ("dataset", "root"):
            lines.append(f"root = {_toml(str(root or '/path/to/trackverse'))}")
        else:
            lines.append(f"#{key} = {_toml(field.get_default(call_default_factory=True))}")
    return ["\n".join(lines) + "\n", *below]


def _toml(value: Any) -> str:
    if value is None:
        return '""  # not set'
    if isinstance(value, dict):
        return "{}"
    # JSON's escapes are TOML's, but for those of characters beyond U+FFFF and for U+007F.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_example(path: Path, root: Path | None) -> None:
    """Write the example to `path`.

    Raises:
        UsageError: something is there already, or it cannot be written.
    """
    if path.exists():
        raise UsageError(f"{path} is there already; name another file, or move it away first")
    try:
        atomic_write_bytes(path, example_text(root.absolute() if root else None).encode())
    except UnicodeEncodeError:
        raise UsageError(f"{root} is not valid UTF-8 and cannot stand in a TOML file") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; name another file") from error
