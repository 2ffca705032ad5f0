"""Programs of networks, weights of fewer bytes, stages off the device: the pictures stay."""

import dataclasses
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from glide_jax import InputError, compiling
from glide_jax.model_dir import reading, weights
from glide_jax.networks.text_unet import GlideModel
from glide_jax.sampling import loading, programs
from glide_jax.sampling.glide import load
from glide_jax.types import Cond
from tests.conftest import OPTIMISED

RED = "a red circle"
FEW = dict(steps=2, upsample_steps=2, seed=3)


def pixels(pictures) -> np.ndarray:
    return np.stack([picture.array for picture in pictures]).astype(int)


def exported(model, path, dtype="float32", platforms=()):
    loaded = loading.load(model, dtype)
    programs.write_program(
        path, reading.stage_configs(model), loaded.stages, loaded.params, dtype, platforms
    )
    return path


@pytest.fixture(scope="module")
def program(tiny_full, tmp_path_factory):
    return exported(tiny_full, tmp_path_factory.mktemp("programs") / "tiny.program")


@pytest.fixture(scope="module")
def with_program(tiny_full, program, cache):
    return load(tiny_full, program=program, cache=cache)


@pytest.mark.parametrize(
    ("n", "sampler"), [(1, "ddpm"), pytest.param(3, "unipc", marks=pytest.mark.slow)]
)
def test_a_program_draws_what_its_network_draws_at_any_batch(n, sampler, with_program, glide_full):
    options = dict(n=n, sampler=sampler, **FEW)
    np.testing.assert_array_equal(
        pixels(with_program(RED, **options)), pixels(glide_full(RED, **options))
    )


@pytest.mark.parametrize("name", [pytest.param("base", marks=pytest.mark.slow), "upsample"])
def test_one_evaluation_is_the_same_as_users_compile_it(name, with_program, glide_full):
    params, stage = glide_full.loaded.params[name], glide_full.loaded.stages[name]
    side, context = stage.image_size, stage.context
    x_t = jax.random.normal(jax.random.key(0), (2, side, side, 3))
    tokens, mask = np.ones((2, context), np.int32), np.ones((2, context), bool)
    low_res = x_t[:, ::2, ::2] if stage.upsampler else None

    def evaluation(glide):
        stage = glide.loaded.stages[name]

        def evaluate(params, x_t, t):
            cond = Cond(stage.encode(params, tokens, mask), low_res=low_res)
            return stage.network(params)(x_t, t, cond)

        compiled = jax.jit(evaluate, compiler_options=(compiling.options() or {}) | OPTIMISED)
        return compiled(params, x_t, np.full(2, 500, np.int32))

    jax.tree.map(np.testing.assert_array_equal, evaluation(with_program), evaluation(glide_full))


@pytest.mark.slow  # four programs of a model with all there is
def test_guidance_by_a_clip_and_known_pixels_go_with_a_program(with_program, glide_full):
    image, mask = Image.new("RGB", (32, 32), "red"), np.zeros((32, 32), np.uint8)
    mask[8:20, 8:20] = 255
    draw = lambda glide: [
        *glide(RED, clip_guidance_scale=2.0, upsample=False, steps=2),
        *glide.inpaint(image, Image.fromarray(mask), RED, **FEW),
    ]
    for ours, theirs in zip(draw(with_program), draw(glide_full), strict=True):
        np.testing.assert_array_equal(ours.array, theirs.array)


def test_no_network_is_traced(tiny_full, program, monkeypatch):
    def trace(*_, **__):
        raise AssertionError("the network was traced")

    monkeypatch.setattr(GlideModel, "__call__", trace)
    monkeypatch.setattr(GlideModel, "encode", trace)
    glide = load(tiny_full, program=program, cache=None)
    assert glide(RED, **FEW)[0].image.size == (32, 32)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (dict(dtype="bfloat16"), "computes in float32, and bfloat16 is asked"),
        (dict(weights="int8"), "a program takes float32"),
        (dict(convolutions="winograd2"), None),  # nothing is wide enough for it, so nothing differs
    ],
)
def test_a_program_is_for_one_way_of_computing(how, says, tiny_full, program, cache):
    if says is None:
        load(tiny_full, program=program, cache=cache, **how)
        return
    with pytest.raises(InputError, match=says):
        load(tiny_full, program=program, cache=cache, **how)


def test_other_kernels_another_model_or_platform_are_refused(tiny_full, tiny_model, tmp_path):
    configs, loaded = reading.stage_configs(tiny_full), loading.load(tiny_full)
    wider = {
        n: jax.tree.map(lambda p: np.zeros((2, *p.shape)), t) for n, t in loaded.params.items()
    }
    path = exported(tiny_full, tmp_path / "p")
    with pytest.raises(InputError, match="other `convolutions`"):
        programs.read_program(path, configs, loaded.stages, wider, "float32")
    other = {n: dataclasses.replace(c, noise_schedule="linear") for n, c in configs.items()}
    with pytest.raises(InputError, match="is of another model"):
        programs.read_program(path, other, loaded.stages, loaded.params, "float32")
    path = exported(tiny_full, tmp_path / "tpu", platforms=("tpu",))
    with pytest.raises(InputError, match=r"is for tpu, and this is cpu; .* --platforms cpu"):
        load(tiny_full, program=path, cache=None)
    with pytest.raises(InputError, match="platform"):
        exported(tiny_full, tmp_path / "x", platforms=("abacus",))
    assert not (tmp_path / "x").exists()


