"""Golden data: where it is, which cases it has, and a table of the largest errors at the end."""

import pathlib

import pytest

from tests.golden import compare, families


@pytest.fixture(scope="session")
def goldens(request) -> pathlib.Path:
    """The directory of golden data that is being tested."""
    return request.config.getoption("--goldens").absolute()


def pytest_generate_tests(metafunc):
    """Makes one test of every case that the directory has, for arguments named `<family>_case`."""
    directory = metafunc.config.getoption("--goldens").absolute()
    for family, list_cases in families.CASES.items():
        if f"{family}_case" in metafunc.fixturenames:
            names = list_cases(directory)
            quick = [name for name in names if name not in families.LONG]
            quick = quick[:1] if family in families.ONE_IS_QUICK else quick
            rest = (name for name in names if name not in quick)
            slow = [pytest.param(name, marks=pytest.mark.slow) for name in rest]
            metafunc.parametrize(f"{family}_case", [*quick, *slow])


def pytest_terminal_summary(terminalreporter):
    if not compare.MEASURED:
        return
    terminalreporter.section("golden data: the worst number of each family")
    worst: dict[str, tuple] = {}
    for (family, key), measured in compare.MEASURED.items():
        worst[family] = max((*measured, key), worst.get(family, (*measured, key)))
    for family, (part, largest, mean, key) in sorted(worst.items()):
        terminalreporter.write_line(
            f"{family:22} {part:.1e} of its tolerance: max {largest:.1e}, rms {mean:.1e} in {key}"
        )
