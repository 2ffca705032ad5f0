"""Noise schedules as tables: built in numpy float64, cast to float32 once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from glide_jax.checks import shown
from glide_jax.errors import InputError


class Schedule(NamedTuple):
    """Tables of a discrete diffusion, possibly respaced; entry i belongs to step i.

    Respacing keeps a subset of alpha_bar and remembers in `t` which timesteps those were, so
    samplers count num_steps-1 ... 0 while the network still sees the timesteps it was trained on.
    Tables are padded to one length: the number of steps is data, and changing it compiles nothing.
    """

    num_steps: Int[Array, ""]
    t: Int[Array, "*n"]
    beta: Float[Array, "*n"]
    alpha_bar: Float[Array, "*n"]
    alpha_bar_prev: Float[Array, "*n"]
    sqrt_alpha_bar: Float[Array, "*n"]
    sqrt_alpha_bar_prev: Float[Array, "*n"]
    sqrt_one_minus_alpha_bar: Float[Array, "*n"]
    one_minus_alpha_bar_prev: Float[Array, "*n"]
    sqrt_recip_alpha_bar: Float[Array, "*n"]
    sqrt_recipm1_alpha_bar: Float[Array, "*n"]
    mean_x_0: Float[Array, "*n"]  # posterior mean = mean_x_0 * x_0 + mean_x_t * x_t
    mean_x_t: Float[Array, "*n"]
    var: Float[Array, "*n"]  # variance of the posterior q(x_{t-1} | x_t, x_0)
    log_var_min: Float[Array, "*n"]  # log of var, with that of step 1 at step 0, where var is 0
    log_var_max: Float[Array, "*n"]  # log of beta
    sigma: Float[Array, "*n"]  # DDIM's noise at eta = 1

    def at(self, i: Int[Array, "*b"]) -> "Schedule":
        """The tables at step i, shaped to broadcast against an image batch."""
        take = lambda table: table[i][..., None, None, None]
        return self._replace(**{k: take(v) for k, v in self._asdict().items() if k != "num_steps"})

    def at_timestep(self, t: Int[Array, "*b"]) -> "Schedule":
        """The tables where the network's timestep is `t`, which the schedule has to visit."""
        return self.at(jnp.searchsorted(self.t, t))


def tables(alpha_bar: np.ndarray) -> dict[str, np.ndarray]:
    """All tables in float64 from the cumulative product of 1 - beta (Ho et al., 2020, eq. 4-7).

    `sqrt(1 - alpha_bar)` and DDIM's coefficients lose up to 6e-4 of their value near t = 0 when
    computed from a float32 alpha_bar, hence float64 here and one cast at the end.
    """
    alpha_bar = np.asarray(alpha_bar, np.float64)
    beta = 1.0 - alpha_bar / np.append(1.0, alpha_bar[:-1])
    # Accumulated again, as in the reference: 1 - beta has lost 1e-8 of itself where beta is 0.999.
    alpha_bar = np.cumprod(1.0 - beta)
    prev = np.append(1.0, alpha_bar[:-1])
    var = beta * (1.0 - prev) / (1.0 - alpha_bar)
    log_var = np.log(np.maximum(var, 1e-300))
    # A single step has no step 1 to borrow from; its variance is then that of beta.
    log_var[0] = log_var[1] if len(var) > 1 else np.log(beta[0])
    return dict(
        beta=beta,
        alpha_bar=alpha_bar,
        alpha_bar_prev=prev,
        sqrt_alpha_bar=np.sqrt(alpha_bar),
        sqrt_alpha_bar_prev=np.sqrt(prev),
        sqrt_one_minus_alpha_bar=np.sqrt(1.0 - alpha_bar),
        one_minus_alpha_bar_prev=1.0 - prev,
        sqrt_recip_alpha_bar=np.sqrt(1.0 / alpha_bar),
        sqrt_recipm1_alpha_bar=np.sqrt(1.0 / alpha_bar - 1.0),
        mean_x_0=beta * np.sqrt(prev) / (1.0 - alpha_bar),
        mean_x_t=(1.0 - prev) * np.sqrt(1.0 - beta) / (1.0 - alpha_bar),
        var=var,
        log_var_min=log_var,
        log_var_max=np.log(beta),
        sigma=np.sqrt((1.0 - prev) / (1.0 - alpha_bar)) * np.sqrt(beta),
    )


def from_alpha_bar(
    alpha_bar: np.ndarray, t: Sequence[int] | np.ndarray | None = None, *, pad_to: int = 0
) -> Schedule:
    """The schedule that visits the timesteps `t` (default: all) of a diffusion `alpha_bar`.

    Args:
        alpha_bar: float64, one entry per trained timestep.
        t: increasing timesteps to keep.
        pad_to: length of the tables; the rest repeats the last entry and is never visited.
    """
    t = np.arange(len(alpha_bar)) if t is None else np.asarray(t)
    pad = lambda table: np.append(table, np.repeat(table[-1:], max(0, pad_to - len(t))))
    values = {name: jnp.float32(pad(table)) for name, table in tables(alpha_bar[t]).items()}
    return Schedule(jnp.int32(len(t)), jnp.asarray(pad(t), jnp.int32), **values)


def cosine_beta(num_steps: int = 1000, max_beta: float = 0.999) -> np.ndarray:
    """Beta of Nichol & Dhariwal (2021, eq. 17), GLIDE's `squaredcos_cap_v2`."""
    f = lambda u: math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    ratio = [f((i + 1) / num_steps) / f(i / num_steps) for i in range(num_steps)]
    return np.minimum(1.0 - np.array(ratio), max_beta)


