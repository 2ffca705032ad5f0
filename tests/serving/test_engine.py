"""Pictures that share the engine: the same bytes as alone, in bounded time and room."""

import queue
import threading
import time

import numpy as np
import pytest
from PIL import Image

from glide_jax import InputError
from glide_jax.sampling import cascade, edits, slots
from glide_jax.sampling.call import parse
from glide_jax.sampling.picture import Picture
from glide_jax.serving import rehearsal
from glide_jax.serving.engine import Engine
from glide_jax.serving.jobs import Busy, Failed, Job, Preview, Progress
from glide_jax.serving.server import warm
from tests.sampling.test_glide import pixels

WAIT = 120.0  # seconds, on a machine that does other work


def whole(options: dict) -> dict:
    """A request's options with those that keep it short."""
    short = {"steps": 4, "upsample_steps": 2} if options.get("upsample", True) else {"steps": 4}
    return {"batch_size": 1, **short, **options}


class Listener:
    """Collects the events of a job."""

    def __init__(self, prompt="a red circle", previews=0, seconds=WAIT, **options):
        self.events: queue.Queue = queue.Queue()
        call = parse(whole(options))
        self.job = Job(prompt, call, self.events.put, previews, seconds)

    def all(self):
        """Every event until the last."""
        seen = []
        while not (seen and isinstance(seen[-1], Picture | Failed)):
            seen.append(self.events.get(timeout=WAIT))
        return seen


@pytest.fixture(
    params=[1, pytest.param(4, marks=pytest.mark.slow)], ids=["each alone", "rows of a program"]
)
def engine(glide, request):
    engine = Engine(glide, slots=4, width=request.param, room=8)
    yield engine
    engine.stop()


def options_of(rng, glide) -> dict:
    """A stranger's request."""
    options = {
        "steps": int(rng.integers(1, 6)),
        "upsample_steps": int(rng.integers(1, 4)),
        "seed": int(rng.integers(0, 2**32)),
        "guidance_scale": float(rng.choice([1.0, 3.0, 5.5])),
        "sampler": str(rng.choice(["ddpm", "ddim"])),
    }
    if rng.random() < 0.3:
        options["upsample"] = False
        del options["upsample_steps"]
    if rng.random() < 0.3 and options["guidance_scale"] > 1:  # without guidance it is refused
        options["negative_prompt"] = "green"
    if rng.random() < 0.3:
        image = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
        mask = Image.new("L", (40, 40))
        mask.paste(255, (8, 8, 30, 30))
        upsample = options.get("upsample", True)
        options["edit"] = edits.inpainting(glide.loaded, image, mask, upsample=upsample)
    return options


def test_a_picture_is_that_of_the_library_whoever_else_is_drawn(engine, glide):
    rng = np.random.default_rng(0)
    requests = [options_of(rng, glide) for _ in range(8)]
    prompts = [str(rng.choice(["a red circle", "two blue stars", ""])) for _ in requests]
    listeners = [Listener(p, **o) for p, o in zip(prompts, requests, strict=True)]
    for listener in listeners:
        engine.submit([listener.job])
        time.sleep(float(rng.exponential(0.01)))  # they join at any moment
    for listener, prompt, options in zip(listeners, prompts, requests, strict=True):
        picture = listener.all()[-1]
        assert isinstance(picture, Picture), picture
        [alone] = glide(prompt, **whole(options))
        assert picture.parameters == alone.parameters
        np.testing.assert_array_equal(picture.array, alone.array)


def test_nothing_compiles_for_another_number_of_strangers_or_another_setting(glide):
    engine = Engine(glide, slots=4, width=4)

    def draw(*seeds):
        listeners = [Listener(seed=seed, steps=3 + seed, guidance_scale=seed) for seed in seeds]
        engine.submit([listener.job for listener in listeners])
        assert all(isinstance(listener.all()[-1], Picture) for listener in listeners)
        return slots.compiled(), [program._cache_size() for program in cascade.programs()]

    first = draw(0)
    assert first[0] > 0
    assert first == draw(1, 2, 3, 4) == draw(5, 6)
    engine.stop()


