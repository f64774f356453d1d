"""The user's own ssh: one bounded call for one request, never a shell line put together by hand."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, TypeVar

from trackverse_cli.errors import LacksError
from trackverse_ssh.protocol import FIRST, Facts, UnreachableError, packed, read_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trackverse_ssh.settings import SSHSettings

Key = TypeVar("Key")
Answer = TypeVar("Answer")

_OPTIONS = {
    "BatchMode": "yes",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}


@dataclass(frozen=True, slots=True)
class Door:
    """How one host is entered.

    Attributes:
        host: its checked name.
        python: its interpreter.
    """

    host: str
    python: str


@dataclass(slots=True)
class Line:
    """Calls to hosts.

    Attributes:
        words: the command ssh.
        connect_timeout_seconds: for the connection alone.
        call_timeout_seconds: for a whole request, but for those that carry files.
        at_once: calls at a time.
    """

    words: tuple[str, ...]
    connect_timeout_seconds: int
    call_timeout_seconds: float
    at_once: int
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)

    @classmethod
    def of(cls, settings: SSHSettings) -> Line:
        """Return the line that the settings describe."""
        return cls(
            settings.ssh,
            settings.connect_timeout_seconds,
            settings.call_timeout_seconds,
            settings.connects_at_once,
        )

    @property
    def command(self) -> list[str]:
        """The words of ssh with our options, up to where the host's name follows."""
        options = {**_OPTIONS, "ConnectTimeout": str(self.connect_timeout_seconds)}
        return [*self.words, "-T", *(f"-o{key}={value}" for key, value in options.items())]

    def call(self, door: Door, request: Facts) -> Facts:
        """Have a host do one request; return its answer.

        Raises:
            UnreachableError: no answer came.
            LacksError: the answer is that it cannot be done.
        """
        content, mark = packed(request)
        with self._ssh(door) as (process, errors):
            try:
                out, _ = process.communicate(content, self.call_timeout_seconds)
            except subprocess.TimeoutExpired:
                raise UnreachableError(
                    f"no answer within {self.call_timeout_seconds:.0f} s"
                ) from None
            return read_answer(out, mark, _reason(process, errors, door))

    def send(self, door: Door, request: Facts, write: Callable[[IO[bytes]], None]) -> Facts:
        """Have a host do a request that `write` gives more input to; return its answer.

        Raises:
            UnreachableError: no answer came.
            LacksError: the answer is that it cannot be done.
        """
        content, mark = packed(request)
        with self._ssh(door) as (process, errors):
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):  # then its answer says why, or ssh does
                process.stdin.write(content)
                write(process.stdin)
            with suppress(BrokenPipeError):
                process.stdin.close()
            out = process.stdout.read()
            return read_answer(out, mark, _reason(process, errors, door))

    @contextmanager
    def receive(self, door: Door, request: Facts) -> Iterator[IO[bytes]]:
        """Have a host do a request that answers by a stream; yield the stream.

        Raises:
            UnreachableError: no stream came, or it broke off.
        """
        content, mark = packed(request)
        with self._ssh(door) as (process, errors):
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.write(content)
                process.stdin.close()
            for line in process.stdout:
                if line == mark:
                    break
            else:
                raise UnreachableError(_reason(process, errors, door)())
            yield process.stdout
            # Cut between two files, a stream looks whole; only ssh knows that it was not.
            process.stdout.read()
            if process.wait() != 0:
                raise UnreachableError(_reason(process, errors, door)())

    def run(self, words: list[str], content: bytes) -> tuple[int, str]:
        """Run a command that uses ssh itself; return its exit code and the last line it said.

        Raises:
            OSError: it cannot be run.
        """
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._running.add(process)
        try:
            _, said = process.communicate(content)
        finally:
            process.kill()
            self._running.discard(process)
        lines = said.decode(errors="replace").strip().splitlines()
        return process.returncode, lines[-1] if lines else f"exit code {process.returncode}"

    def each(
        self, asked: Mapping[Key, Callable[[], Answer]]
    ) -> dict[Key, Answer | LacksError]:  # fmt: skip
        """Make calls, some at a time; return each one's answer, or the error that it raised.

        An exception that interrupts the wait, Ctrl-C among them, ends the calls under way.
        """
        if not asked:
            return {}
        with ThreadPoolExecutor(self.at_once) as pool:
            waiting = {key: pool.submit(_tried, one) for key, one in asked.items()}
            try:
                return {key: future.result() for key, future in waiting.items()}
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self._running):
                    process.kill()
                raise

    @contextmanager
    def _ssh(self, door: Door) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
        """Run ssh; end it on leaving. Its errors go to a file, which no master keeps open."""
        words = [*self.command, "--", door.host]
        words.append(shlex.join([door.python, "-IS", "-c", FIRST]))
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C is ours to handle
                )
            except OSError as error:
                raise UnreachableError(f"cannot run {words[0]}: {error.strerror}") from error
            self._running.add(process)
            try:
                yield process, errors
            finally:
                process.kill()
                for pipe in (process.stdin, process.stdout):
                    with suppress(OSError):
                        if pipe is not None:
                            pipe.close()
                process.wait()
                self._running.discard(process)


def _tried(call: Callable[[], Answer]) -> Answer | LacksError:
    try:
        return call()
    except LacksError as error:
        return error


def _reason(
    process: subprocess.Popen[bytes], errors: IO[bytes], door: Door
) -> Callable[[], str]:  # fmt: skip
    def say() -> str:
        try:
            code = process.wait(5)
        except subprocess.TimeoutExpired:
            return "the connection hangs"
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
        if code in (126, 127):
            return f"it has no {door.python}; set `python` of this host in [executor.ssh] hosts"
        return lines[-1].strip() if lines else f"ssh ended with {code}"

    return say
