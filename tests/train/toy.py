"""A stage that compiles in a moment, with all that real ones have: two phases, a running
average, buffers, slots, randomness, and batches of grain."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from configs import supervised
from invertavatar_jax.data import shards
from invertavatar_jax.ops.conv import conv2d
from invertavatar_jax.train import config, feeds
from invertavatar_jax.train.stage import Group, Inputs, Outcome, Phase, Stage, Start, half_life

CHANNELS = 8


@dataclasses.dataclass(frozen=True)
class Settings:
    rate: float


def make(model, own: Settings, batching) -> Stage:
    return Stage(
        name="toy",
        groups={
            "painter": Group(optax.adam(own.rate), half_life(100, batching.batch_size)),
            "critic": Group(optax.sgd(own.rate, momentum=0.9)),
        },
        phases=lambda _: (
            Phase("paint", "painter", paint_loss),
            Phase("judge", "critic", judge_loss, every=2),
        ),
        start=start,
        ship=lambda params, average, buffers: {"params": average, "buffers": buffers},
        measure=lambda params, average, buffers, batch, key: {
            "psnr": -10 * jnp.log10(jnp.square(paint(average["painter"], _photo(batch))).mean())
        },
        show=lambda params, average, buffers, batch, key: {
            "real": _photo(batch)[..., :3],
            "painted": paint(params["painter"], _photo(batch))[..., :3],
        },
    )


def start(key, weights) -> Start:
    keys = jax.random.split(key, 3)
    draw = lambda key, *shape: 0.1 * jax.random.normal(key, shape)
    first, second = draw(keys[0], 3, 3, 3, CHANNELS), draw(keys[1], 3, 3, CHANNELS, 3)
    params = {"painter": {"first": first, "second": second}, "critic": {"weight": draw(keys[2], 3)}}
    return Start(params, {"mean": jnp.zeros(3)}, jnp.zeros(()))


def paint(params, photo):
    hidden = jax.nn.leaky_relu(conv2d(photo, params["first"], 1, 1))
    return conv2d(hidden, params["second"], 1, 1)


def _photo(batch):
    return batch["photo"].astype(jnp.float32) / 127.5 - 1


def paint_loss(inputs: Inputs) -> Outcome:
    photo = _photo(inputs.batch)
    noisy = photo + 0.1 * jax.random.normal(inputs.key, photo.shape)
    painted = paint(inputs.params["painter"], noisy)
    fooled = (painted.mean((0, 1, 2)) * inputs.params["critic"]["weight"]).sum()
    mean = 0.9 * inputs.buffers["mean"] + 0.1 * painted.mean((0, 1, 2))
    loss = jnp.square(painted - photo).mean() + 0.01 * fooled
    return Outcome(loss, {"fooled": fooled}, {"mean": mean}, inputs.slot + fooled)


def judge_loss(inputs: Inputs) -> Outcome:
    photo = _photo(inputs.batch)
    painted = paint(inputs.params["painter"], photo)
    weight = inputs.params["critic"]["weight"]
    difference = ((photo - painted).mean((0, 1, 2)) * weight).sum()
    return Outcome(jnp.square(weight).sum() - difference, {})


class _Photos:
    def __init__(self, inner, rows: slice):
        self._inner, self._rows = inner, rows
        self.get_state, self.set_state = inner.get_state, inner.set_state

    def __next__(self):
        return {"photo": next(self._inner)["source_image"][self._rows, 0]}


def open_feed(training: config.Training) -> feeds.Feed:
    people = shards.Shards(training.data)
    each = training.batch_size // jax.process_count()
    rows = slice(jax.process_index() * each, (jax.process_index() + 1) * each)
    open_ = lambda seed: _Photos(
        shards.pipeline(people, shards.Picking(1, 1), training.batch_size, seed), rows
    )
    return feeds.Feed(open_(training.seed), [next(open_(1))], people.fingerprint)


def get_config(variant: str = "ordinary"):
    values = supervised.get_config("tiny")
    with values.unlocked():
        values.settings = dict(rate=1e-2)
    values.update(dict(stage="tests.train.toy", batch_size=16, microbatch=2, total_steps=12))
    values.update(dict(held_out=0, validate_every=4, keep=3))
    values.deterministic = variant == "deterministic"
    return values