def test_a_damaged_or_missing_file_is_one_sentence(tiny_full, program, tmp_path):
    whole = program.read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text").write_text("not a program")
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(tmp_path / "swapped", "w") as out:
        for name in source.namelist():
            content = source.read(name)
            out.writestr(name, content if name.endswith("json") else content[::-1])
    for name in ("cut", "text", "swapped"):
        with pytest.raises(InputError, match="not one that `glide-jax export-program` wrote"):
            load(tiny_full, program=tmp_path / name, cache=None)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load(tiny_full, program=tmp_path / "none", cache=None)


def test_what_a_program_cannot_do_is_said(with_program):
    with pytest.raises(InputError, match="which a program has not"):
        with_program(RED, clip_guidance_scale=1.0, clip_guidance_on="x_0", **FEW)
    stage, x_t = with_program.loaded.stages["base"], np.zeros((1, 24, 16, 3), np.float32)
    with pytest.raises(InputError, match="draws 16 x 16 pixels, and 24 x 16 are asked for"):
        stage.network(with_program.loaded.params["base"])(x_t, np.zeros(1, np.int32), Cond())


@pytest.mark.parametrize(
    ("weights", "bytes_of_a_kernel", "levels"),
    [
        ("bfloat16", 2, 1.0),
        pytest.param("int8", 1, 2.0, marks=pytest.mark.slow),
        pytest.param("float8_e4m3fn", 1, 8.0, marks=pytest.mark.slow),
    ],
)
def test_small_weights_draw_nearly_the_same(
    weights, bytes_of_a_kernel, levels, tiny_full, glide_full
):
    small = load(tiny_full, weights=weights, cache=None)
    kernel = small.loaded.params["base"]["unet"]["middle_0_res"]["in_conv"]["kernel"]
    largest = max(jax.tree.leaves(kernel), key=lambda leaf: leaf.nbytes)
    assert largest.nbytes == bytes_of_a_kernel * largest.size
    exact = small.loaded.params["base"]["unet"]["out_conv"]["kernel"]
    assert weights == "bfloat16" or exact.dtype == np.float32
    options = dict(upsample=False, guidance_scale=1.0, steps=2, seed=3)
    found, wanted = pixels(small(RED, **options)), pixels(glide_full(RED, **options))
    assert 0 < np.abs(found - wanted).mean() < levels
    assert small(RED, **options)[0].parameters["weights"] == weights


def test_unknown_weights_are_refused(tiny_model):
    with pytest.raises(InputError, match="weights is 'int3'; it must be one of float32, "):
        load(tiny_model, weights="int3", cache=None)
    assert weights.pack_weights({}, "float32") == {}


def test_off_loaded_stages_draw_the_same_and_leave_the_device(tiny_full, glide_full):
    off = load(tiny_full, offload=True, cache=None)
    of_stages = {n: jax.tree.leaves(off.loaded.params[n]) for n in ("base", "upsample")}
    assert all(isinstance(p, np.ndarray) for leaves in of_stages.values() for p in leaves)
    np.testing.assert_array_equal(
        pixels(off(RED, n=3, batch_size=2, **FEW)),
        pixels(glide_full(RED, n=3, batch_size=2, **FEW)),
    )
    assert off._placed.cache_info().currsize == 1


def test_the_command_writes_a_program_that_sample_takes(cli, tiny_full, tmp_path):
    path = tmp_path / "tiny.program"
    result = cli("export-program", tiny_full, "--out", path, "--platforms", "cpu,cuda")
    assert result.code == 0, result.err
    assert result.out.strip() == str(path)
    few = ("--steps", "2", "--upsample-steps", "2", "--model", tiny_full)
    for name, more in (("with", ("--program", path)), ("without", ()), ("off", ("--offload",))):
        result = cli("sample", RED, *few, *more, "--out", tmp_path / name)
        assert result.code == 0, result.err
    drawn = [next((tmp_path / name).glob("*.png")).read_bytes() for name in ("with", "without")]
    assert drawn[0] == drawn[1]
    result = cli("export-program", tiny_full, "--out", tmp_path / "x", "--platforms", "abacus")
    assert (result.code, (tmp_path / "x").exists()) == (2, False)
    result = cli("sample", RED, *few, "--weights", "int3", "--out", tmp_path / "y")
    assert result.code == 2
    assert result.err.count("\n") == 1
