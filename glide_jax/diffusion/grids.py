"""Grids: which timesteps of the trained diffusion a sampler of n steps visits."""

import numpy as np

from glide_jax import checks

# Half the log of the signal-to-noise ratio, below which no grid starts. The cosine schedule ends
# at -9.9, where an error of eps comes back 20,000 times as large in x_0; at -5.1 it is 164 times,
# and the picture's share of x_t is still only 0.6 %.
LAMBDA_MIN = -5.1
NOISY = 1.5  # the power by which steps grow towards the clean picture
RHO = 7.0  # Karras et al. (2022), section 5


def half_log_snr(alpha_bar: np.ndarray) -> np.ndarray:
    """lambda = log(alpha / sigma), decreasing in t (Lu et al., 2022, DPM-Solver, section 2)."""
    return 0.5 * (np.log(alpha_bar) - np.log1p(-alpha_bar))


def _uniform(k: np.ndarray, lam: np.ndarray) -> np.ndarray:
    return k * (len(lam) - 1)


def _log_snr(k: np.ndarray, lam: np.ndarray) -> np.ndarray:
    wanted = lam[0] + k * (lam[-1] - lam[0])
    return np.interp(wanted, lam[::-1], np.arange(len(lam))[::-1])


def _karras(k: np.ndarray, lam: np.ndarray) -> np.ndarray:
    low, high = np.exp(-lam[[0, -1]] / RHO)
    wanted = -RHO * np.log(low + k * (high - low))
    return np.interp(wanted, lam[::-1], np.arange(len(lam))[::-1])


def _trailing(k: np.ndarray, lam: np.ndarray) -> np.ndarray:
    number = np.rint(k * (len(k) - 1)) + 1.0  # whole, so that grids of n and 2n round alike
    return number * len(lam) / len(k) - 1.0


def _log_snr_trailing(k: np.ndarray, lam: np.ndarray) -> np.ndarray:
    n = len(k)
    return _log_snr((np.rint(k * (n - 1)) + 1.0) / n, lam)


def _noisy(k: np.ndarray, lam: np.ndarray) -> np.ndarray:
    left = 1.0 - (np.rint(k * (len(k) - 1)) + 1.0) / len(k)  # 0 at the noisiest timestep
    return (1.0 - left**NOISY) * len(lam) - 1.0


# Each maps 0 ... 1 (clean ... noisy) to real timesteps, given lambda at the timesteps to use.
GRIDS = {"uniform": _uniform, "logsnr": _log_snr, "karras": _karras, "trailing": _trailing,
         "noisy": _noisy, "logsnr_trailing": _log_snr_trailing}  # fmt: skip
# Those of which every k-th timestep of n * k steps is one of n steps, and up to how many: more have
# steps that are shorter than a timestep.
NESTED = {"trailing": 900, "noisy": 96, "logsnr_trailing": 16}


def timesteps(name: str, num_steps: int, alpha_bar: np.ndarray) -> np.ndarray:
    """The timesteps of a grid, increasing and distinct, int64 (num_steps,).

    "uniform" spreads them evenly in t, "logsnr" in lambda (Lu et al., 2022), "karras" in
    sigma^(1/7) (Karras et al., 2022, eq. 5). All start where lambda is at least LAMBDA_MIN, unless
    so many steps are asked for that noisier timesteps are needed, and those three end at t = 0.
    "trailing" is even in t and ends a step before the clean picture (Salimans & Ho, 2022,
    algorithm 1): every k-th of its timesteps are those of n / k steps. So are those of "noisy",
    whose steps are shorter where there is more noise: i steps from the start, 1 - (i / n)^1.5 of
    all timesteps are left. So are those of "logsnr_trailing", even in lambda.

    Args:
        name: one of GRIDS.
        num_steps: 1 to len(alpha_bar); 1 takes the noisiest timestep alone.
        alpha_bar: the trained diffusion's, float64, one entry per timestep.

    Raises:
        InputError: the name or the number is not possible.
    """
    checks.one_of("grid", name, tuple(GRIDS))
    num_steps = checks.whole("steps", num_steps, 1, len(alpha_bar))
    lam = half_log_snr(np.asarray(alpha_bar, np.float64))
    count = max(num_steps, int((lam >= LAMBDA_MIN).sum()))
    if num_steps == 1:
        return np.array([count - 1])
    k = np.arange(num_steps)
    t = np.rint(GRIDS[name](k / (num_steps - 1), lam[:count])).astype(np.int64)
    # Where a grid is denser than the timesteps, each takes the next free one, from both ends.
    t = np.maximum.accumulate(t - k) + k
    return np.minimum(t, count - num_steps + k)
