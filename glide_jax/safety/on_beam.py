"""A table of scores by Apache Beam: the same parts, written by any of its runners."""

from collections.abc import Iterator, Sequence

from glide_jax.extras import extra
from glide_jax.safety.score_table import Job


def write_all(job: Job, flags: Sequence[str] = ()) -> None:
    """Writes the parts that are missing.

    A bundle that Beam runs twice writes the same bytes to the same name, so nothing is doubled.
    The set and the table must lie where every worker sees them.

    Args:
        job: the table.
        flags: pipeline options, such as --runner=FlinkRunner; without them a process here does it.
    """
    beam = extra("apache_beam")
    options = extra("apache_beam.options.pipeline_options").PipelineOptions(list(flags))

    class WriteParts(beam.DoFn):
        """Writes a part and gives its rows."""

        def process(self, element: int) -> Iterator[int]:
            yield job.write(element)

    with beam.Pipeline(options=options) as pipeline:
        numbers = pipeline | "parts" >> beam.Create(job.missing())
        # Without it the parts would stay together, in one bundle of one worker.
        _ = numbers | "spread" >> beam.Reshuffle() | "write" >> beam.ParDo(WriteParts())
