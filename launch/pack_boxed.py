"""Packs what train_boxed.py made into a model directory for the package.

python launch/pack_boxed.py runs/shapes glide_jax/boxed/shapes --card docs/cards/shapes.md
"""

import argparse
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from configs import shapes_boxed
from glide_jax import build
from glide_jax.checkpoints import model_dir
from glide_jax.models import zoo
from glide_jax.tokenizers import SentencePiece

# Most of a chain is spent where the picture is decided: 12 of 50 steps in the noisiest twentieth.
# DDIM leaves less grain than DDPM at this length.
SAMPLING = {
    "base": build.Sampling(",".join(["2"] * 19 + ["12"]), "ddim", 3.0),
    "upsample": build.Sampling(steps="20", sampler="ddim", guidance_scale=1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--card", type=pathlib.Path)
    args = parser.parse_args()
    config, stages = shapes_boxed.get_config(), {}
    for name in ("base", "upsample"):
        weights = args.run / f"{name}_ema.safetensors"
        if weights.exists():
            part = build.StageConfig(
                model=zoo.named(config[name].model),
                noise_schedule=config[name].noise_schedule,
                prediction=config[name].prediction,
                sampling=SAMPLING[name],
            )
            stages[name] = (part, model_dir.read_weights(weights, build.shapes(part.model)))
    tokenizer = SentencePiece((args.run / "tokenizer.model").read_bytes())
    card = args.card.read_text() if args.card else "# shapes\n"
    if args.out.exists():
        shutil.rmtree(args.out)
    model = build.Model("shapes", tokenizer, stages)
    build.save(args.out, model, card=card, dtype="float16")


if __name__ == "__main__":
    main()
