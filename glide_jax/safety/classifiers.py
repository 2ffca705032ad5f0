"""Classifiers of the kind that filtered GLIDE's data: frozen features, and an SVM on them.

scikit-learn fits it. What is kept are its support vectors in a safetensors file, which the few
lines of `Classifier.scores` evaluate, so no file of a classifier can run code.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.evaluation.metrics.intervals import share_of
from glide_jax.extras import extra
from glide_jax.files import replacing

MISSED = 0.01  # the part of positives that the threshold may miss, at the most
_FOLDS = 5
_PENALTY = 10.0  # scikit-learn's C
_FEWEST = 50  # labelled pictures of each kind
_BLOCK = 1024  # rows whose kernel is computed at once
_WORD = r"[a-z][a-z0-9_]{0,39}"
_ARRAYS = ("support", "dual", "mean", "scale")


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A fitted SVM with an RBF kernel.

    Attributes:
        name: its column is `score_NAME`.
        column: the column of features that it reads.
        network: the name and the sum of the network that made them.
        arrays: support vectors (s, d) and their weights (s,), and the mean and the scale (d,) of
            features, in float32.
        gamma: the kernel is exp(-gamma |x - y|^2).
        offset: what is added to the sum over support vectors; it makes 0 the threshold.
        errors: shares of held-out pictures: positives that are missed, and false alarms.
    """

    name: str
    column: str
    network: str
    arrays: Mapping[str, NDArray[np.float32]]
    gamma: float
    offset: float
    errors: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """The sum of all that decides its scores."""
        facts = (self.name, self.column, self.network, self.gamma, self.offset)
        digest = hashlib.sha256(repr(facts).encode())
        for name in _ARRAYS:
            digest.update(np.ascontiguousarray(self.arrays[name]).tobytes())
        return digest.hexdigest()

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Scores of features (n, d): from 0 on a picture counts as a positive.

        Raises:
            InputError: the classifier reads another number of features.
        """
        support, dual, mean, scale = (self.arrays[name].astype(np.float64) for name in _ARRAYS)
        if features.shape[1] != support.shape[1]:
            raise InputError(
                f"classifier {self.name!r} reads {support.shape[1]} features, not "
                f"{features.shape[1]}."
            )
        norms, found = (support**2).sum(axis=1), []
        for start in range(0, len(features), _BLOCK):
            x = (features[start : start + _BLOCK].astype(np.float64) - mean) / scale
            squares = (x**2).sum(axis=1)[:, None] + norms - 2.0 * x @ support.T
            found.append(np.exp(-self.gamma * squares.clip(min=0.0)) @ dual + self.offset)
        return np.concatenate([*found, np.zeros(0)]).astype(np.float32)

    def check(self, networks: Mapping[str, str]) -> None:
        """Refuses a table whose features another network made, or that has none.

        Args:
            networks: the name and the sum of the network of each column of features.

        Raises:
            InputError: it is so.
        """
        if networks.get(self.column) != self.network:
            there = networks.get(self.column, "none").split(" ")[0]
            raise InputError(
                f"classifier {self.name!r} reads the column {self.column} of "
                f"{self.network.split(' ')[0]}, and the table has it of {checks.shown(there)}: "
                "score the set with the same features."
            )


def fit(
    features: NDArray[np.floating],
    positive: NDArray[np.bool_],
    *,
    name: str,
    column: str,
    network: str,
) -> Classifier:
    """Fits a classifier, sets its threshold and measures it.

    A fifth of the rows is held out, and measures the errors. The threshold is the highest at which
    less than MISSED of the other positives are missed, by models that did not see them.

    Args:
        features: (n, d).
        positive: (n,), the labels.
        name: the classifier's, a word.
        column: see `Classifier`.
        network: see `Classifier`.

    Raises:
        InputError: there are too few of a kind, or the name is none.
    """
    if not re.fullmatch(_WORD, name):
        raise InputError(
            f"name is {checks.shown(name)}; it must be a word of small letters, such as people."
        )
    if min(positive.sum(), (~positive).sum()) < _FEWEST:
        raise InputError(
            f"{positive.sum():,} labelled pictures are positives and {(~positive).sum():,} are "
            f"not; {_FEWEST} of each are needed at least."
        )
    svm, selection = extra("sklearn.svm"), extra("sklearn.model_selection")
    rest, held = selection.train_test_split(
        np.arange(len(features)), test_size=0.2, stratify=positive, random_state=0
    )
    mean, scale = features[rest].mean(axis=0), features[rest].std(axis=0)
    scale = np.where(scale > 1e-6 * scale.max(), scale, 1.0)
    x = (features.astype(np.float64) - mean) / scale
    gamma = 1.0 / x.shape[1]  # scikit-learn's "scale", for features of variance 1
    model = svm.SVC(C=_PENALTY, gamma=gamma, class_weight="balanced", cache_size=500)
    folds = selection.StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    unseen = selection.cross_val_predict(
        model, x[rest], positive[rest], cv=folds, method="decision_function"
    )
    ranked = np.sort(unseen[positive[rest]])
    threshold = ranked[int(np.ceil(MISSED * len(ranked))) - 1]  # fewer lie below than the share
    model.fit(x[rest], positive[rest])
    arrays = {"support": model.support_vectors_, "dual": model.dual_coef_[0], "mean": mean,
              "scale": scale}  # fmt: skip
    arrays = {key: np.ascontiguousarray(array, np.float32) for key, array in arrays.items()}
    offset = float(model.intercept_[0] - threshold)
    fitted = Classifier(name, column, network, arrays, gamma, offset, {})
    flagged, truth = fitted.scores(features[held]) >= 0.0, positive[held]
    errors = {
        "missed": share_of(int((~flagged & truth).sum()), int(truth.sum())),
        "false_alarms": share_of(int((flagged & ~truth).sum()), int((~truth).sum())),
    }
    return dataclasses.replace(fitted, errors=errors)


def save(classifier: Classifier, path: pathlib.Path) -> None:
    """Writes a classifier as one safetensors file."""
    from safetensors.numpy import save_file

    facts = dataclasses.asdict(classifier)
    arrays = facts.pop("arrays")
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata={"classifier": json.dumps(facts)})


def load(path: str | os.PathLike) -> Classifier:
    """Reads a classifier.

    Raises:
        InputError: the file is none of `save`.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            facts = json.loads((file.metadata() or {})["classifier"])
            arrays = {name: file.get_tensor(name).astype(np.float32) for name in _ARRAYS}
        found = Classifier(**facts, arrays=arrays)
        support, dual, mean, scale = (arrays[name] for name in _ARRAYS)
        sizes = len(dual), len(mean)
        numbers = np.isfinite([found.gamma, found.offset]).all()
        if support.shape != sizes or len(scale) != len(mean) or not numbers:
            raise ValueError("its sizes or numbers do not fit each other")
        if not re.fullmatch(_WORD, found.name) or not isinstance(found.network, str):
            raise ValueError("its names are no words")
    except OSError as error:
        why = error.strerror or str(error)
        raise InputError(f"{checks.shown(str(path), 200)} cannot be read: {why}.") from None
    except Exception as error:  # a foreign file leads its readers to whatever comes
        why = checks.printable(str(error).rstrip("."), 200)
        raise InputError(
            f"{checks.shown(str(path), 200)} is no classifier of `glide-jax data fit`: {why}."
        ) from None
    return found
