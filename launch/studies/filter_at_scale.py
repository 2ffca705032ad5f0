"""The tables of docs/data.md: kills, rows and speed of `glide-jax data score` on large sets.

python -m launch.studies.filter_at_scale pictures DATA SET.parquet    # 20,000 drawings
python -m launch.studies.filter_at_scale records SET.parquet 1000000  # captions without pixels
python -m launch.studies.filter_at_scale kills SET TABLE [--beside TABLE]
    python -m launch.studies.filter_at_scale speed SET [DATA]
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
from PIL import Image

from glide_jax.data import catalogue
from glide_jax.data.example import Example, Rejected
from glide_jax.data.readers import shapes
from glide_jax.data.recipes import emoji, packing, rendering
from glide_jax.data.recipes.packages import fetch
from glide_jax.safety import score_table, scoring

WANTED = 20_000
BLOCK, BLOCKS = 128, 24  # records that are timed together, and how often


def drawings(data_dir):
    """Yields the icons of every style as (style, name, art), also those without a label."""
    for style in emoji.STYLES:
        folder = fetch(style.package, data_dir)
        if (folder / "assets").is_dir():
            yield from ((style.word, p.stem, p) for p in sorted((folder / "assets").glob("*.webp")))
        else:
            data = json.loads((folder / "icons.json").read_bytes())
            yield from ((style.word, n, emoji._svg(i, data)) for n, i in data["icons"].items())


def draw(style, name, art) -> Example:
    if isinstance(art, str):
        image = rendering.icon(art, name)
    else:
        with Image.open(art) as file:
            image = rendering.on_white(file)
    caption = f"a {style} emoji of {name.replace('-', ' ')}"
    return Example(image, (caption,), f"{style}/{name}")


def write_pictures(data_dir, out):
    """Drawings at 256 pixels, and the first of them again at 128 until there are WANTED."""

    def rows():
        count, done = 0, []
        for item in drawings(data_dir):
            try:
                example = draw(*item)
            except Rejected:
                continue
            if len(done) < WANTED // 10:
                done.append(example)
            yield row(example, 256)
            count += 1
        yield from (row(example, 128) for example in done[: WANTED - count])

    packing.write_rows(rows(), out)


def row(example, side):
    buffer = io.BytesIO()
    picture = Image.fromarray(example.image)
    picture.resize((side, side), Image.Resampling.BOX).save(buffer, "PNG")
    return {"image": buffer.getvalue(), "captions": example.captions, "name": example.name}


def write_records(out, count):
    """Captions of `shapes` without pictures, as a crawler leaves them for those that are gone."""
    scenes = (shapes.sample_scene(np.random.default_rng(k)) for k in range(10_000))
    texts = [shapes.caption(scene) for scene in scenes]
    rows = ({"image": None, "captions": [texts[k % len(texts)]], "name": f"{k}"}
            for k in range(count))  # fmt: skip
    packing.write_rows(rows, out)


def command(what, table):
    return [sys.executable, "-m", "glide_jax", "data", "score", what, str(table), "--workers", "2"]


def begun(table):
    """Parts that were begun, those of killed processes among them."""
    return set(table.glob(".part-*.tmp"))


def kill(what, table, times, chance):
    """Starts the command and ends it, or one of its workers, by SIGKILL within a part."""
    for number in range(times):
        before, began = begun(table), time.monotonic()
        run = subprocess.Popen(command(what, table), stderr=subprocess.PIPE)
        while begun(table) <= before and run.poll() is None:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.3) * (time.monotonic() - began))
        listed = subprocess.run(["pgrep", "-P", str(run.pid), "-f", "spawn_main"],
                                capture_output=True, text=True)  # fmt: skip
        victims = [run.pid] if number % 2 else list(map(int, listed.stdout.split()))
        alive = run.poll() is None
        if alive:
            os.kill(chance.choice(victims), signal.SIGKILL)
        _, err = run.communicate()
        assert alive, f"the table was whole before kill {number + 1}: {err[-300:]!r}"
        assert run.returncode in (-signal.SIGKILL, 2), err
        assert b"Traceback" not in err, err
        left = len(list(table.glob("part-*")))
        print(f"kill {number + 1}: exit {run.returncode}, {left} parts", flush=True)


def sums(table):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in table.paths]


def kills(what, out, times, beside):
    """Kills, a last run, and the proof that each row is there once."""
    out.mkdir(parents=True)
    kill(what, out, times, random.Random(0))
    began = time.monotonic()
    subprocess.run(command(what, out), check=True)
    table = score_table.opened(out)  # refuses a table that has not each record once
    print(f"after {times} kills: {table.notes['records']:,} rows, each once; the last run took "
          f"{time.monotonic() - began:.0f} s with 2 workers")  # fmt: skip
    if beside:
        assert sums(table) == sums(score_table.opened(beside))
        print(f"byte for byte the table in {beside}")


def speed(what, data_dir):
    """CPU time of reading and decoding alone, and of all that makes rows, in turns."""
    _, source = catalogue.find_source(what, data_dir)
    starts = range(0, len(source) - BLOCK, len(source) // BLOCKS)
    shares, each = [], []
    for start in (starts[0], *starts):
        block = range(start, start + BLOCK)
        began = time.process_time()
        for index in block:
            with contextlib.suppress(Rejected):
                source[index]
        middle = time.process_time()
        scoring.score(source, block, scoring.Columns())
        scored = time.process_time() - middle
        shares.append((middle - began) / scored)
        each.append((middle - began) / BLOCK * 1e6)
    middle, *rest = (np.percentile(shares[1:], at) for at in (50, 25, 75))  # the first opens files
    print(f"decoding {np.median(each[1:]):.0f} us a row; scoring at {middle:.0%} of that speed")
    print(f"quartiles of {len(starts)} blocks: {rest[0]:.0%} and {rest[1]:.0%}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("pictures", "records", "kills", "speed"))
    parser.add_argument("first")
    parser.add_argument("second", nargs="?")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--beside", type=pathlib.Path, help="a table that was not killed")
    args = parser.parse_args()
    if args.what == "pictures":
        write_pictures(pathlib.Path(args.first), pathlib.Path(args.second))
    elif args.what == "records":
        write_records(pathlib.Path(args.first), int(args.second))
    elif args.what == "speed":
        speed(args.first, args.second)
    else:
        kills(args.first, pathlib.Path(args.second), args.times, args.beside)


if __name__ == "__main__":
    main()