def linear_beta(num_steps: int = 1000) -> np.ndarray:
    """Beta of Ho et al. (2020), rescaled so any number of steps ends equally noisy."""
    scale = 1000 / num_steps
    return ddpm_beta("linear", num_steps, scale * 1e-4, scale * 0.02)


def ddpm_beta(name: str, num_steps: int, start: float = 1e-4, end: float = 0.02) -> np.ndarray:
    """The schedules that Ho et al. (2020) compared; no released GLIDE model uses one.

    Args:
        name: "linear", "quad", "const", "warmup10", "warmup50" or "jsd".
        num_steps: length of the diffusion.
        start: first beta; "const" and "jsd" do not know it.
        end: last beta; "jsd" does not know it.

    Raises:
        InputError: there is no such schedule.
    """
    match name:
        case "linear":
            return np.linspace(start, end, num_steps)
        case "quad":
            return np.linspace(start**0.5, end**0.5, num_steps) ** 2
        case "const":
            return np.full(num_steps, end)
        case "warmup10" | "warmup50":
            beta, warmup = np.full(num_steps, end), int(num_steps * int(name[-2:]) / 100)
            beta[:warmup] = np.linspace(start, end, warmup)
            return beta
        case "jsd":  # 1/T, 1/(T-1), 1/(T-2), ..., 1
            return 1.0 / np.linspace(num_steps, 1, num_steps)
    raise InputError(f"noise schedule {name!r} is not one that Ho et al. compared.")


def cosine_alpha_bar(num_steps: int = 1000, max_beta: float = 0.999) -> np.ndarray:
    """alpha_bar of `cosine_beta`."""
    return np.cumprod(1.0 - cosine_beta(num_steps, max_beta))


def linear_alpha_bar(num_steps: int = 1000) -> np.ndarray:
    """alpha_bar of `linear_beta`."""
    return np.cumprod(1.0 - linear_beta(num_steps))


ALPHA_BARS = {"squaredcos_cap_v2": cosine_alpha_bar, "linear": linear_alpha_bar}


def alpha_bar(name: str, num_steps: int = 1000) -> np.ndarray:
    """The named schedule's alpha_bar, float64 (num_steps,).

    Raises:
        InputError: the name is not one of ALPHA_BARS.
    """
    if name not in ALPHA_BARS:
        raise InputError(f"noise schedule {name!r} is unknown; known are {', '.join(ALPHA_BARS)}.")
    return ALPHA_BARS[name](num_steps)


def respace(spec: str | int | None, num_timesteps: int = 1000) -> np.ndarray:
    """The timesteps that a respacing asks for, increasing, int64.

    Args:
        spec: `""` or None keeps all; `"27"` or 27 spreads 27 steps evenly; `"10,10,3,2,2"` gives
            equal sections of the diffusion that many steps each; `"ddim50"` takes a constant
            stride from 0; `"fast27"` is GLIDE's upsampler schedule.
        num_timesteps: length of the trained diffusion.

    Raises:
        InputError: the spec cannot be read or asks for more steps than there are.

    >>> respace("5", 1000).tolist()
    [0, 250, 500, 749, 999]
    """
    text = "" if spec is None else str(spec).strip()
    if text == "":
        return np.arange(num_timesteps)
    if text == "fast27":
        # The reference steps back from the very last timestep, where DDIM leaves artefacts.
        t = _sections([10, 10, 3, 2, 2], num_timesteps)
        return np.append(t[:-1], num_timesteps - 3)
    if text.startswith("ddim"):
        return _strided(text, num_timesteps)
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"respacing {shown(text)} is not understood; give a number of steps such as 50, "
            "sections such as '10,10,3,2,2', 'ddim50' or 'fast27'."
        ) from None
    if len(counts) > num_timesteps:
        raise InputError(
            f"respacing {shown(text)} has {len(counts)} sections, of {num_timesteps} timesteps."
        )
    if min(counts) < 0 or sum(counts) == 0:
        raise InputError(f"respacing {shown(text)} asks for no steps; ask for at least 1.")
    if sum(counts) == 1:
        # The rule below would keep t = 0, from which no picture comes.
        return np.array([num_timesteps - 1])
    return _sections(counts, num_timesteps)


def _strided(text: str, num_timesteps: int) -> np.ndarray:
    count = text.removeprefix("ddim")
    wanted = int(count) if count.isdecimal() and len(count) < 10 else 0
    for stride in range(1, num_timesteps):
        if len(range(0, num_timesteps, stride)) == wanted:
            return np.arange(0, num_timesteps, stride)
    raise InputError(
        f"respacing {shown(text)} is not possible: no whole stride through {num_timesteps} "
        f"timesteps takes exactly {shown(count)} steps."
    )


def _sections(counts: list[int], num_timesteps: int) -> np.ndarray:
    base, extra = divmod(num_timesteps, len(counts))
    start, chosen = 0, []
    for k, count in enumerate(counts):
        size = base + (k < extra)
        if size < count:
            raise InputError(
                f"respacing asks for {shown(count)} steps in a section of {size} timesteps; "
                f"at most {num_timesteps} steps exist in all."
            )
        # The running float sum, rounded half to even, is what the released models were used with.
        stride, position = (size - 1) / max(count - 1, 1), 0.0
        for _ in range(count):
            chosen.append(start + round(position))
            position += stride
        start += size
    return np.array(sorted(set(chosen)))
