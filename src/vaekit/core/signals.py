"""SIGINT, SIGTERM and SIGHUP: a request to stop where nothing is lost, or an exception where nothing can be.

Training asks :class:`StopRequests` between two steps, saves its state and ends. Work that can simply be repeated is stopped
at once, by :class:`StopSignal`. A second signal stops at once in any case. The exit code is 128 plus the number of the
signal, as a shell reports it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP. A signal that is ignored, as SIGHUP under
``nohup``, stays ignored.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

from vaekit.core.errors import Interrupted

PIPE_CODE = 128 + 13
"""The exit code of a process whose output was closed, by SIGPIPE's number."""
REPEAT_SECONDS = 0.05
"""How long after a signal that came at a bad moment it is sent again."""
SIGNALS = [number for number in signal.Signals if number.name in ("SIGINT", "SIGTERM", "SIGHUP")]

Handler = Callable[[int, FrameType | None], None]


class StopSignal(BaseException):
    """A signal that ends what can be repeated; its text is the name of the signal. No handler of errors catches it.

    Arguments:
        number: The number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = exit_code(number)


class StopRequests:
    """The first signal is remembered, and the second raises StopSignal."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._raises = False

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """Handles a signal."""
        if self._raises or self.number is not None:
            raise StopSignal(number)
        self.number = number

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Lets the first signal raise StopSignal in the block, which must be work that can be repeated."""
        if self.number is not None:
            raise StopSignal(self.number)
        self._raises = True
        try:
            yield
        finally:
            self._raises = False


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Yields the requests to stop of the signals in the block."""
    requests = StopRequests()
    with _handled_by(requests.receive):
        yield requests


@contextmanager
def stopped_at_once() -> Iterator[None]:
    """Lets the first signal raise StopSignal in the block.

    Where the signal meets code that turns or swallows exceptions, such as that of an extension or of a finalizer, StopSignal
    is raised in the end all the same.
    """
    received: list[int] = []
    num_imports = _num_imports(sys._getframe())

    def stop(number: int, frame: FrameType | None) -> None:
        # some packages do not survive an exception while they are imported, and a hook prints it and goes on
        if _num_imports(frame) > num_imports or _is_in(repeat.__code__, frame):
            _send_again(number)
            return
        received.append(number)
        raise StopSignal(number)

    def repeat(unraisable: "sys.UnraisableHookArgs") -> None:
        if isinstance(unraisable.exc_value, StopSignal):
            _send_again(received[-1])
        else:
            hook(unraisable)

    hook, sys.unraisablehook = sys.unraisablehook, repeat
    try:
        with _handled_by(stop):
            yield
    except Interrupted:  # says already what was stopped
        raise
    except Exception:
        if received:
            raise StopSignal(received[-1]) from None
        raise
    finally:
        sys.unraisablehook = hook


def exit_code(number: int) -> int:
    """Returns the exit code of a process that a signal has stopped."""
    return 128 + number


def _num_imports(frame: FrameType | None) -> int:
    """The number of frames of the import system in a stack."""
    num = 0
    while frame is not None:
        num += frame.f_code.co_filename.startswith("<frozen importlib")
        frame = frame.f_back
    return num


def _is_in(code: CodeType, frame: FrameType | None) -> bool:
    """Whether a function is being executed in a stack."""
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def _send_again(number: int) -> None:
    """Sends a signal to this process a little later."""
    timer = threading.Timer(REPEAT_SECONDS, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def ignore_signals() -> None:
    """Ignores signals from now on, while the process ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handled_by(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handled = [number for number, old in before.items() if old != signal.SIG_IGN]
    for number in handled:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
