"""The emoji of people: which they are, what a filter leaves of them, and what shows one."""

import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from glide_jax.data.readers.emoji_views import FLAT_STYLES
from glide_jax.data.recipes import emoji
from glide_jax.data.recipes.packages import fetch
from glide_jax.evaluation.metrics.manifold import nearest_neighbours
from glide_jax.safety import classifiers, score_table
from glide_jax.safety.scoring import vectors_of

GROUPS = {"people-body": "people", "smileys-emotion": "faces"}  # all others are things
KINDS = ("people", "faces", "things")
NEAREST = 5  # real pictures that decide by their majority what a picture shows
# Of the groups of faces and people, what shows neither.
NO_PERSON = re.compile(
    r"(^|-)(heart|hearts|cat|monkey|kiss-mark|love-letter|hundred-points|anger-symbol|collision|"
    r"dizzy|sweat-droplets|dashing-away|hole|speech-bubble|speech-balloon|thought-balloon|zzz|"
    r"footprints|speaking-head|pile-of-poo|anger-bubble)($|-)"
)
CLASSIFIER = "people.safetensors"
FLAT = " OR ".join(f"name LIKE '{style}/%'" for style in FLAT_STYLES)


class Real(NamedTuple):
    """The real pictures of all styles, and what the filter of `sets` says of each."""

    names: list[str]
    captions: list[list[str]]
    kinds: np.ndarray
    features: np.ndarray
    passed: np.ndarray

    def of(self, styles: Sequence[str]) -> np.ndarray:
        """Which pictures are of these styles."""
        return np.array([name.partition("/")[0] in styles for name in self.names])

    def concepts(self) -> np.ndarray:
        """What each picture shows, in one word."""
        return np.array([name.partition("/")[2] for name in self.names])


def kinds_of_concepts(data_dir: pathlib.Path) -> dict[str, str]:
    """The kind of every concept by its slug, by Unicode's groups."""
    concepts = emoji.read_concepts(fetch(emoji.LABELS, data_dir)).values()
    found = {c.slug: GROUPS.get(c.group, "things") for c in concepts if c}
    return {slug: "things" if NO_PERSON.search(slug) else kind for slug, kind in found.items()}


def write_sets(folder: pathlib.Path, data_dir: pathlib.Path) -> None:
    """Fits the classifier on the styles that are not trained on, and writes the two sets."""
    people = [slug for slug, kind in kinds_of_concepts(data_dir).items() if kind != "things"]
    names = ", ".join(f"'{slug}'" for slug in sorted(people))
    scores, classifier = folder / "table", folder / CLASSIFIER
    run("data", "fit", scores, classifier, "--name", "people", "--among", f"NOT ({FLAT})",
        "--positive", f"split_part(name, '/', 2) IN ({names})")  # fmt: skip
    run("data", "filter", scores, folder / "all", "--where", FLAT)
    run("data", "filter", scores, folder / "filtered", "--classifier", classifier,
        "--where", f"({FLAT}) AND score_people < 0")  # fmt: skip


def run(*words: object) -> None:
    """Runs a command of this package in a process of its own."""
    subprocess.run([sys.executable, "-m", "glide_jax", *map(str, words)], check=True)


def read_real(folder: pathlib.Path, data_dir: pathlib.Path) -> Real:
    """The table of `data score` with the kinds of its rows."""
    scored = score_table.opened(folder / "table")
    rows = scored.read([classifiers.load(folder / CLASSIFIER)])
    kinds, names = kinds_of_concepts(data_dir), rows["name"].to_pylist()
    _, features = vectors_of(scored.vectors("features"), "features")
    of_each = np.array([kinds[name.partition("/")[2]] for name in names])
    passed = rows["score_people"].to_numpy() < 0
    return Real(names, rows["captions"].to_pylist(), of_each, features, passed)


def shows_people(
    real: Real, features: np.ndarray, concepts: Sequence[str] | None = None
) -> np.ndarray:
    """Whether most of the nearest real pictures of each vector show people or faces.

    Args:
        real: the real pictures.
        features: (n, d), of the network that the table has.
        concepts: of each vector one, whose pictures are not taken for neighbours.
    """
    there, people = real.concepts(), real.kinds != "things"
    most = NEAREST + len(emoji.STYLES)  # a concept has a picture of each style at the most
    nearest, _ = nearest_neighbours(features, real.features, k=most)
    found = []
    for rows, own in zip(nearest, concepts or [""] * len(features), strict=True):
        others = rows[there[rows] != own][:NEAREST]
        found.append(people[others].mean() > 0.5)
    return np.array(found)
