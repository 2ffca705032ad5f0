"""`glide-jax eval`: a protocol on a model, in one command that may be stopped and started."""

import pathlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from glide_jax import checks
from glide_jax.cli import common
from glide_jax.cli.progress import Report, progress_bars
from glide_jax.errors import InputError

if TYPE_CHECKING:
    from glide_jax.evaluation.protocols import Protocol
    from glide_jax.evaluation.setup import Folders, Setup

_RUN_OPTIONS = (
    click.option("--guidance-scale", "scales", multiple=True,
                 help="Guidance scale of the base; give it more than once for more runs."),
    click.option("--steps", help="Steps of the base: 1 to 1000, or a respacing such as fast27."),
    click.option("--sampler", help="Sampler of the base, such as ddpm or ddim."),
)  # fmt: skip
_CLIP_OPTIONS = (
    click.option(
        "--clip", type=common.PLACE, help="Model directory whose CLIP reads the pictures."
    ),
    click.option("--clip-file", type=common.PLACE, help="Or OpenAI's CLIP: its file ViT-B-16.pt."),
)
_DRAW_OPTIONS = (
    click.option("--seed", default="0", show_default=True, help="0 to 4294967295."),
    click.option("--upsample/--no-upsample", default=True, help="Run the upsampler, if any."),
    click.option("--batch-size", default="16", show_default=True, help="Pictures at once."),
)
alignment_option = click.option(
    "--alignment/--no-alignment", default=False,
    help="For emoji: have a judge that taught no model compare pictures and captions.",
)  # fmt: skip
data_dir_option = click.option(
    "--data-dir", type=common.PATH,
    help="Where built sets and packages are kept.",
)  # fmt: skip
inception_option = click.option(
    "--inception", type=common.PLACE, help="File with the Inception weights of 2015."
)
_MODEL_OPTIONS = (
    common.model_option, common.dtype_option, common.device_option, common.out_option,
)  # fmt: skip
_PROTOCOL_OPTIONS = (
    click.option("--protocol", default="shapes", show_default=True,
                 help="shapes, shapes_repeats, folder, emoji, emoji_flat or coco30k."),
    click.option("--path", type=common.PLACE,
                 help="Pictures with captions (folder), or COCO's own folder."),
    click.option("--n", help="Prompts; of shapes, of each kind and split [50]; of emoji, of "
                 "each split [200]."),
    click.option("--filtered", type=common.PLACE,
                 help="For coco30k: people or people-words leave out pictures of "
                 "people, a file those that it names."),
    click.option("--features", default="none", show_default=True,
                 help="none, efficientnet-lite0, mobilenet-v2, inception or clip-vit-b16."),
    inception_option,
    *_CLIP_OPTIONS,
    alignment_option,
    *_DRAW_OPTIONS,
    data_dir_option,
    *_MODEL_OPTIONS,
)  # fmt: skip


def with_options(*options: Callable) -> Callable[[Callable], Callable]:
    """A decorator that gives a command several options, listed in this order by --help."""

    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


protocol_options = with_options(*_PROTOCOL_OPTIONS)
probe_options = with_options(*_RUN_OPTIONS, *_CLIP_OPTIONS, *_DRAW_OPTIONS, *_MODEL_OPTIONS)


@click.command("eval")
@with_options(*_RUN_OPTIONS)
@click.option("--part", help="I/K: draw only the I-th of K parts, from 0, and measure nothing.")
@click.option("--samples/--no-samples", default=True, help="Keep the pictures when done.")
@protocol_options
@common.json_option
def command(
    scales: tuple[str, ...],
    steps: str | None,
    sampler: str | None,
    samples: bool,
    part: str | None,
    **options: Any,
) -> None:
    """Draw a protocol's prompts, judge and measure the pictures, and write a report into --out.

    Pictures that are there are not drawn again, so a run may be stopped at any time. Several
    machines may share a folder: each draws its --part, and a last command without measures.
    """
    share = None if part is None else parse_part(part)
    if share is not None:
        _check_part({**options, "no_samples": not samples})
    runs = runs_for(scales, steps, sampler)
    setup = open_setup(options, runs, {}, measures=share is None)
    if share is not None:
        glide = common.load_glide(setup.model, options["dtype"], options["device"])
        return setup.draw_part(glide, runs, share, bars)
    title, results = evaluate_runs(setup, runs, options)
    for path in setup.write_report(title, results):
        common.result(path)
    if not samples:
        setup.drop_pictures(list(results))


def evaluate_runs(
    setup: "Setup", runs: list[dict[str, Any]], options: dict[str, Any]
) -> tuple[str, dict[str, dict[str, Any]]]:
    """Loads judges and model, and evaluates every run.

    Args:
        setup: from `open_setup`.
        runs: sampling options of each run.
        options: the command's options.

    Returns:
        The report's title, and the results by the runs' names.
    """
    common.choose_device(options["device"])  # before the judges start JAX on another
    with bars("judges") as progress:
        evaluator = setup.open_evaluator(progress)
    glide = common.load_glide(setup.model, options["dtype"], options["device"])
    results = {}
    for name, result in setup.evaluate(glide, runs, evaluator, bars):
        path = setup.out / name / "result.json"
        common.result(path, {"path": path, "run": name, **result})
        results[name] = result
    return f"{glide.loaded.name}, {setup.protocol.name}", results


