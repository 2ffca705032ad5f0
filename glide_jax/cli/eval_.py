"""`glide-jax eval`: a protocol on a model, in one command that may be stopped and started."""

import contextlib
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from glide_jax import checks
from glide_jax.cli import common
from glide_jax.errors import InputError


def clip_options(command: Callable) -> Callable:
    """Who reads pictures and captions; see `open_clip`."""
    options = [
        click.option("--clip", help="Model directory whose CLIP reads the pictures."),
        click.option("--clip-file", help="Or OpenAI's CLIP: its file ViT-B-16.pt."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def protocol_options(command: Callable) -> Callable:
    """Options of every command that runs a protocol."""
    options = [
        click.option("--protocol", default="shapes", show_default=True,
                     help="shapes, shapes_repeats, folder, emoji or coco30k."),
        click.option("--path", help="Pictures with captions (folder), or COCO's own folder."),
        click.option("--n", help="Prompts; of shapes, of each kind and split [50]; of emoji, of "
                     "each split [200]."),
        click.option("--filtered", help="Of coco30k: people or people-words leave out pictures of "
                     "people, a file those that it names."),
        click.option("--features", default="none", show_default=True,
                     help="none, efficientnet-lite0, inception or clip-vit-b16."),
        click.option("--inception", help="File with the Inception weights of 2015."),
        clip_options,
        click.option("--seed", default="0", show_default=True, help="0 to 4294967295."),
        click.option("--upsample/--no-upsample", default=True, help="Run the upsampler, if any."),
        click.option("--batch-size", default="16", show_default=True, help="Pictures at once."),
        click.option("--data-dir", type=click.Path(path_type=pathlib.Path),
                     help="Where built sets and packages are kept."),
        common.model_option,
        common.dtype_option,
        common.device_option,
        common.out_option,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command("eval")
@click.option(
    "--guidance-scale", "scales", multiple=True, help="Of the base; more than once for more runs."
)
@click.option("--steps", help="Of the base: 1 to 1000, or a respacing such as fast27.")
@click.option("--sampler", help="Of the base, such as ddpm or ddim.")
@click.option("--part", help="I/K: draw only the I-th of K parts, from 0, and measure nothing.")
@click.option("--samples/--no-samples", default=True, help="Keep the pictures when done.")
@protocol_options
def command(scales: tuple[str, ...], samples: bool, part: str | None, **options: Any) -> None:
    """Draw a protocol's prompts, judge and measure the pictures, and write a report into --out.

    Pictures that are there are not drawn again, so a run may be stopped at any time. Several
    machines may share a folder: each draws its --part, and a last command without measures.
    """
    share = None if part is None else parse_part(part)
    setup = Setup(**options, measures=part is None)
    chosen = [("steps", setup.steps), ("sampler", setup.sampler)]
    fixed = {key: value for key, value in chosen if value is not None}
    runs = [{**fixed, **({} if s is None else {"guidance_scale": s})} for s in scales or (None,)]
    if share is not None:
        return setup.draw_part(runs, share)
    results = setup.evaluate(runs)
    setup.report(results, samples)


class Setup:
    """What the options of a protocol come to: model, protocol, judges, and runs in a folder."""

    def __init__(self, protocol: str, path: str | None, n: str | None, features: str,
                 inception: str | None, clip: str | None, clip_file: str | None,
                 filtered: str | None, seed: str, upsample: bool,
                 batch_size: str, data_dir: pathlib.Path | None, model: str, dtype: str,
                 device: str | None, out: pathlib.Path, steps: str | None = None,
                 sampler: str | None = None, measures: bool = True):  # fmt: skip
        """Checks what is quick to check before anything is loaded."""
        from glide_jax.evaluation import features as extractors
        from glide_jax.evaluation import protocols

        checks.one_of("features", features, ("none", *extractors.NAMES))
        self.batch_size = checks.whole("batch_size", batch_size, 1, 4096)
        common.check_out(out)
        self.data_dir = data_dir or common.cache_folder() / "data"
        count = None if n is None else checks.whole("n", n, 1, 1_000_000)
        self.protocol = protocols.open_protocol(
            protocol, n=count, path=path, data_dir=self.data_dir, filtered=filtered
        )
        self.out, self.steps, self.sampler = out, steps, sampler
        self.common: dict[str, Any] = {"seed": seed, "upsample": upsample}
        self.model_sha256 = sha256_of_model(model)
        check_folder(out, self.model_sha256)
        common.choose_device(device)  # before anything else starts JAX on another
        judges = self._open_judges
        self.judges = judges(features, inception, clip, clip_file) if measures else None
        self.glide = common.load_glide(model, dtype, device)

    def evaluate(self, runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Every run's result by its name; one that is already there is only measured anew."""
        from glide_jax.evaluation import evaluate

        assert self.judges is not None, "a part is only drawn"
        results, reference = {}, evaluate.Reference(self.protocol, self.judges)
        for run in runs:
            name = name_of(run)
            with bars(name) as progress:
                result = evaluate.evaluate(
                    self.glide, self.protocol, self.out / name, {**self.common, **run}, reference,
                    batch_size=self.batch_size, progress=progress,
                )  # fmt: skip
            result["model_sha256"] = self.model_sha256
            evaluate.write_json(self.out / name / "result.json", result)
            evaluate.write_sheet(self.out / name, self.protocol.prompts)
            common.result(self.out / name / "result.json")
            results[name] = result
        return results

    def draw_part(self, runs: Sequence[dict[str, Any]], share: tuple[int, int]) -> None:
        """Draws one machine's share of every run."""
        from glide_jax.evaluation import draws

        for run in runs:
            options = {**self.protocol.sampling, **self.common, **run}
            with bars(name_of(run)) as progress:
                draws.draw(
                    self.glide, self.protocol.prompts, self.out / name_of(run), options,
                    batch_size=self.batch_size, part=share,
                    progress=functools.partial(progress, "draw"),
                )  # fmt: skip

    def report(self, results: dict[str, dict[str, Any]], samples: bool) -> None:
        """Writes the report of all runs; then drops the pictures, if they are not wanted."""
        import shutil

        from glide_jax.evaluation import draws, run_report, shapes_report

        judge = shapes_report.judge_accuracy(200) if self.protocol.judged else None
        title = f"{self.glide.loaded.name}, {self.protocol.name}"
        for path in run_report.write(self.out, title, results, judge):
            common.result(path)
        if not samples:
            for name in results:
                shutil.rmtree(self.out / name / draws.FOLDER)

    def _open_judges(
        self, features: str, inception: str | None, clip: str | None, clip_file: str | None
    ) -> Any:
        from glide_jax.evaluation import evaluate
        from glide_jax.evaluation import features as extractors
        from glide_jax.evaluation.features import openai_clip

        scorer, extractor = open_clip(clip, clip_file), None
        if features == openai_clip.NAME and clip_file is not None:
            extractor = scorer.images  # the same file, not read twice
        elif features != "none":
            extractor = extractors.open_features(features, self.data_dir, inception)
        return evaluate.Judges(extractor, scorer)


def check_folder(out: pathlib.Path, model_sha256: str) -> None:
    """Refuses a folder of another model's pictures: by names alone they would be kept."""
    import json

    from glide_jax.evaluation import evaluate

    file = out / "model.json"
    if file.exists():
        if json.loads(file.read_text("utf-8")).get("sha256") == model_sha256:
            return
        raise InputError(f"--out {str(out)!r} holds pictures of another model.")
    evaluate.write_json(file, {"sha256": model_sha256})


def open_clip(model: str | None, file: str | None) -> Any:
    """The CLIP of a model directory, or of a file of OpenAI's; None if neither is given.

    Raises:
        InputError: both are given, or there is no CLIP in what is given.
    """
    from glide_jax.evaluation.features import clip, openai_clip
    from glide_jax.model_dir import reading

    if model is not None and file is not None:
        raise InputError("--clip and --clip-file are two CLIPs; give one of them.")
    if file is not None:
        return openai_clip.load(file)
    if model is None:
        return None
    found = reading.read_model(reading.find_model(model, common.cache_folder() / "models"))
    if found.clip is None:
        raise InputError(f"model {model!r} has no CLIP to read pictures with.")
    return clip.noised_clip(found.name, *found.clip)


def parse_part(part: str) -> tuple[int, int]:
    """(I, K) of "I/K"."""
    mine, slash, parts = part.partition("/")
    if not slash:
        raise InputError(f"part is {checks.shown(part)}; it must be I/K, such as 0/4.")
    total = checks.whole("parts", parts, 1, 100_000)
    return checks.whole("part", mine, 0, total - 1), total


def name_of(run: dict[str, Any]) -> str:
    """A run's folder: what was chosen for it, or "default"."""
    short = {"guidance_scale": "w", "clip_guidance_scale": "clip", "steps": "steps", "sampler": ""}
    return "-".join(f"{short[key]}{common.slug(str(run[key]).replace('.', 'p'))}" for key in short
                    if key in run) or "default"  # fmt: skip


def sha256_of_model(model: str) -> str:
    """The sum of a model directory's files: names and contents, and weights it has of another."""
    from glide_jax.model_dir import disk, reading

    digest = hashlib.sha256()
    folder = reading.find_model(model, common.cache_folder() / "models")
    files = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.suffix in (".safetensors", ".json", ".model")
    }
    config = disk.read_config(folder)
    for part in {"base", "upsample", "clip"} & config.keys():
        files[f"{part}.safetensors"] = disk.weights_file(folder, config, part)
    # A file that is missing is told of by whoever reads the model.
    for name, path in sorted((name, path) for name, path in files.items() if path.exists()):
        digest.update(name.encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@contextlib.contextmanager
def bars(name: str) -> Iterator[Callable[[str, int, int], None]]:
    """One bar for each thing that is done in a run."""
    from tqdm import tqdm

    open_bars: dict[str, Any] = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in open_bars:
            open_bars[what] = tqdm(total=total or None, desc=f"{name} {what}", unit=" pictures")
        open_bars[what].update(done - open_bars[what].n)

    try:
        yield report
    finally:
        for bar in open_bars.values():
            bar.close()
