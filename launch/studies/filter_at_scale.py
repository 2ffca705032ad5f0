"""The tables of docs/data.md: kills, rows and speed of `glide-jax data score` on large sets.

python -m launch.studies.filter_at_scale pictures DATA SET.parquet    # 20,000 drawings
python -m launch.studies.filter_at_scale records SET.parquet 1000000  # captions without pixels
python -m launch.studies.filter_at_scale measure SET TABLE --kills 20 [--kills-alone]
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import pathlib
import random
import resource
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
from glide_jax.safety import score_table

WANTED = 20_000
LOOKED_AT = 2_000  # records whose decoding is timed


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


def kill(what, table, times, chance):
    """Starts the command and ends it or one of its workers by SIGKILL, `times` times."""
    for number in range(times):
        before = len(list(table.glob("part-*")))
        run = subprocess.Popen(command(what, table), stderr=subprocess.PIPE)
        while len(list(table.glob("part-*"))) <= before and run.poll() is None:
            time.sleep(0.05)
        time.sleep(chance.uniform(0.0, 1.0))
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


def measure(what, out, kills, alone):
    whole, broken = out / "whole", out / "killed"
    broken.mkdir(parents=True)
    kill(what, broken, kills, random.Random(0))
    subprocess.run(command(what, broken), check=True)
    again = score_table.opened(broken)  # refuses a table that has not each record once
    print(f"after {kills} kills: {again.notes['records']:,} rows, each once")
    if alone:
        return
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command(what, whole), check=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    table = score_table.opened(whole)
    rows = table.notes["records"]
    print(f"{rows:,} rows in {wall:.0f} s with 2 workers, {cpu / rows * 1e6:.0f} us of CPU a row")
    _, source = catalogue.find_source(what)
    indices = range(0, rows, max(1, rows // LOOKED_AT))
    began, usable = time.process_time(), 0
    for index in indices:
        with contextlib.suppress(Rejected):
            usable += len(source[index].image) > 0
    each = (time.process_time() - began) / len(indices)
    print(f"reading and decoding alone: {each * 1e6:.0f} us a row ({usable:,} of {len(indices):,} "
          f"usable); a core scores at {each * rows / cpu:.0%} of that speed")  # fmt: skip
    assert sums(again) == sums(table)
    print("the table that was killed is that one, byte for byte")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("pictures", "records", "measure"))
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kills-alone", action="store_true", help="measure no speed")
    args = parser.parse_args()
    if args.what == "pictures":
        write_pictures(pathlib.Path(args.first), pathlib.Path(args.second))
    elif args.what == "records":
        write_records(pathlib.Path(args.first), int(args.second))
    else:
        measure(args.first, pathlib.Path(args.second), args.kills, args.kills_alone)


if __name__ == "__main__":
    main()
