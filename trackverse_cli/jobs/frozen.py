"""The configuration as a job was submitted with it; its secrets stay where they are."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import tomli_w
from loguru import logger

from trackverse_cli.config import SECRETS_VARIABLE
from trackverse_cli.config_check import is_secret
from trackverse_cli.files import atomic_write_bytes, make_folder

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.config import Config

FILE_NAME = "trackverse.toml"


def freeze(config: Config, folder: Path) -> dict[str, str]:
    """Write the configuration in force into a job's folder; return what its ranks need besides.

    Args:
        config: the configuration in force.
        folder: the job's own.

    Returns:
        Variables for the environment of every rank: where secrets are read from, if there are
        any.

    Raises:
        UsageError: the folder cannot be made.
        OSError: the disk refused.
    """
    secrets: list[str] = []
    tree = config.settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    tree["dataset"].pop("root", None)  # given as --root, so that the folder may have another name
    tree.pop("executor", None)
    kept = _without_secrets(tree, "", secrets)
    make_folder(folder, "the folder of the job")
    text = "# The configuration that this job was submitted with.\n" + tomli_w.dumps(kept)
    atomic_write_bytes(folder / FILE_NAME, text.encode())
    return _source(config, secrets)


def _without_secrets(tree: dict[str, Any], above: str, secrets: list[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{above}.{key}".removeprefix(".")
        if is_secret(dotted, value):
            secrets.append(dotted)
        elif isinstance(value, dict):
            below = _without_secrets(value, dotted, secrets)
            if below or not value:  # an emptied table would stand in the way of its secrets
                kept[key] = below
        elif value is not None:
            kept[key] = value
    return kept


def _source(config: Config, secrets: list[str]) -> dict[str, str]:
    if not secrets:
        return {}
    # A table may have been set as a whole, or key by key.
    origins = {
        origin
        for key in secrets
        for one, origin in config.origins.items()
        if f"{one}.".startswith(f"{key}.") or f"{key}.".startswith(f"{one}.")
    }
    if config.file is not None and str(config.file) in origins:
        return {SECRETS_VARIABLE: os.fspath(config.file.absolute())}
    named = sorted(origin for origin in origins if re.fullmatch("TRACKVERSE_[A-Z_]+", origin))
    if named:
        logger.info("ranks elsewhere need {} in their environment", ", ".join(named))
    return {}