def folders(data_dir: pathlib.Path | None = None) -> "Folders":
    """The cache folders; built sets may lie elsewhere."""
    from glide_jax.evaluation.setup import Folders

    cache = common.cache_folder()
    return Folders(cache / "models", data_dir or cache / "data")


def open_setup(
    options: dict[str, Any],
    runs: list[dict[str, Any]],
    shared: dict[str, Any],
    *,
    measures: bool = True,
) -> "Setup":
    """The setup of the options in `_PROTOCOL_OPTIONS`, once nothing is found to be wrong.

    Args:
        options: by name.
        runs: sampling options of each run.
        shared: further sampling options of all runs.
        measures: whether a report is written, which has plots where there is a judge.
    """
    from glide_jax.evaluation import plots, protocols, setup
    from glide_jax.evaluation.features import known

    checks.one_of("features", options["features"], ("none", *known.NAMES))
    _check_idle(options)
    size = checks.whole("batch_size", options["batch_size"], 1, 4096)
    common.check_out(options["out"])
    caches = folders(options["data_dir"])
    protocol = protocols.open_protocol(
        options["protocol"], n=options["n"], path=options["path"], data_dir=caches.data,
        filtered=options["filtered"],
    )  # fmt: skip
    judges = setup.JudgeNames(*(options[name] for name in setup.JudgeNames._fields))
    shared = {**shared, "seed": options["seed"], "upsample": options["upsample"]}
    check_runs(options, runs, shared, protocol)
    if measures and protocol.judged:
        plots.check()
    return setup.Setup(protocol, judges, options["model"], options["out"], shared, size, caches)


def _check_idle(options: dict[str, Any]) -> None:
    """Refuses options that the protocol and the judges leave without effect."""
    from glide_jax.evaluation.features import known

    protocol, features = options["protocol"], options["features"]
    packages = protocol.startswith("emoji") or features in known.PACKAGED or options["alignment"]
    idle = {
        "path": protocol not in ("folder", "coco30k")
        and f"protocol {protocol!r} has no use for it",
        "inception": features != "inception" and f"features is {features!r}",
        "data_dir": not packages and "no built set and no package is read",
    }
    for name, why in idle.items():
        if options[name] is not None and why:
            raise InputError(f"--{name.replace('_', '-')} is given, but {why}; leave it out.")


def _check_part(options: dict[str, Any]) -> None:
    """Refuses options of judges where nothing is measured."""
    for name in ("inception", "clip", "clip_file", "alignment", "no_samples", "features"):
        if options[name] not in (None, False, "none"):
            raise InputError(
                f"--{name.replace('_', '-')} is given, but --part draws and measures nothing; "
                "give it to the last command, which is without --part."
            )


def check_runs(
    options: dict[str, Any],
    runs: list[dict[str, Any]],
    shared: dict[str, Any],
    protocol: "Protocol | None" = None,
) -> None:
    """Refuses runs that cannot be drawn, and one that is there twice, before anything is drawn.

    Args:
        options: the command's, of which the model and its type are read.
        runs: sampling options of each run.
        shared: sampling options of all.
        protocol: fixes others.
    """
    from glide_jax.evaluation.setup import run_name
    from glide_jax.sampling.call import parse

    outline, calls = common.outline(options["model"], options["dtype"]), {}
    if protocol is not None:
        shared = {**protocol.fixed(outline), **shared}
    for run in runs:
        name, call = run_name(run), parse({**shared, **run})
        outline.check("", call)
        for other, known in calls.items():
            if name == other or call == known:
                raise InputError(f"the runs {other} and {name} are the same; give each value once.")
        calls[name] = call


def runs_for(scales: tuple[str, ...], steps: str | None, sampler: str | None) -> list[dict]:
    """The sampling options of each run: one for each guidance scale, or one if there are none.

    Args:
        scales: values of --guidance-scale.
        steps: value of --steps.
        sampler: value of --sampler.
    """
    from glide_jax.evaluation import sweeps

    given = lambda value: () if value is None else (value,)
    return sweeps.combinations(scales, steps=given(steps), samplers=given(sampler))


def parse_part(part: str) -> tuple[int, int]:
    """(I, K) of "I/K"."""
    mine, slash, parts = part.partition("/")
    if not slash:
        raise InputError(f"part is {checks.shown(part)}; it must be I/K, such as 0/4.")
    total = checks.whole("parts", parts, 1, 100_000)
    return checks.whole("part", mine, 0, total - 1), total


def bars(name: str) -> AbstractContextManager[Report]:
    """One progress bar for each task of a run."""
    return progress_bars("pictures", prefix=f"{name} ")
