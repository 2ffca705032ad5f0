"""One of several processes that meet, differ, are late, stop or are killed.

python -m tests.meeting all|loop|fault|mistake [INDEX COUNT PORT]

Without numbers a cluster's variables name the processes. `all` prints what it gathered, as JSON;
`loop` meets until it is killed; in `fault` host 1 stops by a fault of its own; in `mistake` every
host stops by the same one.
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


def meet(hosts):
    """Gathers, agrees, waits and differs; returns what this host sees."""
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
    return seen


def main() -> None:
    """See above."""
    mode, *numbers = sys.argv[1:]
    place = Place(heartbeat=20.0 if mode == "all" else 5.0, wait=100.0)
    if numbers:
        index, count, port = map(int, numbers)
        place = place._replace(coordinator=f"127.0.0.1:{port}", count=count, index=index)
    try:
        with join(place, say=lambda text: print(text, file=sys.stderr)) as hosts:
            if mode == "all":
                print(json.dumps(meet(hosts)))
            for k in range(10**9 if mode != "all" else 0):
                hosts.gather("a step", k)
                print(k, flush=True)
                if mode == "mistake" or (mode == "fault" and hosts.index == 1):
                    raise InputError(f"a fault of host {hosts.index}.")
                time.sleep(0.1)
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
