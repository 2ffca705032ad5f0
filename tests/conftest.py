"""Options of the whole suite; pytest reads them only from here."""

import pathlib

VENDORED = pathlib.Path(__file__).parent / "golden" / "data"


def pytest_addoption(parser):
    parser.addoption(
        "--goldens",
        type=pathlib.Path,
        default=VENDORED,
        metavar="DIR",
        help="directory of golden data for tests/golden (default: the copy in the repository)",
    )
