"""Checkpoints come back bit for bit, onto any mesh, or say in a sentence why not."""

import errno
import json
import os
import shutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from glide_jax import InputError
from glide_jax.checkpoints.store import Store
from glide_jax.training import hooks


class State(NamedTuple):
    step: Any
    params: Any
    ema: Any
    opt_state: Any


META = {"config": {"name": "mine"}, "window": [{"loss": 0.1}]}


def state(value: int, width: int = 40) -> State:
    kernel = np.random.default_rng(value).standard_normal((width, width)).astype(np.float32)
    params = {"dense": {"kernel": jnp.array(kernel), "bias": jnp.full(3, value, jnp.bfloat16)}}
    copy = lambda: jax.tree.map(jnp.copy, params)
    return State(jnp.int32(value), params, (copy(), copy()), (jnp.ones(()), (), {"mu": copy()}))


def like(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def equal(a: Any, b: Any) -> bool:
    return jax.tree.all(jax.tree.map(lambda x, y: bool((np.asarray(x) == y).all()), a, b))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "c"
    with Store(folder, keep=2) as store:
        for step, metric in ((1, 0.1), (2, 0.5), (3, 0.4)):
            store.save(step, state(step), META, metric)
    return folder


@pytest.fixture
def saved(original, tmp_path):
    """Three checkpoints, the first of them the best."""
    return shutil.copytree(original, tmp_path / "c")


def reopen(folder, want=None):
    notes: list[str] = []
    with Store(folder, note=notes.append) as store:
        found = store.restore(like(state(0) if want is None else want))
    assert found is not None
    return *found, notes


def test_the_newest_comes_back_with_its_meta(saved):
    restored, meta, notes = reopen(saved)
    assert equal(restored, state(3))
    assert isinstance(restored, State)
    assert meta["step"] == 3
    assert meta["window"] == [{"loss": 0.1}]
    assert not notes


def test_an_empty_directory_has_none(tmp_path):
    with Store(tmp_path / "c") as store:
        assert store.restore(like(state(0))) is None


def test_the_last_ones_and_the_best_are_kept_also_by_later_processes(saved):
    with Store(saved, keep=2) as store:
        assert store.steps == [1, 2, 3]  # 1 is the best
        store.save(4, state(4), META, 0.3)
        store.save(5, state(5), META, 0.6)
        store.wait()
        assert store.steps == [1, 4, 5]


def test_a_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    spoil = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 - 1, tree), donate_argnums=0)
    with Store(tmp_path / "c") as store:
        big = state(7, width=500)
        want = jax.tree.map(np.array, big)
        store.save(7, big, META, 0.0)
        for _ in range(3):
            big = spoil(big)
        jax.block_until_ready(big)
    restored, _, _ = reopen(tmp_path / "c", want=state(7, width=500))
    assert equal(restored, want)


def test_meta_may_change_as_soon_as_save_returns(tmp_path):
    window: list[Any] = [{"loss": 0.1}]
    with Store(tmp_path / "c") as store:
        store.save(1, state(1), {"window": window}, 0.0)
        window.append(object())
    _, meta, _ = reopen(tmp_path / "c")
    assert meta["window"] == [{"loss": 0.1}]


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def cut(folder):
    for path in files(folder / "3"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_largest(folder):
    path = max(files(folder / "3"), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit_of_the_largest(folder):
    path = max(files(folder / "3"), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 64
    path.write_bytes(bytes(data))


def drop(name):
    return lambda folder: (folder / "3" / name).unlink()


def empty(folder):
    shutil.rmtree(folder / "3")
    (folder / "3").mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        cut_largest,
        flip_a_bit_of_the_largest,
        drop("_CHECKPOINT_METADATA"),
        drop("commit_success.txt"),
        drop("meta/metadata"),
        drop("state/_METADATA"),
        empty,
    ],
)
def test_a_damaged_newest_is_told_of_and_the_one_before_is_used(saved, damage):
    damage(saved)
    restored, meta, notes = reopen(saved)
    assert equal(restored, state(2))
    assert meta["step"] == 2
    [note] = notes
    assert note.startswith("checkpoint 3 is damaged")
    with Store(saved) as store:  # and its step can be saved again
        store.save(3, state(33), META, 0.4)
    assert equal(reopen(saved)[0], state(33))


def meta(change):
    def damage(folder):
        file = folder / "3" / "meta" / "metadata"
        old = json.loads(file.read_bytes())
        file.write_bytes(change if isinstance(change, bytes) else json.dumps(old | change).encode())

    return damage


def write(name, content):
    return lambda folder: (folder / "3" / name).write_bytes(content)


def file_at(name):
    def damage(folder):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).write_text("here")

    return damage


