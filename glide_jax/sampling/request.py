"""A call of a loaded model with everything checked and every default filled in."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from glide_jax.diffusion import solvers
from glide_jax.errors import InputError
from glide_jax.sampling.call import Call, check_no_upsampler, stage_settings
from glide_jax.sampling.distilled import check_wish
from glide_jax.sampling.idle import check_idle
from glide_jax.sampling.loading import Loaded
from glide_jax.sampling.settings import StageSettings
from glide_jax.tokenizers.protocol import check_text
from glide_jax.version import __version__


class Row(NamedTuple):
    """A picture to draw."""

    prompt: int  # number of its prompt, or of its frame between two prompts
    index: int  # number of the image of the seed


@dataclasses.dataclass(frozen=True)
class Request:
    """The pictures to draw, and how to draw them.

    Attributes:
        prompts: at least one.
        call: the options.
        stages: settings of each stage that runs, in order.
        unconditional: whether the base also predicts without the prompt.
        weak: the worse model of autoguidance.
        batch_size: pictures at once, or windows of a picture that is enlarged.
    """

    prompts: list[str]
    call: Call
    stages: dict[str, StageSettings]
    unconditional: bool
    weak: Loaded | None
    batch_size: int

    @functools.cached_property
    def rows(self) -> list[Row]:
        """Every picture, prompt by prompt."""
        call, first = self.call, self.call.first_index
        if call.edit.weights is not None:
            return [Row(frame, first) for frame in range(len(call.edit.weights))]
        on = call.n if call.number_on else 0
        return [Row(p, first + p * on + i) for p in range(len(self.prompts)) for i in range(call.n)]

    @functools.cached_property
    def rows_at_once(self) -> int:
        """Pictures in a batch."""
        return 1 if self.call.edit.low_res is not None else min(self.batch_size, len(self.rows))

    def parameters(self, loaded: Loaded, path: str | None, row: Row) -> dict[str, Any]:
        """All that is needed to draw a picture again, JSON-able.

        Args:
            loaded: the model.
            path: where the model lay.
            row: the picture.
        """
        call = self.call
        stages = {name: settings.record() for name, settings in self.stages.items()}
        for values in stages.values():
            values["guidance_interval"] = list(values["guidance_interval"])  # JSON has no tuples
            if not solvers.SAMPLERS[values["sampler"]].eta:
                del values["eta"]
        windows = call.edit.low_res is not None
        parameters = {
            "glide_jax": __version__,
            "model": loaded.name,
            "model_path": path,
            "dtype": loaded.dtype,
            **({} if loaded.weights == "float32" else {"weights": loaded.weights}),
            "prompt": self.prompts[row.prompt if call.edit.weights is None else 0],
            "seed": call.seed,
            "index": row.index,
            "clip_guidance_scale": call.clip_guidance_scale,
            "batch_size": self.batch_size if windows else self.rows_at_once,
            "edit": call.edit.record,
            **_described(call),
            **stages,
        }
        return parameters if call.record_prompt else _without_prompts(parameters)


def check_prompts(prompts: str | Sequence[str]) -> list[str]:
    """One prompt or several as a list; "" draws without a prompt.

    Raises:
        InputError: there is none, or one cannot be tokenized.
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not texts:
        raise InputError("there are no prompts; give at least one.")
    return [check_text(text) for text in texts]


def plan(
    loaded: Loaded,
    prompts: str | Sequence[str],
    call: Call,
    open_model: Callable[[str], Loaded],
    largest_batch: Callable[[], int],
) -> Request:
    """Fills in a call for a model.

    Args:
        loaded: the model.
        prompts: one or several.
        call: the options.
        open_model: opens another model by its name, for autoguidance.
        largest_batch: gives the batch size that "auto" stands for.

    Raises:
        InputError: the model cannot do what the call asks for.
    """
    texts, stages, weak, edit = check_prompts(prompts), {}, None, call.edit
    _check_guides(call, loaded)
    names = ["base"] if edit.low_res is None else []
    if call.upsample and "upsample" in loaded.stages:
        names.append("upsample")
    else:
        check_no_upsampler(call)
    for name in names:
        stage, own = loaded.stages[name], loaded.sampling[name]
        stages[name] = stage_settings(call, name, own, stage.distilled)
    unconditional = False
    if "base" in stages:
        stages["base"], unconditional = _unconditional(call, stages["base"])
        unconditional = unconditional and not loaded.stages["base"].guidance
    for name, settings in stages.items():
        check_wish(call, name, loaded.name, loaded.stages[name], settings, loaded.sampling[name])
        if settings.reuse > 1:
            _check_reuse(call, name, loaded, settings)
    check_idle(call, stages)
    if call.autoguidance_model is not None:
        weak = check_weak(open_model(call.autoguidance_model), loaded)
    if call.keep is not None:
        if loaded.clip is None:
            raise InputError(f"keep is {call.keep}, but model {loaded.name!r} has no CLIP.")
        if edit.low_res is not None or edit.weights is not None or edit.known is not None:
            raise InputError(f"keep is {call.keep}; it chooses among pictures of prompts.")
    size = largest_batch() if call.batch_size == "auto" else int(call.batch_size)
    return Request(texts, call, stages, unconditional, weak, size)


