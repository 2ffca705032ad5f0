"""Progress bars on the error stream: steps, pictures, records or bytes, and the time left."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from glide_jax import checks
from glide_jax.cli import common

Report = Callable[[str, int, int | None], None]  # a stage, how much of it is done, and of how much


@contextlib.contextmanager
def progress_bars(unit: str, *, prefix: str = "", width: int = 0) -> Iterator[Report]:
    """Yields a function of (stage, done, total) that draws one bar for each stage.

    `done` may fall, as where a download starts anew; `total` is None or 0 while it is unknown.

    Args:
        unit: The thing that is counted, such as "pictures"; "B" counts bytes in KiB and MiB.
        prefix: Text before the name of every stage.
        width: The width to which names of stages are padded, so that bars align.
    """
    from tqdm import tqdm

    style: dict[str, Any] = {"unit": f" {unit}"}
    if unit == "B":
        style = {"unit": unit, "unit_scale": True, "unit_divisor": 1024}
    bars: dict[str, tqdm] = {}

    def report(stage: str, done: int, total: int | None) -> None:
        if stage not in bars:
            name = checks.printable(f"{prefix}{stage:{width}}")
            quiet = common.output.quiet
            bars[stage] = tqdm(
                total=total or None, desc=name, file=sys.stderr, disable=quiet, **style
            )
        bar = bars[stage]
        bar.total = total or None
        bar.update(done - bar.n)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()
