"""The options of `glide-jax serve`."""

import pytest


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--slots", "0"), "slots is '0'; it must be a whole number from 1 to 1024"),
        (("--port", "x"), "port is 'x'"),
        (("--host", "0.0.0.0"), "--api-key"),
        (("--width", "9"), "width is '9'; it must be a whole number from 1 to 4"),
        (("--model", "none"), "none"),
        (("--live", "few", "--no-page"), "--live draws on the page, and --no-page leaves that out"),
    ],
)
def test_a_wrong_option_ends_the_command_with_a_sentence(cli, option, words):
    result = cli("serve", *option)
    assert result.code == 2
    assert words in result.complaint


def test_a_model_that_draws_while_one_types_has_to_be_quick(cli, tiny_model):
    result = cli("serve", "--live", tiny_model, "--port", 0)
    assert result.code == 2
    assert "is not distilled to a few steps and cannot follow what is typed" in result.complaint
