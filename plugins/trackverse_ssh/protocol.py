"""What goes over a connection: our own program for the host, a request, and its answer."""

from __future__ import annotations

import json
import secrets
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackverse_cli.errors import LacksError

if TYPE_CHECKING:
    from collections.abc import Callable

Facts = dict[str, Any]

_MODULES = ("process", "parcels", "serve")

FIRST = "import sys;i=sys.stdin.buffer;exec(i.read(int(i.readline())))"
"""What the host's interpreter gets as its command; everything else comes by standard input."""

_SECOND = """
import json, types
for name, source in json.loads(i.read(int(i.readline()))):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""


class UnreachableError(LacksError):
    """A host gave no answer; whether it did what was asked is not known."""


@cache
def _sources() -> bytes:
    folder = Path(__file__).with_name("remote")
    modules = [
        (f"trackverse_ssh.remote.{name}", (folder / f"{name}.py").read_text(encoding="utf-8"))
        for name in _MODULES
    ]
    return _framed(_SECOND.encode()) + _framed(json.dumps(modules).encode())


def _framed(content: bytes) -> bytes:
    return b"%d\n%s" % (len(content), content)


def packed(request: Facts) -> tuple[bytes, bytes]:
    """Return what goes to standard input, and the line after which the answer begins."""
    token = secrets.token_hex(8)
    text = json.dumps({**request, "token": token})
    return _sources() + _framed(text.encode()), f"trackverse-answer {token}\n".encode()


def read_answer(out: bytes, mark: bytes, reason: Callable[[], str]) -> Facts:
    """Return the answer that follows the line `mark` in what a host said.

    Raises:
        UnreachableError: there is none, or it broke off; `reason` says why.
        LacksError: the answer is that it cannot be done.
    """
    _, found, content = out.partition(mark)  # before it: whatever the host's shell says to all
    try:
        answer: Facts = json.loads(content) if found else {}
    except ValueError:  # it broke off
        answer = {}
    if not answer:
        raise UnreachableError(reason())
    if "error" in answer:
        raise LacksError(str(answer["error"]))
    return answer
