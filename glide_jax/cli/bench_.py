"""`glide-jax bench`: how fast this machine runs the networks, and against what."""

import itertools
import pathlib
import subprocess

import click

from glide_jax.cli import common
from glide_jax.cli.progress import progress_bars


@click.command("bench")
@click.option("--model", type=common.PLACE,
              help="A model directory or name; by default the released sizes with random "
              "weights.")  # fmt: skip
@click.option("--stages", default="base,upsample", show_default=True, help="Which networks of it.")
@click.option("--what", default="limits,text,evaluation,gradient,image", show_default=True,
              help="Which rows, with commas.")  # fmt: skip
@click.option(
    "--batch-sizes", default="1,2,8", show_default=True, help="Batch sizes of evaluations."
)
@click.option("--presets", default="fast", show_default=True, help="Presets of whole chains.")
@click.option("--rounds", default="5", show_default=True, help="Counted ones; one more warms up.")
@click.option("--convolutions", default="auto", show_default=True,
              help="auto, direct, winograd2 or winograd4.")  # fmt: skip
@click.option(
    "--ways",
    help="Ways to compute for --what ways, with commas: attention=cudnn, "
    "norm=dtype, or options of XLA; by default those that are worth a GPU's minute.",
)
@click.option("--reference", type=common.PATH,
              help="A checkout of the PyTorch code, run in turn on the same weights.")  # fmt: skip
@common.dtype_option
@common.device_option
@common.json_option
@click.option("--start", type=common.PLACE, metavar="MODEL",
              help="Also time this model from a process's start to "
              "its first picture, with an empty and a filled cache.")  # fmt: skip
@click.option("--out", type=common.PATH, default="bench", show_default=True,
              help="Folder for bench.json, bench.md and bench.png.")  # fmt: skip
def command(model, stages, what, batch_sizes, presets, rounds, convolutions, ways, reference,
            dtype, device, start, out) -> None:  # fmt: skip
    """Time our networks in turn with the PyTorch reference, and with the machine's own limits.

    Outputs are compared before anything is timed. Ratios above 1 say that we are faster.
    """
    common.check_out(out)
    description = common.choose_device(device)
    from glide_jax import checks, compiling
    from glide_jax.benchmarks import bench, machine, summary
    from glide_jax.model_dir import reading
    from glide_jax.version import __version__

    listed = lambda text: tuple(part.strip() for part in text.split(",") if part.strip())
    sizes = [checks.whole("batch_sizes", size, 1, 4096) for size in listed(batch_sizes)]
    options = bench.Options(
        what=listed(what),
        batch_sizes=tuple(sizes),
        rounds=checks.whole("rounds", rounds, 1, 10_000),
        dtype=dtype,
        convolutions=convolutions,
        presets=listed(presets),
        reference=reference,
        **({} if ways is None else {"ways": listed(ways)}),
    )
    if start:
        reading.find_model(start, common.cache_folder() / "models")
    for stage in listed(stages):
        checks.one_of("stages", stage, ("base", "upsample"))
    common.say(f"device: {description}")
    compiling.enable_cache(common.cache_folder() / "xla")
    loads = bench.loads(model, common.cache_folder() / "models", listed(stages))
    rows: list[bench.Row] = []
    about = {"glide_jax": __version__, "commit": _commit(), "dtype": dtype,
             "convolutions": convolutions, "rounds": options.rounds}  # fmt: skip
    calls, done = bench.count(loads, options), itertools.count(1)
    with progress_bars("calls") as progress:
        for row in bench.rows(loads, options, lambda: progress("timing", next(done), calls)):
            rows.append(row)
            common.say(f"{row.name}: {row.times[bench.OURS].median:.4g} s")
            about |= machine.facts()
            summary.write_summary(out, rows, about)  # a run that is cut short has its rows
    for line in summary.markdown(rows).split("\n"):
        common.result(line)
    if start:
        from glide_jax.cli import preload

        about["start"] = preload.measure(start, device)
        for name, seconds in about["start"].items():
            parts = ", ".join(f"{part} {value:.1f} s" for part, value in seconds.items())
            common.result(f"{name} start of {start}: {parts}")
    for path in summary.write_summary(out, rows, about):
        whole = summary.as_json(rows, about) if path.suffix == ".json" else {}
        common.result(path, {"path": path, **whole})


def _commit() -> str | None:
    """The commit of the code that runs, where it is a git checkout."""
    here = pathlib.Path(__file__).parent
    done = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return done.stdout.strip() or None
