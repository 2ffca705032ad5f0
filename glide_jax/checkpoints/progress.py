"""A progress bar for downloads, apart from them so that code that downloads prints nothing."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yields a function of (bytes done, bytes in all) that draws a bar on the error stream."""
    from tqdm import tqdm

    with tqdm(desc=label, unit="B", unit_scale=True, unit_divisor=1024) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)  # less than nothing where a download starts anew

        yield show