def test_progress_and_previews_come_in_order(engine):
    listener = Listener(steps=8, previews=3)
    engine.submit([listener.job])
    events = listener.all()
    looks = [event for event in events if isinstance(event, Preview)]
    assert [look.number for look in looks] == [0, 1, 2]
    assert all(look.image.size == (16, 16) for look in looks)
    for stage, total in (("base", 8), ("upsample", 2)):
        done = [e.done for e in events if isinstance(e, Progress) and e.stage == stage]
        assert done == sorted(set(done))
        assert done[-1] == total
    assert isinstance(events[-1], Picture)


def test_previews_do_not_change_the_picture(engine, glide):
    listener = Listener(steps=5, previews=3, seed=7)
    engine.submit([listener.job])
    drawn = glide("a red circle", steps=5, upsample_steps=2, seed=7, batch_size=1)
    np.testing.assert_array_equal(pixels([listener.all()[-1]]), pixels(drawn))


def held(engine) -> tuple[threading.Event, Listener]:
    """Keeps the engine in a job until the event is set."""
    go, holder = threading.Event(), Listener(steps=2)
    keep = holder.job.notify

    def notify(event):
        go.wait(WAIT)
        keep(event)

    holder.job.notify = notify
    engine.submit([holder.job])
    while engine.load != (0, 1):
        time.sleep(0.01)
    return go, holder


def test_a_full_queue_refuses_a_request_whole(glide):
    engine = Engine(glide, slots=1, room=2)
    go, _ = held(engine)
    engine.submit([Listener().job])
    with pytest.raises(Busy, match="the queue is full; try again in") as caught:
        engine.submit([Listener().job, Listener().job])
    assert caught.value.seconds >= 1
    assert engine.load == (1, 1)
    last = Listener()
    engine.submit([last.job])
    go.set()
    assert isinstance(last.all()[-1], Picture)
    engine.stop()


def test_a_client_that_is_gone_takes_no_more_steps(glide):
    engine = Engine(glide, slots=1)
    gone, after = Listener(steps=1000), Listener(steps=1)
    engine.submit([gone.job, after.job])
    gone.events.get(timeout=WAIT)
    gone.job.gone = True
    assert isinstance(after.all()[-1], Picture)
    assert engine.steps < 900
    engine.stop()


def test_a_request_that_takes_too_long_fails_alone(glide):
    engine = Engine(glide, slots=2)
    slow, fine = Listener(steps=1000, seconds=0.0), Listener()
    engine.submit([slow.job, fine.job])
    assert slow.all()[-1] == Failed("the request took over 0 s.", "time")
    assert isinstance(fine.all()[-1], Picture)
    engine.stop()


def test_a_picture_that_cannot_be_drawn_fails_alone(glide, monkeypatch):
    engine = Engine(glide, slots=2)
    begin = glide.begin

    def broken(prompt, call):
        if prompt == "input":
            raise InputError("this is wrong.")
        if prompt == "fault":
            raise RuntimeError("RESOURCE_EXHAUSTED: no memory")
        return begin(prompt, call)

    monkeypatch.setattr(glide, "begin", broken)
    wrong, fault, fine = Listener("input"), Listener("fault"), Listener()
    engine.submit([wrong.job, fault.job, fine.job])
    assert wrong.all()[-1] == Failed("this is wrong.", "input")
    assert fault.all()[-1] == Failed("the device has too little memory for this request.", "server")
    assert isinstance(fine.all()[-1], Picture)
    engine.stop()


def test_a_listener_that_fails_ends_its_own_picture_alone(glide):
    engine = Engine(glide, slots=2)
    bad, fine = Listener(), Listener()

    def fail(event):
        raise ValueError(event)

    bad.job.notify = fail
    engine.submit([bad.job, fine.job])
    assert isinstance(fine.all()[-1], Picture)
    engine.stop()


