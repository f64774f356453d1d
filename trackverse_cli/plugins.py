"""Plugins: find, list and choose executors and decoders; a broken one is listed, not fatal."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from trackverse_cli import hookspecs
from trackverse_cli.errors import LacksError, UsageError
from trackverse_cli.interfaces import DecoderPlugin, ExecutorPlugin

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pydantic import BaseModel

    from trackverse_cli.config import Config

ENTRY_POINT_GROUP = "trackverse"
Kind = Literal["executor", "decoder"]


@dataclass(frozen=True, slots=True)
class Found:
    """One plugin as it was found, usable or not.

    Attributes:
        kind: what it offers; None where it broke before it could say.
        name: what it is chosen by; the entry point's key where it broke before.
        summary: its own line about itself.
        source: the distribution that it came from, with its version.
        plugin: what it registered, or None if it broke.
        problem: why it cannot be used, in one sentence, or None.
    """

    kind: Kind | None
    name: str
    summary: str
    source: str
    plugin: ExecutorPlugin | DecoderPlugin | None
    problem: str | None


@lru_cache(maxsize=1)
def find_plugins() -> tuple[Found, ...]:
    """Return every plugin of the entry-point group, each loaded by itself, in order of name.

    A plugin that fails to import or to register, and two that offer the same name, are in the
    list with their problem.
    """
    manager = pluggy.PluginManager("trackverse")
    manager.add_hookspecs(hookspecs)
    found: list[Found] = []
    for number, point in enumerate(entry_points(group=ENTRY_POINT_GROUP)):
        found += _load(manager, point, number)
    return tuple(sorted(_with_duplicates(found), key=lambda f: (f.kind or "", f.name, f.source)))


def _load(manager: pluggy.PluginManager, point: EntryPoint, number: int) -> list[Found]:
    source = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"
    try:
        module = point.load()
        # Keys of two distributions may be equal; pluggy would drop the second without a word.
        manager.register(module, name=f"{number}:{point.name}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger may raise anything at all
        return [Found(None, point.name, "", source, None, f"does not load: {_told(error)}")]
    found = [
        *_offered(manager, module, "executor", point.name, source),
        *_offered(manager, module, "decoder", point.name, source),
    ]
    nothing = Found(None, point.name, "", source, None, "offers neither executor nor decoder")
    return found or [nothing]


def _offered(
    manager: pluggy.PluginManager, module: object, kind: Kind, key: str, source: str
) -> list[Found]:
    """Call one hook of one module alone; if it raises, its other hook still counts."""
    others = [plugin for plugin in manager.get_plugins() if plugin is not module]
    hook = manager.subset_hook_caller(f"trackverse_register_{kind}", remove_plugins=others)
    try:
        return [_found(plugin, kind, key, source) for plugin in hook()]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        return [Found(kind, key, "", source, None, f"does not register: {_told(error)}")]


def _found(plugin: Any, kind: Kind, key: str, source: str) -> Found:
    wrong = _wrong_with(plugin, kind)
    if wrong:
        return Found(kind, key, "", source, None, wrong)
    try:
        problem = plugin.unavailable()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        problem = f"cannot say whether it is usable: {_told(error)}"
    return Found(kind, plugin.name, plugin.summary, source, plugin, str(problem or "") or None)


def _wrong_with(plugin: Any, kind: Kind) -> str | None:
    from pydantic import BaseModel

    expected = ExecutorPlugin if kind == "executor" else DecoderPlugin
    if not isinstance(plugin, expected):
        return f"registered {type(plugin).__name__}, not {expected.__name__}"
    if not (isinstance(plugin.name, str) and plugin.name and isinstance(plugin.summary, str)):
        return f"its name {plugin.name!r} or summary {plugin.summary!r} is no text"
    if not (isinstance(plugin.settings, type) and issubclass(plugin.settings, BaseModel)):
        return f"its settings {plugin.settings!r} are no pydantic model"
    return None


def _with_duplicates(found: list[Found]) -> list[Found]:
    return [_marked(one, [f for f in found if f is not one]) for one in found]


def _marked(one: Found, others: list[Found]) -> Found:
    rivals = [f.source for f in others if f.plugin and (f.kind, f.name) == (one.kind, one.name)]
    if not rivals or one.plugin is None:
        return one
    problem = f"the name is also taken by {', '.join(rivals)}; uninstall one of them"
    return replace(one, problem=problem)


def _told(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def choose_executor(name: str) -> ExecutorPlugin:
    """Return the usable executor called `name`.

    Raises:
        UsageError: no plugin, or more than one, has that name.
        LacksError: it broke, or says that it cannot work here.
    """
    plugin = _choose("executor", name)
    assert isinstance(plugin, ExecutorPlugin)
    return plugin


def choose_decoder(name: str) -> DecoderPlugin:
    """Return the usable decoder called `name`; raises as `choose_executor`."""
    plugin = _choose("decoder", name)
    assert isinstance(plugin, DecoderPlugin)
    return plugin


def _choose(kind: Kind, name: str) -> ExecutorPlugin | DecoderPlugin:
    named = [f for f in find_plugins() if f.name == name and f.kind in (kind, None)]
    usable = [f for f in named if f.plugin is not None]
    if len(usable) > 1:
        sources = " and ".join(f.source for f in usable)
        raise UsageError(f"{kind} '{name}' is offered by {sources}; uninstall one of them")
    if not named:
        known = sorted({f.name for f in find_plugins() if f.kind == kind})
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UsageError(f"no {kind} is called '{name}'; {hint}known: {', '.join(known)}")
    one = usable[0] if usable else named[0]
    if one.problem or one.plugin is None:
        raise LacksError(f"{kind} '{name}' of {one.source} cannot be used here: {one.problem}")
    return one.plugin


def wants_gpu(config: Config) -> bool:
    """Say whether the decoder wants a GPU; where it cannot even be loaded, the rank will say so."""
    name = config.settings.extract.decoder
    found = [f for f in find_plugins() if f.kind == "decoder" and f.name == name]
    return any(getattr(one.plugin, "needs_gpu", False) for one in found)


def plugin_settings(config: Config, kind: Kind, name: str, model: type[BaseModel]) -> BaseModel:
    """Return `[<kind>.<name>]` of the configuration as the plugin's own model.

    Raises:
        ConfigError: a key that the plugin does not know, or a value of another type.
    """
    from trackverse_cli.config_check import validate

    table = getattr(config.settings, kind).get(name, {})
    return validate(model, table, config.origins, f"{kind}.{name}")
