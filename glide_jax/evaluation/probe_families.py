"""Families of prompts that probe a model, read from probe_families.toml."""

import dataclasses
import hashlib
import json
import tomllib
from importlib import resources

CLIP, SHAPES = "clip", "shapes"  # the two readers of pictures


@dataclasses.dataclass(frozen=True)
class Family:
    """Prompts that differ in one attribute, and the questions about their pictures.

    Attributes:
        name: its name on the command line.
        about: its purpose, in a sentence.
        prompts: one for each value of the attribute.
        pairs: values whose pictures are compared.
        questions: each with its answers, and for each answer the caption a CLIP is shown; empty
            where the shapes judge answers questions of its own.
    """

    name: str
    about: str
    prompts: dict[str, str]
    pairs: tuple[tuple[str, str], ...]
    questions: dict[str, dict[str, str]]

    @property
    def reader(self) -> str:
        """CLIP or SHAPES."""
        return CLIP if self.questions else SHAPES

    @property
    def sha256(self) -> str:
        """The sum of the whole family, as JSON."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self)).encode()).hexdigest()


def _read() -> dict[str, Family]:
    text = (resources.files("glide_jax.evaluation") / "probe_families.toml").read_text("utf-8")
    return {
        name: Family(
            name, table["about"], table["prompts"], tuple((a, b) for a, b in table["pairs"]),
            table.get("questions", {}),
        )
        for name, table in tomllib.loads(text).items()
    }  # fmt: skip


FAMILIES = _read()
