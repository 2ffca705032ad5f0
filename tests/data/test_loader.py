"""The loader: what a batch depends on (seed and step), and what it does not."""

import gc
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from glide_jax.data import loader
from glide_jax.data.loader import DataOptions, Loader, record_at, throughput
from glide_jax.errors import InputError
from glide_jax.tokenizers import GlideBPE, PromptTruncated
from tests.data.fakes import Broken, Noise, Numbered

CONTEXT = 12
EVERYTHING = dict(
    image_size=16,
    batch_size=8,
    crop="random",
    flip=0.5,
    low_res=4,
    low_res_blur=1.0,
    low_res_noise=0.1,
    masks=("box", "strokes", "half"),
    whole_mask_fraction=0.2,
    seed=3,
)


def load(source, start=0, count=4, *, index=0, hosts=1, **options):
    """`count` batches from `start` on."""
    options = DataOptions(**{"image_size": 16, "batch_size": 8, **options})
    each = options.batch_size // hosts
    rows = range(index * each, (index + 1) * each)
    loader = Loader(source, GlideBPE(), CONTEXT, options, rows)
    try:
        return list(itertools.islice(loader.batches(start), count))
    finally:
        loader.close()


def assert_equal(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def records(batches):
    return np.concatenate([np.rint((b["image"][:, 0, 0, 0] + 1) * 127.5) for b in batches])


@pytest.fixture(scope="module")
def plain():
    return load(Noise(20, captions=3), **EVERYTHING)


def test_a_batch_has_what_the_objectives_take(plain):
    shapes = {name: (array.shape, str(array.dtype)) for name, array in plain[0].items()}
    assert shapes == {
        "image": ((8, 16, 16, 3), "float32"),
        "tokens": ((8, CONTEXT), "int32"),
        "mask": ((8, CONTEXT), "bool"),
        "low_res": ((8, 4, 4, 3), "float32"),
        "known": ((8, 16, 16, 3), "float32"),
        "mask_known": ((8, 16, 16, 1), "float32"),
    }
    batch = plain[0]
    np.testing.assert_array_equal(batch["known"], batch["image"] * batch["mask_known"])
    assert np.abs(batch["image"]).max() <= 1
    grid = (batch["low_res"] + 1) * 127.5
    np.testing.assert_allclose(grid, np.rint(grid), atol=1e-4)


def test_low_res_and_masks_are_there_only_if_asked_for():
    assert set(load(Numbered(9), count=1)[0]) == {"image", "tokens", "mask"}


def test_a_window_is_the_same_part_of_every_plane_of_a_picture(plain):
    corners = set()
    for whole, part in zip(plain, load(Noise(20, captions=3), **EVERYTHING, window=8), strict=True):
        assert part["image"].shape == (8, 8, 8, 3)
        assert part["low_res"].shape == (8, 2, 2, 3)
        np.testing.assert_array_equal(part["tokens"], whole["tokens"])
        for row in range(8):
            of = {name: plane[row] for name, plane in whole.items()}
            cut = lambda name, i, j, n, of=of: of[name][i : i + n, j : j + n]
            [(i, j)] = [
                (i, j)
                for i, j in itertools.product((0, 4, 8), repeat=2)
                if (cut("image", i, j, 8) == part["image"][row]).all()
            ]
            np.testing.assert_array_equal(cut("low_res", i // 4, j // 4, 2), part["low_res"][row])
            np.testing.assert_array_equal(cut("mask_known", i, j, 8), part["mask_known"][row])
            np.testing.assert_array_equal(cut("known", i, j, 8), part["known"][row])
            corners.add((i, j))
    assert len(corners) == 9


def test_batches_repeat_with_the_seed_and_differ_without(plain):
    assert_equal(plain, load(Noise(20, captions=3), **EVERYTHING))
    other = load(Noise(20, captions=3), **(EVERYTHING | {"seed": 4}))
    assert not any(np.array_equal(a["image"], b["image"]) for a in plain for b in other)


def test_starting_at_a_step_gives_what_running_to_it_gives(plain):
    assert_equal(plain[2:], load(Noise(20, captions=3), 2, 2, **EVERYTHING))


def test_hosts_share_a_batch_by_its_rows(plain):
    for hosts in (2, 4):
        parts = [
            load(Noise(20, captions=3), index=index, hosts=hosts, **EVERYTHING)
            for index in range(hosts)
        ]
        together = [
            {name: np.concatenate([part[step][name] for part in parts]) for name in plain[0]}
            for step in range(len(plain))
        ]
        assert_equal(plain, together)


@pytest.mark.slow
def test_two_workers_give_the_batches_of_none(plain):
    assert_equal(plain, load(Noise(20, captions=3), workers=2, **EVERYTHING))


def test_importing_the_loader_imports_neither_jax_nor_tensorflow():
    code = (
        "import sys, glide_jax.data.loader\n"
        "assert not {'jax', 'flax', 'tensorflow', 'grain', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_epoch_has_every_record_once_and_each_a_new_order():
    seen = records(load(Numbered(24), count=6))
    first, second = seen[:24], seen[24:]
    assert sorted(first) == sorted(second) == list(range(24))
    assert list(first) != list(second) != list(range(24))


def test_batches_straddle_epochs_without_losing_a_record():
    seen = records(load(Numbered(20), count=5))
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))


def test_epochs_of_neighbouring_seeds_are_unrelated():
    assert order(0, 1) != order(1, 0)
    assert order(0, 1) == order(0, 1)


def test_sets_too_large_to_keep_in_order_are_shuffled_all_the_same(monkeypatch):
    small = order(3, 1)
    monkeypatch.setattr(loader, "_MOST_IN_MEMORY", 40)
    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(one) == list(range(50)) for one in orders)
    assert len(set(map(tuple, orders))) == 4
    assert order(3, 1) != small


def order(seed, epoch, count=50):
    return [record_at(seed, epoch * count + k, count) for k in range(count)]


def test_a_rejected_record_is_replaced_and_counted():
    loader = Loader(
        Numbered(200, bad={7}), GlideBPE(), CONTEXT, DataOptions(image_size=16, batch_size=50)
    )
    with_bad = list(itertools.islice(loader.batches(), 4))
    loader.close()
    assert loader.rejections.by_reason == {"corrupt image": 1}
    assert "7.png" in loader.rejections.summary()
    without = records(load(Numbered(200), count=4, batch_size=50))
    changed = np.flatnonzero(records(with_bad) != without)
    assert list(without[changed]) == [7]
    assert_equal(with_bad, load(Numbered(200, bad={7}), count=4, batch_size=50))


def test_more_rejections_than_allowed_stop_the_run_with_the_account():
    bad = range(0, 40, 4)
    with pytest.raises(InputError, match=r"max_rejected") as caught:
        load(Numbered(40, bad), count=9)
    for part in ("10 of 40", "corrupt image", ".png", "25"):
        assert part in str(caught.value)
    assert len(load(Numbered(40, bad), count=9, max_rejected=0.25)) == 9


def test_rejections_are_counted_across_worker_processes():
    with pytest.raises(InputError, match=r"10 of 40 .* max_rejected"):
        load(Numbered(40, range(0, 40, 4)), count=9, workers=1)


def test_a_signal_to_the_whole_group_ends_no_worker_in_the_middle_of_a_batch(plain):
    options = DataOptions(**{**EVERYTHING, "workers": 1})
    reader = Loader(Noise(20, captions=3), GlideBPE(), CONTEXT, options, range(8))
    try:
        batches = reader.batches()
        got = [next(batches)]
        [worker] = multiprocessing.active_children()
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(worker.pid, number)
        got += itertools.islice(batches, len(plain) - 1)
    finally:
        reader.close()
    assert_equal(plain, got)
    assert not worker.is_alive()


def test_a_set_of_which_nothing_is_usable_stops_at_once():
    with pytest.raises(InputError, match="in a row are not usable"):
        load(Numbered(5, range(5)), count=1, max_rejected=1.0)


def test_a_bug_in_a_source_is_raised_and_not_counted():
    with pytest.raises(ZeroDivisionError, match="record"):
        load(Broken(5), count=1)


def test_captions_are_chosen_at_random_or_the_first():
    decode = lambda batches: [
        GlideBPE().decode(row[mask].tolist())
        for b in batches
        for row, mask in zip(b["tokens"], b["mask"], strict=True)
    ]
    few = dict(count=5)
    first = decode(load(Numbered(8, captions=3), caption="first", **few))
    random = decode(load(Numbered(8, captions=3), caption="random", **few))
    assert {text.split()[-1] for text in first} == {"0"}
    assert {text.split()[-1] for text in random} == {"0", "1", "2"}


def test_long_captions_are_cut_without_a_warning_each():
    # Importing sets the filter; pytest resets filters before each test, so a process of its own.
    code = (
        "from tests.data.fakes import Numbered\n"
        "from glide_jax.data.loader import DataOptions, Loader\n"
        "from glide_jax.tokenizers import GlideBPE\n"
        "loader = Loader(Numbered(9), GlideBPE(), 2, DataOptions(image_size=16, batch_size=4))\n"
        "assert next(loader.batches())['mask'].all()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.warns(PromptTruncated):
        GlideBPE()(["four words and more"], 2)


def test_a_worker_imports_no_tensorflow_starts_no_jax_and_leaves_with_a_killed_parent():
    code = (
        "import os, signal, sys\n"
        "from tests.data.fakes import Witness, testimony\n"
        "from glide_jax.data.loader import DataOptions, Loader\n"
        "from glide_jax.tokenizers import GlideBPE\n"
        "if __name__ == '__main__':\n"
        "    options = DataOptions(image_size=16, batch_size=4, workers=1)\n"
        "    batch = next(Loader(Witness(9), GlideBPE(), 8, options).batches())\n"
        "    [worker], imported = testimony(batch['image'])\n"
        "    sys.stdout.write(f'{os.getpid()} {worker} {imported}')\n"
        "    sys.stdout.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    parent, worker, imported = done.stdout.split(maxsplit=2)
    assert parent != worker
    assert imported == "{'tensorflow': False, 'models': False, 'backend': False}"
    for _ in range(300):
        if not alive(int(worker)):
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent by half a minute")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_second_iterator_ends_the_first():
    loader = Loader(Numbered(9), GlideBPE(), CONTEXT, DataOptions(image_size=16, batch_size=4))
    first = loader.batches()
    next(first)
    second = loader.batches(5)
    assert list(first) == []
    assert_equal([next(second)], load(Numbered(9), 5, 1, batch_size=4))
    loader.close()
    loader.close()


def test_batches_are_made_before_they_are_asked_for_but_no_more_than_said(monkeypatch):
    taken, take = [], loader._take
    monkeypatch.setattr(loader, "_take", lambda made: taken.append(1) or take(made))
    reader = Loader(Numbered(9), GlideBPE(), CONTEXT, DataOptions(image_size=16, batch_size=4))
    batches = reader.batches()
    time.sleep(1.0)
    assert len(taken) == 2
    next(batches)
    time.sleep(0.2)
    assert len(taken) == 3
    reader.close()


def test_closing_or_forgetting_stops_the_threads():
    before = set(threading.enumerate())
    options = DataOptions(image_size=16, batch_size=4)
    closed, forgotten = (Loader(Numbered(9), GlideBPE(), CONTEXT, options) for _ in range(2))
    batches = [closed.batches(), forgotten.batches()]
    assert [len(next(each)["image"]) for each in batches] == [4, 4]
    closed.close()
    assert list(batches[0]) == []
    del batches, forgotten
    gc.collect()
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not set(threading.enumerate()) - before


def test_throughput_is_a_rate():
    options = DataOptions(image_size=16, batch_size=4)
    assert throughput(Loader(Numbered(9), GlideBPE(), CONTEXT, options), 0.2) > 10


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (dict(image_size=0), "image_size"),
        (dict(batch_size=2.5), "batch_size"),
        (dict(crop="middle"), "crop"),
        (dict(caption="all"), "caption"),
        (dict(flip=2), "flip"),
        (dict(low_res=5), "low_res"),
        (dict(masks=("box", "circle")), "masks"),
        (dict(masks="box"), "masks"),
        (dict(max_rejected=-1), "max_rejected"),
        (dict(window=20), "window"),
        (dict(window=6, low_res=4), "window"),
        (dict(seed=-1), "seed"),
        (dict(workers=-1), "workers"),
    ],
)
@pytest.mark.usefixtures("unwrapped")
def test_a_wrong_option_is_named(wrong, name):
    with pytest.raises(InputError, match=rf"^{name} is "):
        DataOptions(**{"image_size": 16, "batch_size": 8, **wrong})


def test_an_empty_source_is_refused():
    options = DataOptions(image_size=16, batch_size=8)
    with pytest.raises(InputError, match="0 examples"):
        Loader(Numbered(0), GlideBPE(), CONTEXT, options)
