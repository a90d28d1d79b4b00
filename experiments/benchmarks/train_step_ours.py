"""Our side of train_step.py: a batch, a stage of one phase, and its trainer."""

from typing import Any

import jax
import numpy as np
import optax

from experiments.benchmarks import measure, pipeline
from invertavatar_jax import avatar, frames, generator, inversion, networks, settings
from invertavatar_jax.fit.camera import to_vector
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.train import mesh, samples
from invertavatar_jax.train import step as steps
from invertavatar_jax.train.stage import Group, Inputs, Outcome, Phase, Stage, Start
from invertavatar_jax.train.stages import parts
from invertavatar_jax.train.state import make_state
from invertavatar_jax.types import Frame

ADAM = {"lr": 1e-4, "betas": (0.5, 0.999), "eps": 1e-8}
PLACES = {"encoder": "encoder/"}
Batch = dict[str, np.ndarray]


def make_batch(sizes: settings.Model, clips: int, count: int) -> Batch:
    """Clips of `count` frames as data.training deals them out; the pictures are noise."""
    model = avatar.Model(sizes, {})
    geometry = frames.geometry(model.head, sizes)
    kinds = [frames.make_frame(geometry, one)[0] for one in pipeline.observations(pipeline.FRAMES)]
    records = [_record(kinds[i % len(kinds)]) for i in range(clips * count)]
    join = lambda *x: np.stack(x).reshape(clips, count, *x[0].shape)
    return jax.tree.map(join, *records)


def _record(frame: Frame) -> Batch:
    one = jax.tree.map(lambda x: np.asarray(x)[0], frame)
    picture = lambda x: np.rint(127.5 * (x + 1)).astype(np.uint8)
    return {
        "image": picture(one.image),
        "matte": np.rint(255 * one.matte).astype(np.uint8),
        "uv_rgb": picture(one.uv_rgb),
        "uv_xy": one.uv_xy,
        "uv_visible": one.uv_visible,
        "raster": one.drive.raster,
        "camera": to_vector(one.drive.camera),
    }


def reconstruction(sizes: settings.Model) -> Stage:
    """A stage of one phase: E_latent learns to reconstruct photos, by rays that do not vary."""
    nets = networks.build(sizes)

    def loss(inputs: Inputs) -> Outcome:
        weights = parts.join(inputs.params, inputs.buffers, PLACES)
        frame = samples.frames(samples.photos(inputs.batch))
        w_plus = inversion.encode_latent(nets, weights, frame)
        own = part(weights, "generator")
        maps = generator.features(nets, own, w_plus)
        got = generator.render(nets, own, sizes, w_plus, maps, frame.drive)
        return Outcome(abs(got.image - frame.image).mean(), {})

    rate, betas, eps = ADAM.values()
    nothing = lambda *inputs: {}
    return Stage(
        name="reconstruction",
        groups={"encoder": Group(optax.adam(rate, *betas, eps=eps))},
        phases=lambda variant: (Phase("photos", "encoder", loss),),
        start=lambda key, weights: Start(*parts.split(weights or {}, PLACES)),
        ship=lambda params, averages, buffers: parts.join(params, buffers, PLACES),
        measure=nothing,
        show=nothing,
    )


class Trainer:
    """Runs the first phase of a stage again and again, on one batch, on all devices."""

    def __init__(self, stage: Stage, weights: Weights, batch: Batch, microbatches: int = 1):
        """Compiles nothing yet."""
        rules = ((".*", ()),)
        placing = steps.Placing(mesh.make_mesh(), microbatches, False, rules)
        begin = jax.jit(lambda key, weights: make_state(stage, microbatches, key, weights))
        state = begin(jax.random.key(0), weights)
        self.state = jax.device_put(state, steps.state_shardings(state, placing))
        self.batch = jax.device_put(batch, steps.batch_sharding(placing))
        self.key = jax.random.key(1)
        self.phase = stage.phases(stage.variant(0))[0]
        group = stage.groups[self.phase.group]
        self._step = steps.make_step(self.phase, group, placing, state)
        self._advance = steps.make_advance(stage, placing, state)

    def step(self) -> Any:
        """One iteration: what it leaves behind, and its metrics."""
        state, metrics = self._step(self.state, self.batch, self.key)
        self.state = self._advance(state)
        return self.state, metrics

    def compile(self) -> float:
        """Compiles the gradient ahead; returns its temporary memory in MiB."""
        compiled = self._step.differentiate.lower(self.state, self.batch, self.key).compile()
        self._step = self._step._replace(differentiate=compiled)
        return measure.temporary_mib(compiled)
