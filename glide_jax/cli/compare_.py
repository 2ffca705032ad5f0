"""`glide-jax compare`: people choose between runs' pictures; their votes become Elo scores."""

import pathlib

import click

from glide_jax import checks, extras
from glide_jax.cli import common
from glide_jax.errors import InputError


@click.group("compare", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Let people choose between the pictures of runs, and score the runs."""


@command.command("serve")
@click.argument("runs", nargs=-1, required=True, type=common.PATH)
@click.option("--votes", "file", type=common.PATH, default="votes.jsonl",
              show_default=True, help="Where votes are appended.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 is everyone.")
@click.option("--port", default="8000", show_default=True)
def serve(runs: tuple[pathlib.Path, ...], file: pathlib.Path, host: str, port: str) -> None:
    """Serve a page that shows pictures of two of RUNS (folders that `eval` made) and asks."""
    common.check_out(file.absolute().parent, "--votes")
    number = checks.whole("port", port, 0, 65535)
    extras.extra("fastapi")
    extras.extra("uvicorn")
    from glide_jax.serving import voting
    from glide_jax.serving.site import Site

    app = voting.voting_app(runs, file, host=host, note=common.say)
    site = Site(app, host, number)
    site.run(lambda: common.say(f"serving {site.url}/, votes go to {file}; Ctrl-C ends"))


@command.command("fit")
@click.argument("file", type=common.PATH)
@common.json_option
def fit(file: pathlib.Path) -> None:
    """Print the Elo scores of the votes in FILE with 95% intervals, a table a question."""
    from glide_jax.evaluation import votes

    given = votes.read_votes(file, common.say)
    if not given:
        raise InputError(
            f"there are no votes in {checks.shown(str(file), 200)}; people give them on the "
            "page of `glide-jax compare serve`."
        )
    for question in votes.QUESTIONS:
        mine = [vote for vote in given if vote.question == question]
        if not mine:
            continue
        scores = votes.elo_scores(mine)
        numbers = {name: score._asdict() for name, score in scores.items()}
        common.result(
            f"{question}: {len(mine)} votes",
            {"question": question, "votes": len(mine), "scores": numbers},
        )
        width = max(map(len, scores))
        for name, score in sorted(scores.items(), key=lambda item: -item[1].elo):
            interval = f"{score.low:6.0f} to {score.high:6.0f}"
            common.result(f"  {name:{width}} {score.elo:6.0f}  {interval}  ({score.votes} votes)")
