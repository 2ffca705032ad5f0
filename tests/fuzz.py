"""Seeded damage to good files, for tests of everything that reads what comes from outside.

A test holds a good file as bytes, asks for damaged copies, and checks that its reader answers
each with a value or one of this package's own errors:

    for damaged in fuzz.mutations(good, count=300, seed=0):
        fuzz.answers(lambda: read(write(damaged)), allowed=(InputError,))
"""

import random
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator

# Numbers and texts that files name and readers trust: lengths, counts, sizes, depths.
ABSURD = (
    *(b"-1 0 1e999 -1e999 NaN Infinity 2147483648 4294967295 18446744073709551615".split()),
    *(b"99999999999999999999", b"1" + b"0" * 400, b"[" * 3000, b'{"a":' * 3000),
    *(b"null", b'""', b"[]", b"{}", b"true"),
)
BINARY = (b"\x00" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x80" * 4, b"\x00")
TEXTS = (b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1b[31m", b"\\u0000", b"../", b"\n")


def mutate(good: bytes, rng: random.Random) -> bytes:
    """Returns a copy with one to four flips, cuts, insertions, repeats, splices or absurdities."""
    bad = bytearray(good)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(bad) + 1)
        end = min(len(bad), at + rng.choice((1, 2, 8, 64, 512)))
        match rng.randrange(9):
            case 0:
                if at < len(bad):
                    bad[at] ^= 1 << rng.randrange(8)
            case 1:
                bad[at:end] = rng.randbytes(end - at)
            case 2:
                del bad[at:end]
            case 3:
                del bad[at:]
            case 4:
                bad[at:at] = rng.choice(TEXTS + BINARY + ABSURD)
            case 5:
                bad[at:at] = bad[at:end] * rng.choice((1, 2, 100))
            case 6:  # a piece from elsewhere in the same file
                start = rng.randrange(len(bad) + 1)
                bad[at:end] = bad[start : start + end - at]
            case 7:
                bad[at : at + 8] = rng.choice(BINARY)
            case _:
                numbers = list(re.finditer(rb"\d+(\.\d+)?", bad))
                if numbers:
                    number = rng.choice(numbers)
                    bad[number.start() : number.end()] = rng.choice(ABSURD)
    return bytes(bad)


def mutations(good: bytes, *, count: int, seed: int) -> Iterator[bytes]:
    """Damaged copies of a file, the same ones for the same seed on every machine."""
    for i in range(count):
        yield mutate(good, random.Random(f"{seed} {i}"))


def answers(
    read: Callable[[], object],
    *,
    allowed: tuple[type[Exception], ...],
    seconds: float = 10.0,
    longest: int = 2000,
) -> str | None:
    """Runs a reader on damaged input, and holds it to one short sentence and a bounded time.

    Args:
        read: takes no argument, and reads the damaged input.
        allowed: errors that are an answer; any other propagates, with its traceback.
        seconds: the longest time that an answer may take.
        longest: the most characters that a message may have.

    Returns:
        The message, or None where the input was read.

    Raises:
        AssertionError: The answer came late, was empty, too long, or carried control characters.
    """
    start, message = time.monotonic(), None
    try:
        read()
    except allowed as error:
        message = str(error)
    took = time.monotonic() - start
    assert took <= seconds, f"an answer took {took:.1f} s"
    if message is not None:
        assert message.strip(), "an empty message"
        assert len(message) <= longest, f"a message of {len(message)} characters: {message[:300]}"
        controls = re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", message)
        assert not controls, f"control characters {controls} in {message!r}"
    return message


def peak_bytes() -> int:
    """The most memory that this process has held at once since its start."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
