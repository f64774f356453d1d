"""Contract suites for plugins: subclass one, say how yours is made, and pytest runs it.

    from trackverse_cli.testing import ExecutorContract
    class TestMyExecutor(ExecutorContract):
        def make_executor(self) -> Executor:
            return MyExecutor(MySettings())

A suite asks what `trackverse_cli.interfaces` promises and the core relies on.
"""

from trackverse_cli.testing.decoders import DecoderContract
from trackverse_cli.testing.executors import ExecutorContract

__all__ = ["DecoderContract", "ExecutorContract"]
