"""Evaluations of one model: the judges, the folder with its runs, and the runs themselves."""

import dataclasses
import functools
import hashlib
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from glide_jax.errors import InputError
from glide_jax.evaluation import draws, emoji_judge, evaluate, run_report, shapes_scores
from glide_jax.evaluation.features import clip, known, openai_clip
from glide_jax.evaluation.protocols import Protocol
from glide_jax.evaluation.report import write_json
from glide_jax.files import read_object
from glide_jax.model_dir import disk, reading
from glide_jax.model_dir.convert import file_sha256
from glide_jax.sampling.glide import Glide

Run = dict[str, Any]  # the sampling options that tell a run from others
Bars = Callable[[str], AbstractContextManager[evaluate.Progress]]  # progress bars of a named run


class Folders(NamedTuple):
    """Folders of models and of built sets and packages."""

    models: pathlib.Path
    data: pathlib.Path


class JudgeNames(NamedTuple):
    """Names of the judges and the files of their weights; see `docs/evaluation.md`."""

    features: str = "none"  # or one of known.NAMES
    inception: str | None = None  # file of the Inception weights of 2015
    clip: str | None = None  # model directory whose CLIP reads the pictures
    clip_file: str | None = None  # or OpenAI's ViT-B-16.pt
    alignment: bool = False  # whether the emoji judge reads the pictures


@dataclasses.dataclass(frozen=True)
class Setup:
    """Runs of a protocol on one model, each in a folder of its own.

    Attributes:
        protocol: the prompts and the reference pictures.
        judges: their names and files, which `open_evaluator` loads.
        model: a model directory or a name.
        out: the folder of all runs, which is of this model from now on.
        options: sampling options that all runs share.
        batch_size: pictures drawn at once, 1 to 4096.
        folders: the caches.
    """

    protocol: Protocol
    judges: JudgeNames
    model: str
    out: pathlib.Path
    options: dict[str, Any]
    batch_size: int
    folders: Folders
    model_sha256: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Checks what is quick to check before anything is loaded."""
        if self.judges.alignment:
            _check_alignment(self.protocol)
        sha256 = sha256_of_model(self.model, self.folders.models)
        claim_folder(self.out, sha256)
        object.__setattr__(self, "model_sha256", sha256)

    def open_evaluator(
        self, progress: evaluate.Progress = lambda task, done, total: None
    ) -> evaluate.Evaluator:
        """The protocol with its judges, whose weights are read here.

        Args:
            progress: called while the emoji judge is fitted, where it is not yet.

        Raises:
            InputError: weights are missing or another network's.
        """
        features, inception, model, file, alignment = self.judges
        scorer, extractor = open_clip(model, file, self.folders.models), None
        if features == openai_clip.NAME and file is not None and scorer is not None:
            extractor = scorer.images  # the same file, not read twice
        elif features != "none":
            extractor = known.open_features(features, self.folders.data, inception)
        judge = None
        if alignment:
            fitting = functools.partial(progress, "fit the judge")
            judge = emoji_judge.open_judge(self.folders.data, fitting)
        return evaluate.Evaluator(self.protocol, extractor, scorer, judge)

    def evaluate(
        self, glide: Glide, runs: Sequence[Run], evaluator: evaluate.Evaluator, bars: Bars
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields every run's name and result; a run that is already drawn is only measured anew.

        Args:
            glide: the model.
            runs: options of each run.
            evaluator: from `open_evaluator`.
            bars: progress bars of a run by its name.
        """
        for run in runs:
            name = run_name(run)
            with bars(name) as progress:
                result = evaluator.run(
                    glide, self.out / name, {**self.options, **run},
                    batch_size=self.batch_size, progress=progress,
                )  # fmt: skip
            result["model_sha256"] = self.model_sha256
            write_json(self.out / name / "result.json", result)
            evaluate.write_sheet(self.out / name, self.protocol.prompts)
            yield name, result

    def draw_part(
        self, glide: Glide, runs: Sequence[Run], part: tuple[int, int], bars: Bars
    ) -> None:
        """Draws one machine's share of every run.

        Args:
            glide: the model.
            runs: options of each run.
            part: (this machine's number from 0, number of machines).
            bars: progress bars of a run by its name.
        """
        for run in runs:
            fixed = self.protocol.fixed(glide)
            options = {**fixed, **self.options, **run}
            with bars(run_name(run)) as progress:
                draws.draw_missing(
                    glide, self.protocol.prompts, self.out / run_name(run), options,
                    batch_size=self.batch_size, part=part,
                    progress=functools.partial(progress, "draw"),
                )  # fmt: skip

    def write_report(self, title: str, results: dict[str, dict[str, Any]]) -> list[pathlib.Path]:
        """Writes the report of all runs; returns its paths."""
        judge = shapes_scores.judge_accuracy(200) if self.protocol.judged else None
        return run_report.write_run_report(self.out, title, results, judge)

    def drop_pictures(self, names: Sequence[str]) -> None:
        """Deletes the pictures of runs, whose results stay."""
        for name in names:
            shutil.rmtree(self.out / name / draws.FOLDER)


