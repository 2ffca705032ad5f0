"""The first and the last moments of `glide-jax`, in which a signal to stop is one line, too.

It imports next to nothing before it answers signals: Python's own answer is a traceback.
"""

import os
import signal
import sys
import time

TYPE_CHECKING = False  # true to type checkers; the module `typing` takes its time
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

INTERRUPTED = "glide-jax: interrupted; what was finished is kept."
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 1.0  # seconds after which a signal is a new wish; `timeout` sends the same one twice
_PATIENCE = 2.0  # seconds in which Python gets to a signal, unless it waits for a compiler


class _Stop:
    """The handler of signals to stop: ends a command by `KeyboardInterrupt`, or the process.

    An exception that is raised inside an import, in code that C++ called, or at exit ends as a
    traceback or an abort, or is lost. Nothing is at stake there: the process ends at once.
    """

    def __init__(self) -> None:
        self.at_once = True
        self.came: int | None = None
        self._since = 0.0

    def __call__(self, number: int, frame: "FrameType | None") -> None:
        if self.at_once or _importing(frame):
            self.end(number)
        if self.came is None:
            self.came, self._since = number, time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - self._since > _AGAIN:
            self.end(number)

    def end(self, number: int) -> None:
        """Ends the process with the line that `main` prints, and a shell's number of the signal."""
        try:
            os.write(2, f"{INTERRUPTED}\n".encode())
        finally:  # also where the terminal is gone
            os._exit(128 + number)

    def watch(self, pipe: int) -> None:
        """Ends the process where the main thread does not come back to Python, as in a compiler.

        Args:
            pipe: a byte comes from it for each signal.
        """
        mine = lambda: signal.getsignal(number) is self and self.came is None
        while number := os.read(pipe, 1)[0]:
            if mine():  # and not a run's, which may be at its end before long
                time.sleep(_PATIENCE)
                if mine():
                    self.end(number)


_stop = _Stop()


def main() -> None:
    """Runs a command, as `glide_jax.cli.main.main` does, and answers signals from now on."""
    open_descriptors()
    for number in SIGNALS:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _stop)
    import atexit
    import threading

    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # runs last: all is done
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_stop.watch, args=(read,), daemon=True).start()
    sys.unraisablehook = _unraisable
    from glide_jax.cli import main

    _stop.at_once = False
    try:
        main.main()
    except SystemExit as error:
        _stop.at_once = True
        if _stop.came is None:
            raise
        if error.code != main.INTERRUPTED:  # the exception was lost on its way
            _stop.end(_stop.came)
        sys.exit(128 + _stop.came)
    except BaseException:
        _stop.at_once = True
        if _stop.came is None:
            raise
        _stop.end(_stop.came)


def open_descriptors() -> None:
    """Opens the standard streams that are closed (`>&-`, a daemon, pythonw), to lead nowhere.

    Without that the next file that is opened would take the number of a closed stream, and receive
    what libraries print there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def nothing_at_stake() -> None:
    """Lets signals that reach this module's handler end the process at once, from now on."""
    _stop.at_once = True


def _importing(frame: "FrameType | None") -> bool:
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _unraisable(fault: "Any") -> None:
    """Faults from where no exception gets out."""
    if fault.exc_type is KeyboardInterrupt:
        _stop.end(_stop.came or signal.SIGINT)
    # Reads of a damaged checkpoint that end after the one that failed, which has its sentence.
    if str(fault.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(fault)
