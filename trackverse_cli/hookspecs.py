"""The pluggy hooks of the entry-point group `trackverse`; a plugin implements either or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from trackverse_cli.interfaces import DecoderPlugin, ExecutorPlugin

hookspec = pluggy.HookspecMarker("trackverse")


@hookspec
def trackverse_register_executor() -> ExecutorPlugin:  # type: ignore[empty-body]  # a spec has none
    """Offer an executor: something that starts the ranks of a job."""


@hookspec
def trackverse_register_decoder() -> DecoderPlugin:  # type: ignore[empty-body]  # a spec has none
    """Offer a decoder: something that opens a video and brings its frames."""
