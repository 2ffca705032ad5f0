"""`glide-jax`: one file for each subcommand, imported when the subcommand runs."""

import difflib
import importlib
import os
import sys
from typing import Any

import click

from glide_jax import checks
from glide_jax.cli import common, process, streams
from glide_jax.errors import InputError
from glide_jax.version import __version__

COMMANDS = {  # name: its line in `glide-jax --help`, which imports no command
    "sample": "Draw pictures of prompts.",
    "inpaint": "Repaint part of a picture, or extend it.",
    "edit": "Draw from a photo or a sketch.",
    "vary": "Draw variations of a picture.",
    "upscale": "Enlarge a picture by the upsampler.",
    "interpolate": "Draw pictures between two prompts or seeds.",
    "repeat": "Draw a picture again from what it carries.",
    "verify": "Say where pictures claim to come from, and whether they were altered.",
    "serve": "Answer requests for pictures over HTTP.",
    "train": "Train a model of a config.",
    "shard": "Show where a run's arrays lie on many devices, and check it.",
    "finetune": "Train a model directory further on pictures of your own.",
    "distill": "Teach a student what a model draws, in fewer evaluations.",
    "pack": "Join a base, an upsampler and a CLIP into one model directory.",
    "eval": "Run an evaluation protocol on a model and write its report.",
    "sweep": "Run one over guidance scales, steps and samplers, and plot the curves.",
    "probe": "Report what repeated samples of open prompts show: bias, and filters.",
    "compare": "Let people choose between runs' pictures, and score the runs.",
    "neighbours": "Find the training pictures that drawn ones are nearest to.",
    "data": "Build captioned sets, look at them, and filter them.",
    "import": "Turn PyTorch GLIDE checkpoints into a model directory.",
    "export": "Turn a model directory into PyTorch checkpoints.",
    "export-program": "Write a model's networks as programs that need no tracing.",
    "models": "List the models that are here, and what each was trained to draw.",
    "push": "Send a model directory to a Hugging Face hub.",
    "download": "Fetch the released PyTorch checkpoints.",
    "bench": "Time the networks, in turn with the PyTorch reference if it is at hand.",
    "doctor": "Say what this machine has and what is missing.",
}
# Settings of JAX for other programs, under which a seed would give other pictures, or none.
JAX_SETTINGS = (
    "JAX_ENABLE_X64", "JAX_DEFAULT_DTYPE_BITS", "JAX_DEFAULT_PRNG_IMPL",
    "JAX_THREEFRY_PARTITIONABLE", "JAX_NUMPY_DTYPE_PROMOTION", "JAX_NUMPY_RANK_PROMOTION",
    "JAX_TRANSFER_GUARD", "JAX_TRANSFER_GUARD_HOST_TO_DEVICE", "JAX_TRANSFER_GUARD_DEVICE_TO_HOST",
    "JAX_TRANSFER_GUARD_DEVICE_TO_DEVICE",
)  # fmt: skip
INTERRUPTED = 130  # a shell reports Ctrl-C by this number


class _Lazy(click.Group):
    """Subcommands imported when they run, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(COMMANDS)}."
            raise click.UsageError(f"there is no command {cmd_name!r}; {hint}")
        module = cmd_name.replace("-", "_")
        return _with_quiet(importlib.import_module(f"glide_jax.cli.{module}_").command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _with_quiet(command: click.Command) -> click.Command:
    """Gives a command, or each command of a group, the option that all have."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _with_quiet(each)
    elif not any(param.name == "quiet" for param in command.params):
        common.quiet_option(command)
    return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="glide-jax")
@common.quiet_option
def cli() -> None:
    """Text-guided diffusion (GLIDE) in JAX.

    Models and compiled programs are kept in ~/.cache/glide_jax, or where GLIDE_JAX_CACHE says.
    """


def main() -> None:
    """Runs a command; a mistake of the user's ends it with one sentence and exit code 2."""
    common.output = common.Output()
    streams.prepare()
    for name in JAX_SETTINGS:
        os.environ.pop(name, None)
    code = _run()
    streams.finish()
    sys.exit(code)


def _run() -> int:
    code: Any = 0
    try:
        with common.plain_warnings():
            code = cli.main(standalone_mode=False, prog_name="glide-jax")
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        code = 2
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.NoSuchOption as error:
        text, name = error.format_message(), error.option_name
        if " " in name or not name.startswith("--"):
            text += ' A prompt that begins with a dash comes last, after --: -- "-10 degrees".'
        code = _fail(text)
    except click.ClickException as error:
        code = _fail(f"{error.format_message().rstrip('.')}{_help_of(error)}")
    except InputError as error:
        code = _fail(str(error))
    except BrokenPipeError:
        code = 1
    except OSError as error:
        where = f"{checks.shown(str(error.filename), 200)}: " if error.filename else ""
        code = _fail(f"{where}{error.strerror or error}")
    except Warning as warning:
        code = _fail(f"{warning} (a warning, which PYTHONWARNINGS or -W makes an error)")
    except (KeyboardInterrupt, click.Abort):  # Abort is a RuntimeError, so this comes first
        common.warn(process.INTERRUPTED)
        code = INTERRUPTED
    except (MemoryError, RuntimeError) as error:  # JAX raises RuntimeError for full memory
        if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        code = _fail("memory is full; a smaller --batch-size or model, or --dtype bfloat16, helps")
    return code if isinstance(code, int) else 0


def _help_of(error: click.ClickException) -> str:
    """Where a command's arguments are described, for a fault of them that Click has found."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"; `{context.command_path} --help` shows what it takes." if context else "."


def _fail(message: str) -> int:
    text = checks.printable(" ".join(message.split()))
    print(f"glide-jax: {text}{'' if text.endswith(('.', '?', ')')) else '.'}", file=sys.stderr)
    return 2