def _check_guides(call: Call, loaded: Loaded) -> None:
    """Refuses guidance that the model cannot have.

    Raises:
        InputError: there is no CLIP, or an exported program would need a gradient.
    """
    if call.clip_guidance_scale is not None and loaded.clip is None:
        raise InputError(f"model {loaded.name!r} has no CLIP to guide it.")
    if loaded.exported and call.sees_x_0:
        raise InputError(
            "guidance on x_0 takes the network's gradient, which a program has not; load the model "
            "without one, or guide on x_t."
        )


def _check_reuse(call: Call, name: str, loaded: Loaded, settings: StageSettings) -> None:
    """Refuses reuse of features by a stage that keeps none or has no step to use them in.

    Raises:
        InputError: it is one.
    """
    stage, picture = loaded.stages[name], call.edit.low_res
    why = None
    if loaded.exported:
        why = "an exported program computes its networks whole"
    elif stage.distilled:
        why = f"the {name} of {loaded.name!r} is distilled to steps that share nothing"
    elif str(settings.steps) == "1":
        why = "there is one step only, which is computed whole"
    elif picture is not None:
        factor = stage.image_size // loaded.stages["base"].image_size
        if max(picture.shape[:2]) * factor > stage.image_size:
            why = "a picture of this size is enlarged in windows, whose features are not kept"
    if why is not None:
        option = "reuse" if name == "base" else "upsample_reuse"
        raise InputError(f"{option} is {settings.reuse}, but {why}; leave it out.")


def _unconditional(call: Call, settings: StageSettings) -> tuple[StageSettings, bool]:
    """The base's settings, and whether it also predicts without the prompt."""
    if not call.clip_guides and not call.weak_guides:
        return settings, True
    if call.replaces_null:
        settings = dataclasses.replace(settings, guidance_scale=1.0)
    return settings, settings.guidance_scale != 1.0 or settings.cfgpp_scale > 0.0


def check_weak(weak: Loaded, loaded: Loaded) -> Loaded:
    """Refuses a worse model of another size or noise schedule.

    Raises:
        InputError: it cannot guide this one.
    """
    a, b = weak.stages["base"], loaded.stages["base"]
    if a.image_size != b.image_size:
        raise InputError(
            f"autoguidance_model {weak.name!r} draws {a.image_size} pixels a side; it must be the "
            f"model's {b.image_size}."
        )
    if not np.array_equal(a.alpha_bar, b.alpha_bar):
        raise InputError(
            f"autoguidance_model {weak.name!r} has another noise schedule; it must be the model's."
        )
    return weak


def _without_prompts(parameters: dict[str, Any]) -> dict[str, Any]:
    """A picture's parameters without the texts that drew it; their hash tells pictures apart."""
    out, edit = dict(parameters), parameters["edit"]
    removed = [out.pop(name, None) for name in ("prompt", "negative_prompt", "mix")]
    if isinstance(edit, dict) and edit["kind"] == "interpolate":
        out["edit"] = {k: v for k, v in edit.items() if k not in ("from", "to")}
        removed += [edit["from"], edit["to"]]
    out["prompt_sha256"] = hashlib.sha256(json.dumps(removed).encode()).hexdigest()
    return out


def _described(call: Call) -> dict[str, Any]:
    """The entries of a picture's parameters about what guided it, without what did not."""
    out: dict[str, Any] = {}
    if call.negative_prompt is not None:
        out["negative_prompt"] = call.negative_prompt
    if call.mix:
        out["mix"] = [list(pair) for pair in call.mix]
    if call.clip_guidance_scale is not None:
        out["clip_guidance_on"] = call.clip_guidance_on
    if call.autoguidance_model is not None:
        out["autoguidance_model"] = call.autoguidance_model
        out["autoguidance_scale"] = call.autoguidance_scale
    if call.score is not None:
        name = getattr(call.score, "__qualname__", type(call.score).__name__)
        out["score"] = f"{getattr(call.score, '__module__', '')}.{name}"
        out["score_scale"], out["score_on"] = call.score_scale, call.score_on
    return out
