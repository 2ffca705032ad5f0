"""Models of a Hugging Face hub: fetched into its cache, and sent there.

Only configs, weights as safetensors, tokenizers and cards are fetched, so nothing that comes is
ever unpickled or run. HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are the hub's own settings.
"""

import contextlib
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from glide_jax import checks, files
from glide_jax.errors import InputError
from glide_jax.extras import extra

SCHEME = "hf://"
# What a model directory consists of; anything else stays where it is.
PARTS = ("*.json", "*.safetensors", "*.model", "README.md")
_ADDRESS = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
FRONT_MATTER = """\
---
library_name: glide_jax
pipeline_tag: text-to-image
{fields}tags:
- glide
- diffusion
- jax
- flax
---

"""


def fetch(address: str) -> pathlib.Path:
    """The folder of a model of the hub, which is fetched unless the hub's cache has it.

    Args:
        address: hf://USER/MODEL or hf://USER/MODEL@REVISION; a revision is a branch, a tag or a
            commit.

    Raises:
        InputError: the address is wrong, the hub has no such model for this user, or cannot be
            reached while the cache does not have it.
    """
    name, revision = _parsed(address)
    hub = extra("huggingface_hub")
    with _in_sentences(hub, checks.shown(address)):
        folder = hub.snapshot_download(name, revision=revision, allow_patterns=list(PARTS))
    if not (pathlib.Path(folder) / "config.json").is_file():
        raise InputError(
            f"{checks.shown(address)} has no config.json, so it is no model of glide_jax; "
            "checkpoints of PyTorch are read by `glide-jax import`."
        )
    return pathlib.Path(folder)


def send(
    directory: pathlib.Path,
    name: str,
    *,
    private: bool = False,
    revision: str | None = None,
    licence: str = "",
    datasets: Sequence[str] = (),
) -> str:
    """Sends a model directory to the hub in one commit, and returns the address to load it by.

    The repository is made if there is none. A card without the hub's front matter gets one.

    Args:
        directory: the model's.
        name: USER/MODEL.
        private: whether a new repository is private.
        revision: a branch that is there already; by default the main one.
        licence: the licence's identifier on the hub, such as mit, for a card that states none.
        datasets: names of data sets on the hub, for a card that states none.

    Raises:
        InputError: the directory is not whole, the name is wrong, or the hub refuses.
    """
    _parsed(SCHEME + name)
    config = files.read_object(directory / "config.json")
    if "rest_of" in config:
        raise InputError(
            f"{directory} is only a part, and the rest of it is that of "
            f"{checks.shown(config['rest_of'])}; join them by `glide-jax pack` first."
        )
    hub = extra("huggingface_hub")
    paths = sorted({path for pattern in PARTS for path in directory.glob(pattern)})
    add = lambda path, content: hub.CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)
    sent = [add(p.name, str(p)) for p in paths if p.name != "README.md"]
    sent.append(add("README.md", _card(directory, licence, datasets).encode()))
    with _in_sentences(hub, f"{name} was not sent"):
        api = hub.HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        made = api.create_commit(
            name, sent, commit_message="A model of glide_jax", revision=revision
        )
    return f"{SCHEME}{name}@{made.oid}"


def _parsed(address: str) -> tuple[str, str | None]:
    found = _ADDRESS.fullmatch(address.removeprefix(SCHEME))
    if found is None:
        raise InputError(
            f"{checks.shown(address)} is no model of a hub; write {SCHEME}USER/MODEL or "
            f"{SCHEME}USER/MODEL@REVISION."
        )
    return found[1], found[2]


def _card(directory: pathlib.Path, licence: str, datasets: Sequence[str]) -> str:
    path = directory / "README.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else f"# {directory.name}\n"
    if text.startswith("---\n"):
        return text
    fields = f"license: {licence}\n" if licence else ""
    fields += "datasets:\n" + "".join(f"- {name}\n" for name in datasets) if datasets else ""
    return FRONT_MATTER.format(fields=fields) + text


@contextlib.contextmanager
def _in_sentences(hub: Any, what: str) -> Iterator[None]:
    """Turns an error of the hub into an InputError that begins with `what`."""
    try:
        yield
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError, OSError, ValueError) as error:
        raise InputError(f"{what}: {_why(hub, error)}") from None


def _why(hub: Any, error: Exception) -> str:
    """The sentence for what went wrong."""
    errors, code = hub.errors, getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return "its owner must let you in first; ask on its page, then `hf auth login`."
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such revision."
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such model, or it is private and HF_TOKEN is not that of its owner."
    if code in (401, 403):
        return "the hub wants a token that may do this; `hf auth login`, or set HF_TOKEN."
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return "it is not in the cache, and the hub is not reached; try again with a network."
    return checks.shown(" ".join(str(error).split()), 200)
