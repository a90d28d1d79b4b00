"""Stage `fewshot`: E_tex and E_tri learn to fold the frames of a clip into one avatar.

A clip is folded in chunks, in order; all but the last one only bring the memory where a long
sequence would have it, and give no gradient. Source: paper 3.4, A.2.3; TRAINING D.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from invertavatar_jax import inversion, settings
from invertavatar_jax.generator import Features, Rendered
from invertavatar_jax.inversion import Memory, Refinement
from invertavatar_jax.pure import Weights
from invertavatar_jax.supervise.adversarial import generator_loss
from invertavatar_jax.train import samples
from invertavatar_jax.train.stage import Inputs, Outcome, Phase, Stage
from invertavatar_jax.train.stages import batch_norm, refinement, synthetic
from invertavatar_jax.train.stages import inversion_losses as terms
from invertavatar_jax.train.stages.batching import Batching
from invertavatar_jax.train.stages.synthetic import People
from invertavatar_jax.types import Drive, Frame

_REAL, _MADE = 0, 1  # which of the iteration's batches


@dataclasses.dataclass(frozen=True)
class Settings(refinement.Settings):
    """Every number of the stage.

    Attributes:
        chunk: frames that are folded at once; those of a clip are a multiple of it. A clip of
            n chunks is folded up to one of them, with even chances.
        rendered: frames that are compared: the first, and random others of those up to there.
        r1_always: R1 in every iteration, r1_every times as strong in each r1_every-th; as
            released, where the name of a phase is not reset.
    """

    chunk: int
    rendered: int
    r1_always: bool


class Clip(NamedTuple):
    """Frames with leading axes t, b, and who is seen in them where the person is made."""

    frames: Frame
    people: People | None
    key: jax.Array  # of the pictures of made people: a frame always looks the same


class Drawn(NamedTuple):
    """Which frames of a clip an iteration uses."""

    folded: Int[Array, ""]  # chunks
    rendered: Int[Array, " k"]


def make(model: settings.Model, own: Settings, batching: Batching) -> Stage:
    """The stage. Batches are clips of t frames, a multiple of the chunk.

    Raises:
        UserError, ValueError: critics that need a file, or settings that do not exist or do
            not fit together.
    """
    if model.one_shot:
        raise ValueError("stage fewshot: got a one-shot preset, expected one that folds frames")
    if not 0 < own.rendered <= own.chunk:
        raise ValueError(f"rendered: got {own.rendered}, expected 1 to {own.chunk}, the chunk")
    lesson = _Lesson(model, own)
    return Stage(
        name="fewshot",
        groups=lesson.refinery.groups(),
        phases=lesson.phases,
        start=lesson.refinery.start,
        ship=lesson.refinery.ship,
        measure=lesson.measure,
        show=lesson.show,
        draws=2,
        variant=lambda step: step >= own.adversarial_from,
    )


def draw_frames(key: jax.Array, total: int, own: Settings) -> Drawn:
    """How many chunks of a clip are folded, and which of their frames are rendered.

    Source: paper A.2.3 ("sequences of up to 32 frames, randomly selecting 4"); TRAINING D.
    """
    key_chunks, key_frames = jax.random.split(key)
    folded = jax.random.randint(key_chunks, (), 1, total // own.chunk + 1)
    chance = jax.random.uniform(key_frames, (total,))
    seen = jnp.arange(total) < folded * own.chunk
    chance = jnp.where(seen, chance, -1.0).at[0].set(2.0)
    return Drawn(folded, jax.lax.top_k(chance, own.rendered)[1])


class _Lesson:
    """The stage's losses: pure functions of train.stage.Inputs."""

    def __init__(self, model: settings.Model, own: Settings):
        self.model, self.own = model, own
        self.refinery = refinement.Refinery(model, own)

    def phases(self, adversarial) -> tuple[Phase, ...]:
        """Phases with or without the discriminator."""
        own = self.own
        real, made = (terms.scales(x, adversarial) for x in (own.real, own.synthetic))
        learn = lambda read, scales: lambda inputs: self._learn(inputs, read(inputs), scales)
        kinds = ("Ireal", learn(self._real, real), _REAL), ("Igen", learn(self._made, made), _MADE)
        phases = tuple(
            Phase(f"{name}_{group}", group, loss, 2, turn, draw)
            for name, loss, draw in kinds
            for turn, group in enumerate(refinement.UNETS)
        )
        if not adversarial:
            return phases
        judge = Phase("Dmain", "discriminator", self.judge, draw=_MADE)
        every = 1 if own.r1_always else own.r1_every
        penalise = Phase("Dreg", "discriminator", self.penalise, every, draw=_MADE)
        return *phases, judge, penalise

    def judge(self, inputs: Inputs) -> Outcome:
        """The discriminator on made people and what the encoders make of them (Dmain)."""
        key_clip, key_fold, key_view = jax.random.split(inputs.key, 3)
        clip = self._made(inputs._replace(key=key_clip))
        drawn = draw_frames(key_fold, _length(clip), self.own)
        weights = self._weights(inputs)
        memory, _ = self._fold(inputs._replace(key=key_fold), clip, drawn)
        maps = self.refinery.finish(weights, memory)

        def pairs(number):
            drive = _at(clip.frames.drive, number)
            got = self._see(weights, memory.w_plus, maps, drive, key_view, number)
            wanted = self._truth(weights, clip, number)
            return (wanted.image, wanted.raw), (got.image, got.raw)

        real, fake = jax.lax.map(pairs, drawn.rendered)
        return self.refinery.compare_pairs(inputs, _flat(real), _flat(fake))

    def penalise(self, inputs: Inputs) -> Outcome:
        """R1 at pictures of made people (Dreg)."""
        clip = self._made(inputs)
        drawn = draw_frames(inputs.key, _length(clip), self.own)
        weights = self._weights(inputs)

        def pair(number):
            wanted = self._truth(weights, clip, number)
            return wanted.image, wanted.raw

        real = _flat(jax.lax.map(pair, drawn.rendered))
        every = self.own.r1_every
        gain = jnp.where(inputs.step % every == 0, jnp.float32(every), jnp.float32(1))
        return self.refinery.penalise(inputs, real, gain)

    def measure(self, params, averages, buffers, batch, key) -> dict[str, Array]:
        """psnr and psnr_head of the avatar of t - 1 frames, at the last one, unseen."""
        seen, last = self._held_out(batch)
        return self.refinery.nearness(params, buffers, seen, last)

    def show(self, params, averages, buffers, batch, key) -> dict[str, Array]:
        """The unseen last frame, its coarse and refined avatar, and that by another camera."""
        seen, last = self._held_out(batch)
        return self.refinery.pictures(params, buffers, seen, last, batch["other_camera"])

    def _held_out(self, batch) -> tuple[Frame, Frame]:
        frames = _in_time(samples.frames(batch))
        return jax.tree.map(lambda x: x[:-1], frames), _at(frames, -1)

    def _weights(self, inputs: Inputs) -> Weights:
        return self.refinery.ship(inputs.params, None, inputs.buffers)

    def _real(self, inputs: Inputs) -> Clip:
        return Clip(_in_time(samples.frames(inputs.batch)), None, inputs.key)

    def _made(self, inputs: Inputs) -> Clip:
        """Made people with the poses and expressions of the clips."""
        key_person, key_views = jax.random.split(inputs.key)
        weights, label = self._weights(inputs), inputs.batch["camera"][:, 0]
        people = synthetic.draw_people(
            self.refinery.nets,
            weights,
            self.model,
            label,
            self.own.synthetic_truncation,
            key_person,
        )
        return self._real(inputs)._replace(people=people, key=key_views)

    def _see(self, weights, w_plus, maps: Features, drive: Drive, key, number) -> Rendered:
        return self.refinery.render(weights, w_plus, maps, drive, jax.random.fold_in(key, number))

    def _truth(self, weights: Weights, clip: Clip, number) -> Rendered:
        """A made person's picture in a frame, with all that it was made of."""
        drive = _at(clip.frames.drive, number)
        return self._see(weights, *clip.people, drive, clip.key, number)  # pyright: ignore

    def _look(self, weights: Weights, clip: Clip, numbers: Int[Array, " k"]) -> Frame:
        """Frames of a clip by number, leading axes k, b."""
        frames = jax.tree.map(lambda x: x[numbers], clip.frames)
        if clip.people is None:
            return frames
        images = jax.lax.map(lambda number: self._truth(weights, clip, number).image, numbers)
        put = lambda frame, image: synthetic.photograph(frame, image, self.own.synthetic_texture)
        return jax.vmap(put)(frames, images)

    def _fold(self, inputs: Inputs, clip: Clip, drawn: Drawn) -> tuple[Memory, dict]:
        """The memory after the folded chunks, and the entries of the buffers that move.

        Only the last chunk gives a gradient; what it begins with is a constant.
        """
        chunk, total, weights = self.own.chunk, _length(clip), self._weights(inputs)
        if total % chunk:
            raise ValueError(f"got clips of {total} frames, expected a multiple of {chunk}")
        first = _at(self._look(weights, clip, jnp.arange(1)), 0)

        def fold(nets, weights, memory, i) -> Memory:
            frames = self._look(weights, clip, i * chunk + jnp.arange(chunk))
            key = jax.random.fold_in(inputs.key, i)
            return inversion.fold_chunk(nets, weights, self.model, memory, frames, key=key)

        def learn(nets) -> Memory:
            memory = inversion.start(nets, weights, self.model, first)
            if total > chunk:
                memory = self._warm(fold, weights, memory, drawn.folded - 1)
            return fold(nets, weights, memory, drawn.folded - 1)

        memory, found = batch_norm.watch(self.refinery.nets, learn)
        return memory, self.refinery.moved(inputs, found)

    def _warm(self, fold, weights: Weights, memory: Memory, chunks) -> Memory:
        """The memory after that many chunks, as a constant; the states of ConvGRUs begin at 0."""
        nets, fixed = self.refinery.nets, jax.lax.stop_gradient(weights)

        def states(memory: Memory, i):
            refined = fold(nets, fixed, memory, i).refinement
            return refined.texture_state, refined.triplane_state

        at = lambda states: memory._replace(refinement=Refinement([], {}, *states))
        shapes = jax.eval_shape(states, memory, 0)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        turn = lambda i, carried: states(at(carried), i)
        return at(jax.lax.stop_gradient(jax.lax.fori_loop(0, chunks, turn, zeros)))

    def _learn(self, inputs: Inputs, clip: Clip, scales: Mapping[str, float]) -> Outcome:
        """A U-Net on clips (Ireal) or on made people in the same poses (Igen)."""
        key_fold, key_view = jax.random.split(jax.random.fold_in(inputs.key, 1))
        drawn = draw_frames(key_fold, _length(clip), self.own)
        weights = self._weights(inputs)
        memory, moved = self._fold(inputs._replace(key=key_fold), clip, drawn)
        maps = self.refinery.finish(weights, memory)

        def compare(maps: Features, number, wanted: Rendered | None):
            frame = _at(clip.frames, number)
            got = self._see(weights, memory.w_plus, maps, frame.drive, key_view, number)
            if wanted is None:
                found = self._photo_terms(inputs, got, frame, number == 0)
            else:
                found = self._made_terms(inputs, got, wanted)
                found["texture"] = refinement.texture_term(maps, memory, clip.people)
            return terms.weigh(scales, found)

        compare = jax.checkpoint(compare) if self.own.remat else compare

        def one(number):
            made = clip.people is not None
            return compare(maps, number, self._truth(weights, clip, number) if made else None)

        each = jax.lax.map(one, drawn.rendered)
        loss, metrics = jax.tree.map(lambda x: x.mean(), each)
        return Outcome(loss, metrics, moved)

    def _photo_terms(self, inputs: Inputs, got: Rendered, frame: Frame, first) -> terms.Terms:
        """Frames but the first are compared where the head is: its surroundings move."""
        head = jnp.where(first, 1.0, frame.matte)
        shown = got.image * head + frame.image * (1 - head)
        return self._image_terms(inputs, got._replace(image=shown), frame.image) | (
            terms.photo_terms(self.refinery.critics, inputs.buffers["critics"], got, frame.image)
        )

    def _made_terms(self, inputs: Inputs, got: Rendered, wanted: Rendered) -> terms.Terms:
        critics, frozen = self.refinery.critics, inputs.buffers["critics"]
        found = self._image_terms(inputs, got, wanted.image)
        found |= terms.feature_terms(critics, frozen, got, wanted)
        logits = lambda: self.refinery.judge(inputs.params, got.image, got.raw)
        return found | {"adv": lambda: generator_loss(logits())}

    def _image_terms(self, inputs: Inputs, got: Rendered, wanted) -> terms.Terms:
        critics, frozen = self.refinery.critics, inputs.buffers["critics"]
        side = self.own.loss_resolution
        return terms.image_terms(critics, frozen, got.image, wanted, side)


def _in_time(tree):
    """Axes b, t -> t, b."""
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), tree)


def _at(tree, number):
    """One frame of a clip."""
    return jax.tree.map(lambda x: x[number], tree)


def _flat(tree):
    """Axes k, b as one."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def _length(clip: Clip) -> int:
    return clip.frames.image.shape[0]