def test_draining_draws_what_is_there_and_takes_no_more(glide):
    engine = Engine(glide, slots=1)
    listeners = [Listener(), Listener()]
    engine.submit([listener.job for listener in listeners])
    assert engine.alive
    assert engine.drain(WAIT)
    assert not engine.alive
    assert all(isinstance(listener.all()[-1], Picture) for listener in listeners)
    with pytest.raises(Busy):
        engine.submit([Listener().job])


def test_stopping_answers_everyone(glide):
    engine = Engine(glide, slots=1)
    go, holder = held(engine)
    waiting = Listener()
    engine.submit([waiting.job])
    engine.stop(wait=False)
    go.set()
    for listener in (holder, waiting):
        last = listener.all()[-1]
        assert last == Failed("the server stops; send the request again.", "stopped")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("width", [1, 4])
def test_a_thousand_mixes_of_strangers_change_no_picture(glide, width):
    rng = np.random.default_rng(width)
    pool = [options_of(rng, glide) for _ in range(40)]
    engine, alone = Engine(glide, slots=8, width=width, room=64), []
    for options in pool:
        listener = Listener(**options)
        engine.submit([listener.job])
        alone.append(listener.all()[-1].array)
        library = glide("a red circle", **whole(options))[0].array
        # Rows are another program, which XLA may round otherwise.
        np.testing.assert_allclose(alone[-1].astype(int), library, atol=0 if width == 1 else 1)
    for _ in range(500):
        chosen = rng.integers(0, len(pool), int(rng.integers(1, 33)))
        listeners = [Listener(**pool[k]) for k in chosen]
        for part in np.array_split(np.arange(len(chosen)), int(rng.integers(1, 4))):
            engine.submit([listeners[k].job for k in part])
            time.sleep(float(rng.exponential(0.005)))
        for k, listener in zip(chosen, listeners, strict=True):
            np.testing.assert_array_equal(listener.all()[-1].array, alone[k])
    engine.stop()


@pytest.mark.parametrize("width", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_warm_server_compiles_nothing_for_usual_requests(glide, width):
    engine = Engine(glide, width=width)
    warm(engine)
    counts = lambda: [slots.compiled(), *(p._cache_size() for p in cascade.programs())]
    before = counts()
    listeners = [Listener(previews=previews) for previews in (0, 2)]
    engine.submit([listener.job for listener in listeners])
    assert all(isinstance(listener.all()[-1], Picture) for listener in listeners)
    assert counts() == before
    engine.stop()


def test_a_kind_that_is_new_is_compiled_while_others_are_drawn(glide, monkeypatch):
    """A picture of another proportion, say: nobody else waits for its programs."""
    held, go = threading.Event(), threading.Event()
    hold = rehearsal.Rehearsal.hold

    def slow(self, job):
        if job.call.base.get("sampler") == "heun":
            held.set()
            assert go.wait(60)
        hold(self, job)

    monkeypatch.setattr(rehearsal.Rehearsal, "hold", slow)
    engine = Engine(glide, slots=1, room=3)
    strange, usual, first = Listener(sampler="heun"), Listener(), Listener()
    engine.submit([first.job])
    first.all()
    engine.submit([strange.job])
    assert held.wait(60)
    engine.submit([usual.job])
    assert isinstance(usual.all()[-1], Picture)  # although it came later
    assert engine.load[0] == 1
    go.set()
    assert isinstance(strange.all()[-1], Picture)
    engine.stop()


def test_stopping_answers_those_that_are_rehearsed(glide, monkeypatch):
    held, go = threading.Event(), threading.Event()
    monkeypatch.setattr(rehearsal.Rehearsal, "hold", lambda self, job: (held.set(), go.wait(60)))
    engine = Engine(glide, slots=1)
    listener = Listener()
    engine.submit([listener.job])
    assert held.wait(60)
    engine.stop()
    assert listener.all()[-1].fault == "stopped"
    go.set()