def _check_alignment(protocol: Protocol) -> None:
    """Refuses prompts that the emoji judge cannot judge fairly."""
    name, _, _ = protocol.name.partition("/")
    if name not in ("emoji", "emoji_flat"):
        raise InputError(
            f"alignment is judged by emoji, and protocol {protocol.name!r} draws other pictures; "
            "take --protocol emoji or emoji_flat, or leave out --alignment."
        )
    # A third of the pictures withheld from the judge are of the flat styles.
    most = emoji_judge.WITHHELD // (1 if name == "emoji" else 4)
    if (drawn := protocol.groups.count("train")) > most:
        raise InputError(
            f"n is {drawn}, and the judge of --alignment was fitted on other training pictures "
            f"than the first {most}; give that many at the most."
        )


def claim_folder(out: pathlib.Path, model_sha256: str) -> None:
    """Refuses a folder of another model's pictures: by names alone they would be kept.

    Raises:
        InputError: the folder holds pictures of another model, or its model.json is damaged.
    """
    file = out / "model.json"
    if not file.exists():
        write_json(file, {"sha256": model_sha256})
    elif read_object(file).get("sha256") != model_sha256:
        raise InputError(f"--out {str(out)!r} holds pictures of another model.")


def open_clip(model: str | None, file: str | None, models: pathlib.Path) -> clip.Clip | None:
    """The CLIP of a model directory, or of a file of OpenAI's; None if neither is given.

    Args:
        model: a model directory or a name.
        file: the path of ViT-B-16.pt.
        models: the cache of models.

    Raises:
        InputError: both are given, or there is no CLIP in what is given.
    """
    if model is not None and file is not None:
        raise InputError("--clip and --clip-file are two CLIPs; give one of them.")
    if file is not None:
        return openai_clip.load_openai_clip(file)
    if model is None:
        return None
    directory = reading.read_model(reading.find_model(model, models))
    if directory.clip is None:
        raise InputError(f"model {model!r} has no CLIP to read pictures with.")
    return clip.noised_clip(directory.name, *directory.clip)


def run_name(run: Run) -> str:
    """A run's folder: the options chosen for it, or "default"."""
    short = {"guidance_scale": "w", "clip_guidance_scale": "clip", "steps": "steps", "sampler": ""}

    def slug(value: Any) -> str:
        text = re.sub("^-", "m", str(value).replace(".", "p").lower())  # a scale below 0
        name = re.sub(r"[^a-z0-9]+", "-", text).strip("-") or "empty"
        cut = f"{name[:39]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        return name if len(name) <= 48 else cut

    parts = [f"{short[key]}{slug(run[key])}" for key in short if key in run]
    # The others by their whole names, in an order that does not hang on how they were given.
    parts += [f"{key.replace('_', '-')}-{slug(run[key])}" for key in sorted(run.keys() - short)]
    return "-".join(parts) or "default"


def sha256_of_model(model: str, models: pathlib.Path) -> str:
    """The sum of a model directory's files: names and contents, and weights it has of another."""
    digest, folder = hashlib.sha256(), reading.find_model(model, models)
    files = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        # The forms decide nothing that is drawn, and models that gain them stay the same.
        if path.suffix in (".safetensors", ".json", ".model") and path.name != disk.FORMS
    }
    config = disk.read_config(folder)
    for part in {"base", "upsample", "clip"} & config.keys():
        files[f"{part}.safetensors"] = disk.weights_file(folder, config, part)
    # A missing file is an error of the code that reads the model, not of this sum.
    for name, path in sorted((name, path) for name, path in files.items() if path.exists()):
        digest.update(name.encode())
        digest.update(bytes.fromhex(file_sha256(path)))
    return digest.hexdigest()
