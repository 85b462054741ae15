"""What ends a run of the tests before its time: a store that died, a test past its deadline."""

import asyncio
import faulthandler
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

DEADLINE_S = 300.0  # of a test with its fixtures; `@pytest.mark.deadline(seconds)` gives another
# What is under way when a run has to end may take so long, with its fixtures and the report.
GRACE_S = 15.0


class Run:
    """The run of this process."""

    def __init__(self) -> None:
        self._session: pytest.Session | None = None
        self._stderr = sys.__stderr__.fileno() if sys.__stderr__ else 2

    def configure(self) -> None:
        """Keeps a way to the terminal before pytest captures what is written."""
        self._stderr = os.dup(self._stderr)

    def begin(self, session: pytest.Session) -> None:
        self._session = session

    def end(self, reason: str) -> None:
        """No further test begins; what goes on after a grace is cut off. Any thread may call it."""
        self._say(reason)
        if self._session is not None:
            self._session.shouldfail = reason.partition("\n")[0]
        _after(GRACE_S, self._cut_off)

    @contextmanager
    def deadline(self, what: str, seconds: float) -> Iterator[None]:
        """Cuts the run off when the block takes longer."""

        def miss() -> None:
            self._say(f"{what} did not end within {seconds:.0f} s.")
            self._cut_off()

        timer = _after(seconds, miss)
        try:
            yield
        finally:
            timer.cancel()

    def _cut_off(self) -> None:
        """Ends this process and its children, and says where all threads and tasks stood."""
        faulthandler.dump_traceback(self._stderr)
        tasks = [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]
        self._say("\n".join(_where(each) for each in tasks if not each.done()))
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "watchdog" not in child.cmdline():  # those see to stores and their folders
                    child.kill()
        os._exit(pytest.ExitCode.TESTS_FAILED)

    def _say(self, text: str) -> None:
        os.write(self._stderr, f"\n\n{text}\n".encode())


def _after(seconds: float, call: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    return timer


def _where(task: "asyncio.Task[object]") -> str:
    """The lines at which the task's coroutines wait for each other."""
    steps = [task.get_name()]
    step: object = task.get_coro()
    while frame := getattr(step, "cr_frame", None):
        steps.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        step = getattr(step, "cr_await", None)
    return " > ".join(steps)


RUN = Run()