def pipe_at(name):
    def damage(folder):
        (folder / "3" / name).unlink()
        os.mkfifo(folder / "3" / name)

    return damage


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (meta(b"null"), "its metadata is not what was saved"),
        (meta(b"[]"), "its metadata is not what was saved"),
        (meta(b"{}"), "its metadata is not what was saved"),
        (meta(b"[" * 100_000), "its metadata is not what was saved"),
        (meta(b"\xff\xfe"), "'utf-8' codec"),
        (meta({"checksum": "1"}), "its metadata is not what was saved"),
        (meta({"tree": None}), "its metadata is not what was saved"),
        (meta({"metric": [1]}), "its log is not what was saved"),
        (meta({"window": 5}), "its metadata is not what was saved"),
        (meta({"window": [{"loss": "low"}]}), "its log is not what was saved"),
        (write("_CHECKPOINT_METADATA", b"[]"), "its _CHECKPOINT_METADATA is not what was saved"),
        (write("_CHECKPOINT_METADATA", b"[" * 100_000), "its _CHECKPOINT_METADATA is not"),
        (write("_CHECKPOINT_METADATA", b'{"item_handlers": 5}'), "its _CHECKPOINT_METADATA is"),
        (write("state/_METADATA", b"null"), "its metadata is not what was saved"),
        (file_at("3"), "it is no folder with a number for its name"),
        (pipe_at("meta/metadata"), "it holds more than files"),
        (pipe_at("_CHECKPOINT_METADATA"), "it holds more than files"),
    ],
)
def test_odd_metadata_is_damage_like_any_other(saved, damage, why):
    damage(saved)
    notes: list[str] = []
    with Store(saved, note=notes.append) as store:
        found = store.restore(like(state(0)), hooks.check_window)
    assert found is not None
    assert found[1]["step"] == 2
    [note] = notes
    assert note.startswith(f"checkpoint 3 is damaged ({why}")
    assert note.endswith("and is left out, as 3.damaged.")
    assert (saved / "3.damaged").exists()


@pytest.mark.parametrize("name", ["a\x1b[2J", "-3", "003", "9 (copy)", "4.0", "\u00b2", "\u0663"])
def test_a_folder_of_another_name_is_passed_over_and_told(saved, name):
    shutil.copytree(saved / "2", saved / name)
    restored, _, notes = reopen(saved)
    assert equal(restored, state(3))
    [note] = notes
    assert note.startswith(
        f"{name!r} in c/ is passed over: a checkpoint is a folder with a step's "
    )
    assert (saved / name).exists()


def test_a_name_that_looks_like_a_step_to_orbax_is_moved_out_of_its_way(saved):
    shutil.copytree(saved / "2", saved / "4\n")
    restored, _, notes = reopen(saved)
    assert equal(restored, state(3))
    assert notes == [
        "checkpoint 4\\n is damaged (it is no folder with a number for its name) and is left out, "
        "as 4\\n.damaged."
    ]
    with Store(saved) as store:
        store.save(4, state(4), META)
        assert store.steps[-1] == 4  # before it is written


def test_a_checkpoint_may_lie_elsewhere_behind_a_link(saved, tmp_path):
    (saved / "3").rename(tmp_path / "elsewhere")
    (saved / "3").symlink_to(tmp_path / "elsewhere")
    restored, _, notes = reopen(saved)
    assert equal(restored, state(3))
    assert not notes


def test_an_unfinished_newest_is_told_of_and_the_one_before_is_used(saved):
    shutil.copytree(saved / "3", saved / "4.orbax-checkpoint-tmp")
    restored, _, notes = reopen(saved)
    assert equal(restored, state(3))
    assert notes == ["checkpoint 4 was not finished and is left out."]


def test_when_none_can_be_read_that_is_an_error(saved):
    for step in (1, 2, 3):
        (saved / str(step) / "_CHECKPOINT_METADATA").unlink()
        (saved / str(step) / "meta" / "metadata").unlink()
    with pytest.raises(InputError, match=r"tried steps 3, 2, 1\); start in another workdir"):
        reopen(saved)


def test_another_models_checkpoint_is_refused_by_its_first_difference(saved):
    wide = state(0, width=41)
    with pytest.raises(
        InputError, match=r"'params/dense/kernel' is float32 \(40, 40\).*\(41, 41\).*'mine'"
    ):
        reopen(saved, want=wide)
    more = state(0)._replace(opt_state=(jnp.ones(()), (), {"mu": 1 * jnp.ones(2)}))
    with pytest.raises(InputError, match=r"'opt_state/2/mu' is missing there"):
        reopen(saved, want=more)
    assert equal(reopen(saved)[0], state(3))  # nothing was moved aside


def test_a_checkpoint_comes_back_onto_another_mesh(saved):
    if jax.device_count() < 2:
        pytest.skip("one device")
    mesh = jax.make_mesh((2,), ("fsdp",), axis_types=(AxisType.Auto,))
    split = lambda x: NamedSharding(mesh, P("fsdp") if x.ndim == 2 else P())
    want = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=split(x)), state(0)
    )
    with Store(saved) as store:
        found = store.restore(want)
    assert found is not None
    assert equal(found[0], state(3))
    assert found[0].params["dense"]["kernel"].sharding.spec == P("fsdp")


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(OSError, match="Not a directory") as caught:
        Store(tmp_path / "file" / "c")
    assert str(tmp_path) in str(caught.value.filename)


def save_and_wait(store, step, what):
    store.save(step, what, META)
    store.wait()


def test_a_full_disk_names_the_directory_and_keeps_what_is_there(saved):
    """A limit on the size of files is the nearest to a full disk that needs no privileges."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = Store(saved)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)) as caught:
            save_and_wait(store, 4, state(4, width=400))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(saved) in str(caught.value.filename)
    assert equal(reopen(saved)[0], state(3))
