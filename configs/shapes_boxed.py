r"""The small models that ship inside the package: captioned shapes, 64 px and 64 to 256 px.

    python launch/train_boxed.py base --out runs/shapes
    python launch/train_boxed.py upsample --out runs/shapes

Sized for two CPU cores and an hour or two: 4 x 4 pixels are one position of the UNet, captions
are 24 SentencePiece tokens of 400 instead of 128 of 50,257. `smoke` is the same in seconds.
"""

from ml_collections import ConfigDict


def get_config(size: str = "full") -> ConfigDict:
    """The run's config.

    Args:
        size: "full" or "smoke".

    Raises:
        ValueError: another size.
    """
    if size not in ("full", "smoke"):
        raise ValueError(f"size is {size!r}, but must be full or smoke.")
    # One object teaches colours and shapes soonest; two are the rarer part.
    kinds = ("single",) * 4 + ("count",) * 2 + ("pair", "relation")
    shared = dict(
        kinds=kinds, batch_size=32, warmup_steps=200, decay_fraction=0.3, ema_decay=0.998, seed=0
    )
    config = ConfigDict(
        dict(
            tokenizer=dict(vocab_size=400),
            base=dict(
                model="shapes-base",
                noise_schedule="squaredcos_cap_v2",
                image_size=64,
                crop=64,
                steps=3200,
                lr=1e-3,
                null_fraction=0.1,
                max_snr=5.0,
                prediction="v",
                noisy_share=0.5,
                vb_weight=1e-4,
                low_res_noise=0.0,
                **shared,
            ),
            upsample=dict(
                model="shapes-upsample",
                noise_schedule="linear",
                image_size=256,
                crop=256,
                steps=1500,
                lr=1e-3,
                null_fraction=0.1,
                max_snr=5.0,
                prediction="v",
                noisy_share=0.0,
                vb_weight=1e-4,
                low_res_noise=0.12,
                **(shared | dict(batch_size=8, warmup_steps=100)),
            ),
        )
    )
    if size == "smoke":
        for stage in (config.base, config.upsample):
            stage.update(steps=4, batch_size=2, warmup_steps=1)
    return config
