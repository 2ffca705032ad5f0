"""The PyTorch reference on our weights and inputs, from a user's checkout and their torch.

Nothing of it is shipped or installed: `--reference PATH` names a checkout, and torch and what the
reference imports have to be importable beside us.
"""

import importlib
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from glide_jax.benchmarks.networks import Inputs, Part
from glide_jax.checkpoints.torch.names import export_params
from glide_jax.errors import InputError
from glide_jax.networks import zoo

PACKAGE = "glide_text2im"


class Reference:
    """One network of the reference, with a part's weights.

    Raises:
        InputError: the checkout or torch is not there, or the network is one that it lacks.
    """

    def __init__(self, checkout: pathlib.Path, part: Part):
        self.torch, creation = find(checkout)
        self.device = "cuda" if self.torch.cuda.is_available() else "cpu"
        self.model = creation.create_model(**_options(part.config.model, self.device))
        state = {k: self.torch.from_numpy(v) for k, v in export_params(part.host).items()}
        self.model.load_state_dict(state)
        if self.device == "cuda":
            self.model.convert_to_fp16()  # its own setting there
        self.model.to(self.device).eval()

    def _given(self, x: Inputs) -> tuple[tuple[Any, Any], dict[str, Any]]:
        put = lambda a: self.torch.from_numpy(np.array(a)).to(self.device)
        images = lambda a: put(a.transpose(0, 3, 1, 2)).contiguous()
        named = dict(tokens=put(x.tokens).long(), mask=put(x.mask))
        if x.low_res is not None:
            named["low_res"] = images(x.low_res)
        return (images(x.x_t), put(x.t)), named

    def _ready(self, out: Any) -> Any:
        if self.device == "cuda":
            self.torch.cuda.synchronize()
        return out

    def encode(self, x: Inputs) -> Callable[[], Any]:
        """Its text encoder."""
        _, named = self._given(x)

        def call() -> Any:
            self.model.cache_text_emb = False
            with self.torch.no_grad():
                return self._ready(self.model.get_text_emb(named["tokens"], named["mask"]))

        return call

    def evaluate(self, x: Inputs, *, cached: bool) -> Callable[[], Any]:
        """One evaluation, (b, 6, h, w); with its text cache or, as it is by default, without.

        A cache is kept for each call and not in the network, which other calls use in between.
        """
        (x_t, t), named = self._given(x)
        cache: Any = None

        def call() -> Any:
            nonlocal cache
            self.model.cache_text_emb, self.model.cache = cached, cache
            with self.torch.no_grad():
                out = self._ready(self.model(x_t, t, **named))
            cache = self.model.cache
            return out

        return call

    def gradient(self, x: Inputs) -> Callable[[], Any]:
        """Loss and gradient of the objective of `networks.gradient`."""
        (x_t, t), named = self._given(x)

        def call() -> Any:
            self.model.cache_text_emb = False
            self.model.zero_grad(set_to_none=True)
            eps, var = self.model(x_t, t, **named).float().chunk(2, dim=1)
            loss = eps.square().mean() + 1e-3 * ((var + 1) / 2).square().mean()
            loss.backward()
            return self._ready(loss.detach())

        return call

    def output(self, out: Any) -> np.ndarray:
        """An evaluation as ours gives it: eps, then var_frac, (b, h, w, 6) float32."""
        out = out.float().cpu().numpy().transpose(0, 2, 3, 1)
        return np.concatenate([out[..., :3], (out[..., 3:] + 1) / 2], axis=-1)


def find(checkout: pathlib.Path) -> tuple[Any, Any]:
    """torch, and the module of the reference that makes networks.

    Raises:
        InputError: one of them is not there.
    """
    torch = _import("torch", checkout)
    if not (checkout / PACKAGE).is_dir():
        raise InputError(f"--reference {str(checkout)!r} has no folder {PACKAGE}.")
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    return torch, _import(f"{PACKAGE}.model_creation", checkout)


def _import(name: str, checkout: pathlib.Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"--reference {str(checkout)!r} cannot be run: {error}; install torch and what the "
            "reference needs into this environment."
        ) from None


def _options(config: zoo.ModelConfig, device: str) -> dict[str, Any]:
    """`create_model`'s arguments."""
    if config.patch != 1 or not config.text_width or config.image_size not in (64, 256):
        raise InputError(
            "the reference has networks of 64 and 256 px with text and without patches."
        )
    return dict(
        image_size=config.image_size,
        num_channels=config.channels,
        num_res_blocks=config.res_blocks,
        channel_mult=",".join(map(str, config.channel_mult)),
        attention_resolutions=",".join(map(str, config.attention)),
        num_heads=config.heads,
        num_head_channels=config.head_channels,
        num_heads_upsample=config.heads_up,
        use_scale_shift_norm=config.scale_shift,
        dropout=config.dropout,
        text_ctx=config.text_context,
        xf_width=config.text_width,
        xf_layers=config.text_layers,
        xf_heads=config.text_heads,
        xf_final_ln=config.text_final_norm,
        xf_padding=config.text_padding,
        resblock_updown=config.resblock_updown,
        use_fp16=device == "cuda",
        cache_text_emb=False,
        inpaint=config.inpaint,
        super_res=config.upsampler,
    )
