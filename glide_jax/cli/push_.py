"""`glide-jax push`: a model directory sent to a Hugging Face hub."""

from typing import Any

import click

from glide_jax.cli import common


@click.command("push")
@click.argument("model", type=common.PLACE)
@click.argument("name")
@click.option("--private", is_flag=True, help="A new repository is private.")
@click.option("--revision", help="A branch that is there already, instead of the main one.")
@click.option("--license", "licence", default="", help="For the card, as the hub names it: mit.")
@click.option("--dataset", "datasets", multiple=True, help="For the card; may be given repeatedly.")
def command(model: str, name: str, **options: Any) -> None:
    """Send MODEL to the hub as NAME, which is USER/MODEL.

    Afterwards `--model hf://USER/MODEL` draws with it. HF_TOKEN or `hf auth login` says who you
    are, and HF_ENDPOINT names another hub.
    """
    from glide_jax.model_dir import hub, reading

    directory = reading.find_model(model, common.cache_folder() / "models")
    reading.read_model(directory, whole=False, weights=False)  # refuses what is no model
    common.result(hub.send(directory, name, **options))
