"""Stage `oneshot`: E_tex and E_tri learn to refine the avatar of one photo.

Photos take turns with made people, of whom every feature is known; where the U-Nets take turns
too, each reads both. Source: paper 3.3, A.2.2; TRAINING C.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
from jaxtyping import Array

from invertavatar_jax import inversion, settings
from invertavatar_jax.generator import Features, Rendered
from invertavatar_jax.inversion import Memory
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.supervise.adversarial import generator_loss
from invertavatar_jax.train import samples
from invertavatar_jax.train.stage import Inputs, Outcome, Phase, Stage
from invertavatar_jax.train.stages import batch_norm, refinement, synthetic
from invertavatar_jax.train.stages import inversion_losses as terms
from invertavatar_jax.train.stages.batching import Batching
from invertavatar_jax.train.stages.synthetic import People
from invertavatar_jax.types import Frame

# what the discriminator takes for real: made pictures, as the paper says; or, as released,
# what the iteration's encoders read: photos in some, made pictures in the others
JUDGED = ("synthetic", "shown")
_KINDS = 2  # of what is read: photos, then made people, for as many iterations as groups


@dataclasses.dataclass(frozen=True)
class Settings(refinement.Settings):
    """Every number of the stage.

    Attributes:
        judged: one of JUDGED.
    """

    judged: str


class Reading(NamedTuple):
    """What an avatar is made of, and what is known of the truth."""

    frame: Frame
    raw: Array  # the volume's colours; of a photo, the photo at their resolution
    people: People | None
    wanted: Rendered | None


def make(model: settings.Model, own: Settings, batching: Batching) -> Stage:
    """The stage. Batches are photos: t = 1.

    Raises:
        UserError, ValueError: critics that need a file, or settings that do not exist.
    """
    if own.judged not in JUDGED:
        raise ValueError(f"judged: got {own.judged!r}, expected one of {', '.join(JUDGED)}")
    lesson = _Lesson(model, own)
    return lesson.refinery.stage("oneshot", lesson.phases, lesson.measure, lesson.show)


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
        kinds = {"Ireal": learn(self._photo, real), "Igen": learn(self._made, made)}
        turns = len(self.refinery.unets)
        phases = tuple(
            Phase(f"{name}_{group}", group, loss, _KINDS * turns, turns * i + j)
            for i, (name, loss) in enumerate(kinds.items())
            for j, group in enumerate(self.refinery.unets)
        )
        if not adversarial:
            return phases
        judge = Phase("Dmain", "discriminator", self.judge)
        return *phases, judge, Phase("Dreg", "discriminator", self.penalise, own.r1_every)

    def judge(self, inputs: Inputs) -> Outcome:
        """The discriminator on pictures and what the encoders make of them (Dmain)."""
        key_read, key_made = jax.random.split(inputs.key)
        reading = self._judged(inputs._replace(key=key_read))
        got, *_ = self._avatar(inputs._replace(key=key_made), reading.frame)
        real, fake = (reading.frame.image, reading.raw), (got.image, got.raw)
        return self.refinery.compare_pairs(inputs, real, fake)

    def penalise(self, inputs: Inputs) -> Outcome:
        """R1 (Dreg), once for all the steps in between."""
        reading = self._judged(inputs)
        pair = reading.frame.image, reading.raw
        return self.refinery.penalise(inputs, pair, self.own.r1_every)

    def measure(self, params, averages, buffers, batch, key) -> dict[str, Array]:
        """psnr and psnr_head of the refined avatar of a held-out frame, at that frame."""
        frame = samples.frames(samples.photos(batch))
        alone = jax.tree.map(lambda x: x[None], frame)
        return self.refinery.nearness(params, buffers, alone, frame)

    def show(self, params, averages, buffers, batch, key) -> dict[str, Array]:
        """The photo, its coarse and its refined avatar, and that seen by another camera."""
        frame = samples.frames(samples.photos(batch))
        alone = jax.tree.map(lambda x: x[None], frame)
        return self.refinery.pictures(params, buffers, alone, frame, batch["other_camera"])

    def _photo(self, inputs: Inputs) -> Reading:
        frame = samples.frames(samples.photos(inputs.batch))
        side = self.model.renderer.neural_resolution
        return Reading(frame, resize_antialias(frame.image, (side, side)), None, None)

    def _made(self, inputs: Inputs) -> Reading:
        """Made people, posed as the photos are."""
        batch = samples.photos(inputs.batch)
        key_person, key_view = jax.random.split(inputs.key)
        nets, weights, truncation = (
            self.refinery.nets,
            self.refinery.weights(inputs),
            self.own.synthetic_truncation,
        )
        label = batch["camera"]
        people = synthetic.draw_people(nets, weights, self.model, label, truncation, key_person)
        frame = samples.frames(batch)
        wanted = self.refinery.render(weights, *people, frame.drive, key_view)
        frame = synthetic.photograph(frame, wanted.image, self.own.synthetic_texture)
        return Reading(frame, wanted.raw, people, wanted)

    def _judged(self, inputs: Inputs) -> Reading:
        bare = lambda reading: reading._replace(people=None, wanted=None)
        if self.own.judged == "synthetic":
            return bare(self._made(inputs))
        turns = len(self.refinery.unets)
        photo = inputs.step % (_KINDS * turns) < turns
        return jax.lax.cond(
            photo, lambda: bare(self._photo(inputs)), lambda: bare(self._made(inputs))
        )

    def _avatar(self, inputs: Inputs, frame: Frame) -> tuple[Rendered, Features, Memory, dict]:
        """The refined avatar at its own frame, and the entries of the buffers that move."""
        refinery, weights = self.refinery, self.refinery.weights(inputs)
        key_coarse, key_refined = jax.random.split(inputs.key)

        def fold(nets) -> Memory:
            memory = inversion.start(nets, weights, self.model, frame)
            alone = jax.tree.map(lambda x: x[None], frame)
            return inversion.fold_chunk(nets, weights, self.model, memory, alone, key=key_coarse)

        def draw(maps: Features) -> Rendered:
            return refinery.render(weights, memory.w_plus, maps, frame.drive, key_refined)

        memory, found = batch_norm.watch(refinery.nets, fold)
        maps = refinery.finish(weights, memory)
        got = (jax.checkpoint(draw) if self.own.remat else draw)(maps)
        return got, maps, memory, refinery.moved(inputs, found)

    def _learn(self, inputs: Inputs, reading: Reading, scales: Mapping[str, float]) -> Outcome:
        """A U-Net on photos (Ireal) or on made people (Igen)."""
        own, critics, frozen = self.own, self.refinery.critics, inputs.buffers["critics"]
        frame = reading.frame
        key = jax.random.fold_in(inputs.key, 1)  # reading used the other
        got, maps, memory, moved = self._avatar(inputs._replace(key=key), frame)
        found = terms.image_terms(critics, frozen, got.image, frame.image, own.loss_resolution)
        if reading.wanted is None or reading.people is None:
            found |= terms.photo_terms(critics, frozen, got, frame.image)
        else:
            found |= terms.feature_terms(critics, frozen, got, reading.wanted)
            found["texture"] = refinement.texture_term(maps, memory, reading.people)
        weights = self.refinery.weights(inputs)
        logits = lambda: self.refinery.judge(weights, got.image, got.raw)
        found["adv"] = lambda: generator_loss(logits())
        loss, metrics = terms.weigh(scales, found, critics)
        return Outcome(loss, metrics, moved)
