"""One thread that runs ahead of a loop, so that preparing and using overlap."""

import queue
import threading
import weakref
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_LONGEST_WAIT = 10.0  # seconds that closing waits for an item on its way


class _End(Exception):
    """The iterator had no more."""


class overlap(Generic[T], Iterator[T]):
    """The items of `iterator`, taken up to `ahead` early by a thread that starts at once.

    An error of the iterator is raised where its item would have come. `close`, or the end of the
    last reference, stops the thread.
    """

    def __init__(self, iterator: Iterator[T], ahead: int = 2):
        ready: queue.Queue = queue.Queue(ahead)
        stop = threading.Event()
        # The thread knows nothing of self, or self would never be collected.
        thread = threading.Thread(target=_fill, args=(iterator, ready, stop), daemon=True)
        thread.start()
        self._ready, self._error = ready, None
        self._finalizer = weakref.finalize(self, _stop, thread, ready, stop)

    def __next__(self) -> T:
        if self._error is None and not self._finalizer.alive:
            self._error = _End()
        if self._error is None:
            item, self._error = self._ready.get()
            if self._error is None:
                return item
        if isinstance(self._error, _End):
            raise StopIteration
        raise self._error

    def close(self) -> None:
        """Stops the thread; what it had prepared is lost."""
        self._finalizer()


def _fill(iterator: Iterator, ready: queue.Queue, stop: threading.Event) -> None:
    try:
        for item in iterator:
            _put((item, None), ready, stop)
            if stop.is_set():
                return
            del item  # or one more batch is held in memory than `ahead` says
        _put((None, _End()), ready, stop)
    except BaseException as error:
        _put((None, error), ready, stop)


def _put(pair: tuple, ready: queue.Queue, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            return ready.put(pair, timeout=0.2)
        except queue.Full:
            continue


def _stop(thread: threading.Thread, ready: queue.Queue, stop: threading.Event) -> None:
    stop.set()
    thread.join(_LONGEST_WAIT)
    while not ready.empty():
        ready.get_nowait()
