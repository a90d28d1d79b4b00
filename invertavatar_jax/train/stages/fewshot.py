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

    frames: Frame  # of a made person, only those that are folded show it
    people: People | None = None
    wanted: Rendered | None = None  # made people in the rendered frames, leading axes k, b


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
    return lesson.refinery.stage("fewshot", lesson.phases, lesson.measure, lesson.show, draws=2)


def draw_frames(key: jax.Array, total: int, own: Settings) -> Drawn:
    """How many chunks of a clip are folded, and which of their frames are rendered.

    Raises:
        ValueError: the frames are not a multiple of the chunk.

    Source: paper A.2.3 ("sequences of up to 32 frames, randomly selecting 4"); TRAINING D.
    """
    if total % own.chunk:
        raise ValueError(f"got clips of {total} frames, expected a multiple of {own.chunk}")
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
        own, unets = self.own, self.refinery.unets
        real, made = (terms.scales(x, adversarial) for x in (own.real, own.synthetic))
        learn = lambda read, scales: lambda inputs: self._learn(inputs, read, scales)
        kinds = ("Ireal", learn(self._real, real), _REAL), ("Igen", learn(self._made, made), _MADE)
        phases = tuple(
            Phase(f"{name}_{group}", group, loss, len(unets), turn, draw)
            for name, loss, draw in kinds
            for turn, group in enumerate(unets)
        )
        if not adversarial:
            return phases
        judge = Phase("Dmain", "discriminator", self.judge, draw=_MADE)
        every = 1 if own.r1_always else own.r1_every
        penalise = Phase("Dreg", "discriminator", self.penalise, every, draw=_MADE)
        return *phases, judge, penalise

    def judge(self, inputs: Inputs) -> Outcome:
        """The discriminator on made people and what the encoders make of them (Dmain)."""
        key_clip, key_drawn, key_fold, key_view = jax.random.split(inputs.key, 4)
        weights, drawn = self.refinery.weights(inputs), self._draw(key_drawn, inputs)
        clip = self._made(weights, inputs.batch, drawn, key_clip)
        memory, _ = self._fold(weights, clip, drawn, key_fold)
        maps = self.refinery.finish(weights, memory)

        def see(number):
            drive = _at(clip.frames.drive, number)
            got = self._see(weights, memory.w_plus, maps, drive, key_view, number)
            return got.image, got.raw

        fake = jax.lax.map(see, drawn.rendered)
        real = clip.wanted.image, clip.wanted.raw  # pyright: ignore[reportOptionalMemberAccess]
        return self.refinery.compare_pairs(inputs, _flat(real), _flat(fake))

    def penalise(self, inputs: Inputs) -> Outcome:
        """R1 at pictures of made people (Dreg)."""
        key_person, key_drawn, key_view = jax.random.split(inputs.key, 3)
        weights, drawn = self.refinery.weights(inputs), self._draw(key_drawn, inputs)
        people = self._people(weights, inputs.batch, key_person)
        drives = _in_time(samples.drives(inputs.batch))

        def see(number):
            got = self._see(weights, *people, _at(drives, number), key_view, number)
            return got.image, got.raw

        every = self.own.r1_every
        gain = jnp.where(inputs.step % every == 0, jnp.float32(every), jnp.float32(1))
        real = _flat(jax.lax.map(see, drawn.rendered))
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

    def _draw(self, key, inputs: Inputs) -> Drawn:
        return draw_frames(key, inputs.batch["image"].shape[1], self.own)

    def _see(self, weights, w_plus, maps: Features, drive: Drive, key, number) -> Rendered:
        return self.refinery.render(weights, w_plus, maps, drive, jax.random.fold_in(key, number))

    def _people(self, weights: Weights, batch, key) -> People:
        nets, psi = self.refinery.nets, self.own.synthetic_truncation
        label = batch["camera"][:, 0]
        return synthetic.draw_people(nets, weights, self.model, label, psi, key)

    def _real(self, weights: Weights, batch, drawn: Drawn, key) -> Clip:
        return Clip(_in_time(samples.frames(batch)))

    def _made(self, weights: Weights, batch, drawn: Drawn, key) -> Clip:
        """Made people with the poses and expressions of the clips, in the folded frames."""
        key_person, key_view = jax.random.split(key)
        people = self._people(weights, batch, key_person)
        frames, kept = _in_time(samples.frames(batch)), len(drawn.rendered)
        see = lambda i: self._see(weights, *people, _at(frames.drive, i), key_view, i)
        empty = lambda count, like: jnp.zeros((count, *like.shape), like.dtype)
        # the last place is for frames that are not rendered
        wanted = jax.tree.map(lambda x: empty(kept + 1, x), jax.eval_shape(see, 0))

        def turn(i, made):
            images, wanted = made
            out, found = see(i), drawn.rendered == i
            place = jnp.where(found.any(), jnp.argmax(found), kept)
            wanted = jax.tree.map(lambda all_, x: all_.at[place].set(x), wanted, out)
            return images.at[i].set(out.image), wanted

        made = jnp.zeros_like(frames.image), wanted
        images, wanted = jax.lax.fori_loop(0, drawn.folded * self.own.chunk, turn, made)
        put = lambda frame, image: synthetic.photograph(frame, image, self.own.synthetic_texture)
        wanted = jax.tree.map(lambda x: x[:kept], wanted)
        return Clip(jax.vmap(put)(frames, images), people, wanted)

    def _fold(self, weights: Weights, clip: Clip, drawn: Drawn, key) -> tuple[Memory, dict]:
        """The memory after the folded chunks, and the batch statistics that it moved.

        Only the last chunk gives a gradient; what it begins with is a constant.
        """
        frames, chunk, nets = clip.frames, self.own.chunk, self.refinery.nets
        total = len(frames.image)

        def refine(nets, weights, coarse, memory: Memory, i) -> Memory:
            numbers = i * chunk + jnp.arange(chunk)
            some, seen = (jax.tree.map(lambda x: x[numbers], tree) for tree in (frames, coarse))
            refinement = inversion.refine(nets, weights, self.model, some, seen, memory)
            return inversion.add_frames(memory, some, refinement)

        def see(memory: Memory, i):
            own, frame = jax.random.fold_in(key, i), _at(frames, i)
            return inversion.render_coarse(nets, weights, self.model, memory, frame, key=own).image

        def learn(watched) -> Memory:
            memory = inversion.start(watched, weights, self.model, _at(frames, 0))
            turn = lambda i, seen: seen.at[i].set(see(memory, i))
            seen = jnp.zeros_like(frames.image)
            seen = jax.lax.fori_loop(0, drawn.folded * chunk, turn, seen)
            if total > chunk:
                fixed = jax.lax.stop_gradient(weights)
                step = lambda memory, i: refine(nets, fixed, seen, memory, i)
                memory = _warm(step, memory, drawn.folded - 1)
            return refine(watched, weights, seen, memory, drawn.folded - 1)

        return batch_norm.watch(nets, learn)

    def _learn(self, inputs: Inputs, read, scales: Mapping[str, float]) -> Outcome:
        """The U-Nets on clips (Ireal) or on made people in the same poses (Igen)."""
        key_clip, key_drawn, key_fold, key_view = jax.random.split(inputs.key, 4)
        weights, drawn = self.refinery.weights(inputs), self._draw(key_drawn, inputs)
        clip = read(weights, inputs.batch, drawn, key_clip)
        memory, found = self._fold(weights, clip, drawn, key_fold)
        maps = self.refinery.finish(weights, memory)

        def compare(maps: Features, number, wanted: Rendered | None):
            frame = _at(clip.frames, number)
            got = self._see(weights, memory.w_plus, maps, frame.drive, key_view, number)
            if wanted is None:
                return terms.weigh(
                    scales,
                    self._photo_terms(inputs, got, frame, number == 0),
                    self.refinery.critics,
                )
            found = self._made_terms(inputs, got, wanted)
            found["texture"] = refinement.texture_term(maps, memory, clip.people)
            return terms.weigh(scales, found, self.refinery.critics)

        compare = jax.checkpoint(compare) if self.own.remat else compare
        one = lambda each: compare(maps, *each)
        loss, metrics = jax.tree.map(
            lambda x: x.mean(), jax.lax.map(one, (drawn.rendered, clip.wanted))
        )
        return Outcome(loss, metrics, self.refinery.moved(inputs, found))

    def _photo_terms(self, inputs: Inputs, got: Rendered, frame: Frame, first) -> terms.Terms:
        """Frames but the first are compared where the head is: its surroundings move."""
        head = jnp.where(first, 1.0, frame.matte)
        shown = got.image * head + frame.image * (1 - head)
        return self._image_terms(inputs, shown, frame.image)

    def _made_terms(self, inputs: Inputs, got: Rendered, wanted: Rendered) -> terms.Terms:
        critics, frozen = self.refinery.critics, inputs.buffers["critics"]
        weights = self.refinery.weights(inputs)
        found = self._image_terms(inputs, got.image, wanted.image)
        found |= terms.feature_terms(critics, frozen, got, wanted)
        logits = lambda: self.refinery.judge(weights, got.image, got.raw)
        return found | {"adv": lambda: generator_loss(logits())}

    def _image_terms(self, inputs: Inputs, got, wanted) -> terms.Terms:
        critics, frozen = self.refinery.critics, inputs.buffers["critics"]
        return terms.image_terms(critics, frozen, got, wanted, self.own.loss_resolution)


def _warm(step, memory: Memory, chunks) -> Memory:
    """The memory after that many chunks, as a constant; aggregators' memories begin at 0."""
    at = lambda states: memory._replace(refinement=Refinement([], {}, *states))

    def states(memory: Memory, i):
        refined = step(memory, i).refinement
        return refined.texture_state, refined.triplane_state

    shapes = jax.eval_shape(states, memory, 0)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return at(jax.lax.fori_loop(0, chunks, lambda i, old: states(at(old), i), zeros))


def _in_time(tree):
    """Axes b, t -> t, b."""
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), tree)


def _at(tree, number):
    """One frame of a clip."""
    return jax.tree.map(lambda x: x[number], tree)


def _flat(tree):
    """Axes k, b as one."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)
