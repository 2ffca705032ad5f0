"""Counts of a service, for Prometheus."""

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from glide_jax.sampling import cascade, slots
from glide_jax.serving.engine import Engine

_SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The metrics of one engine, in a registry of their own.

    Args:
        engine: is read whenever metrics are.
    """

    def __init__(self, engine: Engine):
        self._registry = registry = CollectorRegistry()
        gauges = {
            "glide_waiting": ("Pictures that wait.", lambda: engine.load[0]),
            "glide_drawing": ("Pictures in slots.", lambda: engine.load[1]),
            "glide_slots": ("Slots.", lambda: engine.slots),
            "glide_compiled_programs": (
                "Programs that were compiled.",
                lambda: (
                    sum(program._cache_size() for program in cascade.programs()) + slots.compiled()
                ),
            ),
            "glide_steps": ("Steps that were taken.", lambda: engine.steps),
            "glide_pictures": ("Pictures that were drawn.", lambda: engine.pictures),
        }
        for name, (help_text, value) in gauges.items():
            Gauge(name, help_text, registry=registry).set_function(value)
        self._seconds = Histogram(
            "glide_request_seconds", "Seconds from a request to its answer.", ["operation"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._failed = Counter(
            "glide_failed_requests", "Requests without a picture.", ["operation"], registry=registry
        )

    @contextlib.contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        """Counts a request and its time."""
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self._failed.labels(operation).inc()
            raise
        self._seconds.labels(operation).observe(time.monotonic() - began)

    def exposition(self) -> tuple[bytes, str]:
        """The metrics as text, and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
