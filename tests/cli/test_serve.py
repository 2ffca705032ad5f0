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
    ],
)
def test_a_wrong_option_ends_the_command_with_a_sentence(cli, option, words):
    result = cli("serve", *option)
    assert result.code == 2
    assert words in result.complaint
