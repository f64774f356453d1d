"""Values held against a model: the first thing that is wrong, in one sentence."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from trackverse_cli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)


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
                dotted = f"{prefix}.{key}".removeprefix(".")
                raise ConfigError(_unknown(dotted, known, origins))
    try:
        return model.model_validate(_without_unset(model, tree))
    except ValidationError as error:
        raise ConfigError(_sentence(error.errors()[0], model, origins, prefix)) from None


def _sentence(
    problem: ErrorDetails, model: type[BaseModel], origins: Mapping[str, str], prefix: str
) -> str:
    loc = tuple(str(part) for part in problem["loc"])
    dotted = ".".join((*((prefix,) if prefix else ()), *loc))
    if problem["type"] == "extra_forbidden":
        return _unknown(dotted, _known_keys(model, loc[:-1]), origins)
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = "" if problem["type"] == "missing" else f" = {shown_value(dotted, problem['input'])!r}"
    return f"{source_of(dotted, origins)}: {_shown(dotted)}{given}: {message}"


def _unknown(dotted: str, known: list[str], origins: Mapping[str, str]) -> str:
    source, name = source_of(dotted, origins), dotted.rpartition(".")[2]
    return f"{source}: unknown key {_shown(dotted)}; {hint(name, known)}"


def _shown(dotted: str) -> str:
    table, _, key = dotted.rpartition(".")
    return f"[{table}] {key}" if table else key


def source_of(dotted: str, origins: Mapping[str, str]) -> str:
    """Return where the value of a dotted key, or the first one below it, came from."""
    below = (origin for key, origin in origins.items() if key.startswith(dotted + "."))
    return origins.get(dotted) or next(below, "configuration")


def hint(name: str, known: list[str]) -> str:
    """Return the nearest of the known names as a question, or all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"


_CREDENTIALS = (
    "password", "passwd", "username", "token", "secret", "cookie", "authorization", "twofactor",
    "headers", "credential", "api_key", "apikey", "api-key", "visitor_data", "data_sync",
)  # fmt: skip
_IN_URL = (
    (r"(://[^/@\s:]*:)[^/\s]*@", r"\1***@"),
    (r"(://)[^/@\s:*]+@", r"\1***@"),
    (
        r"([?&;][^=&\s?]*(?:token|key|sig|secret|pass|auth|session)[^=&\s?]*=)(?!\{)[^&\s#'\"]+",
        r"\1***",
    ),
    # A proxy without a scheme, which the downloader takes too.
    (r"^([^\s/:@]+:)[^\s/@]+(@[\w.\[\]:-]+/?)$", r"\1***\2"),
)


def is_credential(name: str) -> bool:
    """Say whether a key or a header of that name holds what is nobody else's business."""
    return any(word in name.lower() for word in _CREDENTIALS)


def is_secret(dotted: str, value: Any) -> bool:
    """Say whether a value is nobody else's business: a password in a URL, an account's name.

    The path of a cookie file is none: who may read it may read it.
    """
    if masked(value) != value and not isinstance(value, dict):
        return True
    for above in ("download.yt_dlp.", "executor.", "decoder."):
        if dotted.startswith(above):
            return any(is_credential(part) for part in dotted.removeprefix(above).split("."))
    return False


def shown_value(dotted: str, value: Any) -> Any:
    """Return a value as it may be printed: with `***` for what is secret."""
    if value and (is_secret(dotted, value) or is_credential(dotted.rpartition(".")[2])):
        hidden = masked(value)
        return "***" if hidden == value and dotted != "download.cookies" else hidden
    # What should be a table and is none was not understood, so it may hold anything.
    unread = dotted == "download.yt_dlp" and isinstance(value, str) and re.search("[=:]", value)
    return "***" if unread else masked(value)


def masked(value: Any) -> Any:
    """Return `value` with `***` for every key in a URL and under a telling name, at any depth."""
    if isinstance(value, str):
        for pattern, instead in _IN_URL:
            value = re.sub(pattern, instead, value)
        return value
    if isinstance(value, list):
        return [masked(one) for one in value]
    if isinstance(value, dict):
        return {
            key: "***" if one and is_credential(str(key)) else masked(one)
            for key, one in value.items()
        }
    return value


def _without_unset(model: type[BaseModel], tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return `tree` with None for each empty text whose key may be unset: TOML has no null."""
    named = {field.alias or name: field for name, field in model.model_fields.items()}
    result: dict[str, Any] = {}
    for key, value in tree.items():
        kind = named[key].annotation if key in named else None
        inner = _named_model(kind)
        if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
            value = _without_unset(kind, value)
        elif isinstance(value, dict) and inner is not None:
            value = {
                name: _without_unset(inner, table) if isinstance(table, dict) else table
                for name, table in value.items()
            }
        elif value == "" and type(None) in get_args(kind):
            value = None
        result[key] = value
    return result


def _named_model(kind: Any) -> type[BaseModel] | None:
    """Return the model of the tables that `dict[str, model]` holds."""
    last = get_args(kind)[-1:]
    is_table = get_origin(kind) is dict and last and isinstance(last[0], type)
    return last[0] if is_table and issubclass(last[0], BaseModel) else None


def _known_keys(model: type[BaseModel], loc: tuple[str, ...]) -> list[str]:
    names = iter(loc)
    for part in names:
        named = {field.alias or name: field for name, field in model.model_fields.items()}
        annotation = named[part].annotation if part in named else None
        inner = _named_model(annotation)
        if inner is not None:
            next(names, None)  # the table's own name, which is free
            model = inner
            continue
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(field.alias or name for name, field in model.model_fields.items())
