"""One of several processes that meet, differ and are late: prints what it gathered, as JSON.

python -m tests.meeting INDEX COUNT PORT, or without arguments where a cluster names the processes
"""

import json
import sys
import time

from glide_jax.errors import InputError
from glide_jax.mesh.hosts import Place, join


def fault_of(call, *args):
    """The sentence of the InputError that a call raises."""
    try:
        call(*args)
    except InputError as error:
        return str(error)
    return None


def main() -> None:
    """See above."""
    place = Place(heartbeat=10.0, wait=60.0)
    if sys.argv[1:]:
        index, count, port = map(int, sys.argv[1:])
        place = place._replace(coordinator=f"127.0.0.1:{port}", count=count, index=index)
    with join(place, say=lambda text: print(text, file=sys.stderr)) as hosts:
        k = hosts.index
        texts = hosts.gather("texts", "é" * (k * 1000))
        seen = {"index": k, "count": hosts.count, "numbers": hosts.gather("numbers", k * k)}
        seen["texts"] = [len(text) for text in texts]
        equal = {"lr": 0.1, "sizes": [1, 2]}
        seen["equal"] = [fault_of(hosts.agree, "facts", equal) for _ in range(3)]
        if k == 1:
            time.sleep(4.0)
        seen["late"] = fault_of(hosts.barrier, "the data", 1.0)
        facts = {"config.optim.lr": 0.1 if k != 1 else 0.2, "jax": "1"}
        seen["differ"] = fault_of(hosts.agree, "the start", facts)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
