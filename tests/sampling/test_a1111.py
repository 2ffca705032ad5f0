"""The text of the AUTOMATIC1111 web UI is read by the rules of its own parser."""

import json
import re

import pytest
from PIL import Image

from glide_jax import InputError, colours, images
from glide_jax.sampling import a1111
from glide_jax.sampling.picture import Picture

BASE = {
    "steps": "50", "sampler": "dpmpp_2m", "grid": "karras", "guidance_scale": 3.5,
}  # fmt: skip
PARAMETERS = {
    "glide_jax": "0.2.0", "model": "shapes", "prompt": "a red circle", "seed": 7, "index": 0,
    "edit": None, "base": BASE,
}  # fmt: skip


def parsed(text: str) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and fields, as stable-diffusion-webui reads them."""
    *lines, last = text.strip().split("\n")
    fields = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    assert len(fields) >= 3, "the last line would be taken for the prompt's"
    split = [line.startswith("Negative prompt:") for line in lines]
    at = split.index(True) if True in split else len(lines)
    negative = "\n".join(lines[at:]).removeprefix("Negative prompt:").strip()
    unquoted = {name: json.loads(v) if v.startswith('"') else v for name, v in fields}
    return "\n".join(lines[:at]), negative, unquoted


def test_prompt_and_settings_are_where_tools_look_for_them():
    text = a1111.text({**PARAMETERS, "negative_prompt": "a blue square"}, (256, 192))
    assert text == (
        "a red circle\nNegative prompt: a blue square\nSteps: 50, Sampler: DPM++ 2M, "
        "Schedule type: Karras, CFG scale: 3.5, Seed: 7, Size: 256x192, Model: shapes, "
        "Version: glide_jax 0.2.0"
    )


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"base": {**BASE, "steps": "fast27"}}, {"Steps": "27"}),
        ({"base": {**BASE, "sampler": "renoised", "grid": ""}}, {"Sampler": "renoised"}),
        ({"index": 3}, {"Image index": "3"}),
        ({"model": 'a, "b": c'}, {"Model": 'a, "b": c'}),
        ({"mix": [["a ring, small", 0.5]]}, {"Mixed with": "0.5 a ring, small"}),
        ({"edit": {"kind": "edit", "strength": 0.6}}, {"Denoising strength": "0.6"}),
        ({"edit": {"kind": "interpolate", "to": "a cross: big"}}, {"To prompt": "a cross: big"}),
    ],
)
def test_other_settings_have_fields(changes, fields):
    prompt, negative, found = parsed(a1111.text({**PARAMETERS, **changes}, (256, 256)))
    assert (prompt, negative) == ("a red circle", "")
    assert found.items() >= {"Seed": "7", **fields}.items()


def test_an_enlarged_picture_has_the_upsampler_s_settings_and_no_guidance():
    p = {name: value for name, value in PARAMETERS.items() if name != "base"}
    _, _, found = parsed(a1111.text({**p, "upsample": BASE, "prompt": ""}, (512, 512)))
    assert found["Steps"] == "50"
    assert "CFG scale" not in found


def test_a_prompt_of_many_lines_cannot_pass_for_settings():
    prompt = "a circle\nNegative prompt: x\r\nSteps: 1, Seed: 2, Size: 3x3"
    first, negative, found = parsed(a1111.text({**PARAMETERS, "prompt": prompt}, (256, 256)))
    assert first == "a circle Negative prompt: x Steps: 1, Seed: 2, Size: 3x3"
    assert negative == ""
    assert found["Seed"] == "7"


def test_a_saved_picture_has_it_only_if_that_is_wanted(tmp_path):
    picture = Picture(Image.new("RGB", (8, 8)), Image.new("RGB", (4, 4)), PARAMETERS)
    for wanted in (False, True):
        picture.save(tmp_path / "a.png", a1111=wanted)
        with Image.open(tmp_path / "a.png") as read:
            assert read.info.get("parameters") == (
                a1111.text(PARAMETERS, (8, 8)) if wanted else None
            )
        assert images.read_parameters(tmp_path / "a.png") == PARAMETERS
    assert "parameters" not in picture.image.info


def test_without_a_recorded_prompt_nothing_is_written(tmp_path):
    hidden = {name: value for name, value in PARAMETERS.items() if name != "prompt"}
    picture = Picture(Image.new("RGB", (8, 8)), Image.new("RGB", (4, 4)), hidden)
    with pytest.raises(InputError, match="the prompt is not recorded"):
        picture.save(tmp_path / "a.png", a1111=True)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_went_in_does_not_pass_its_text_on():
    ours = a1111.marked(Image.new("RGB", (8, 8)), PARAMETERS)
    assert "parameters" not in colours.own(ours).image.info
    theirs = Image.new("RGB", (8, 8))
    theirs.info["parameters"] = "a cat\nSteps: 20, Sampler: Euler a, Seed: 1, Version: v1.6.0"
    assert colours.own(theirs).image.info["parameters"] == theirs.info["parameters"]
