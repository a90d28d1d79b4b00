"""Stage `latent`: E_latent learns to project photos to w_plus of the frozen generator.

Pictures drawn from the codes are compared with the photos, and with made people, of whom every
feature is known; a discriminator keeps single codes near those of the mapping network.
Source: paper 3.3, A.2.1; TRAINING B.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from invertavatar_jax import generator, inversion, networks, settings
from invertavatar_jax.errors import UserError
from invertavatar_jax.fit.camera import from_vector
from invertavatar_jax.generator import Rendered
from invertavatar_jax.pure import Weights, part, pure
from invertavatar_jax.supervise.adversarial import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from invertavatar_jax.supervise.discriminator import LatentDiscriminator
from invertavatar_jax.train import critics as judges
from invertavatar_jax.train import samples
from invertavatar_jax.train.stage import Group, Inputs, Outcome, Phase, Stage, Start
from invertavatar_jax.train.stages import batch_norm, parts, pool, synthetic
from invertavatar_jax.train.stages import inversion_losses as terms
from invertavatar_jax.train.stages.batching import Batching
from invertavatar_jax.types import Drive, Frame

PLACES = {"encoder": "encoder/", "latent_discriminator": "latent_discriminator/"}
_TRUNK = ("input_layer_", "body_")  # layers of E_latent that ArcFace has too
_TINY_LENGTH = 1e-12  # squared; below it the length of a difference has no gradient


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every number of the stage.

    Attributes:
        encoder_betas, discriminator_betas: of Adam.
        real, synthetic: weights of the terms on photos and on made people; a term that is not
            there is left out.
        synthetic_truncation: psi of made people.
        code_truncation: psi of the codes that the discriminator takes for real.
        pool: codes that each side of the discriminator remembers, a microbatch's place.
        loss_resolution: side in pixels of the pictures that are compared.
        batch_norm: one of batch_norm.MODES.
        trunk_file: ArcFace's IR-SE-50, as published or converted, that E_latent's trunk begins
            with; "" leaves the trunk as the weights have it.
        remat: compute a picture's features again for the backward pass, to save memory.
    """

    encoder_rate: float
    encoder_betas: tuple[float, float]
    discriminator_rate: float
    discriminator_betas: tuple[float, float]
    real: Mapping[str, float]
    synthetic: Mapping[str, float]
    synthetic_truncation: float
    code_truncation: float
    pool: int
    r1_gamma: float
    r1_every: int
    loss_resolution: int
    batch_norm: str
    critics: judges.Settings
    trunk_file: str
    remat: bool


class Slot(NamedTuple):
    """What a microbatch's place remembers: codes of the encoder, and of the mapping network."""

    encoded: pool.Pool
    drawn: pool.Pool


def make(model: settings.Model, own: Settings, batching: Batching) -> Stage:
    """The stage. Batches are photos: t = 1.

    Raises:
        UserError, ValueError: critics that need a file, or settings that do not exist.
    """
    lesson = _Lesson(model, own)
    adam = lambda rate, betas: Group(optax.adam(rate, *betas, eps=1e-8))
    phases = (
        Phase("Ireal", "encoder", lesson.real),
        Phase("Igen", "encoder", lesson.synthetic),
        Phase("WDmain", "latent_discriminator", lesson.judge),
        Phase("WDreg", "latent_discriminator", lesson.penalise, every=own.r1_every),
    )
    return Stage(
        name="latent",
        groups={
            "encoder": adam(own.encoder_rate, own.encoder_betas),
            "latent_discriminator": adam(own.discriminator_rate, own.discriminator_betas),
        },
        phases=lambda variant: phases,
        start=lesson.start,
        ship=lambda params, averages, buffers: parts.join(params, buffers, PLACES),
        measure=lesson.measure,
        show=lesson.show,
    )


def far_from_first(w_plus: Float[Array, "b l d"]) -> Float[Array, ""]:
    """Mean length of the difference of each code and the first one (w_delta). TRAINING B."""
    squared = jnp.square(w_plus[:, 1:] - w_plus[:, :1]).sum(-1)
    apart = squared > _TINY_LENGTH
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0).mean()


class _Lesson:
    """The stage's losses: pure functions of train.stage.Inputs."""

    def __init__(self, model: settings.Model, own: Settings):
        self.model, self.own = model, own
        self.nets = batch_norm.build(model, own.batch_norm)
        self.stored = networks.build(model)
        self.critics = judges.make(own.critics)
        self.discriminator = pure(LatentDiscriminator(model.w_dim))

    def start(self, key: jax.Array, weights: Weights | None) -> Start:
        key_networks, key_discriminator = jax.random.split(key)
        whole = parts.complete(self.model, key_networks, weights)
        params, buffers = dict(whole["params"]), dict(whole["buffers"])
        if "latent_discriminator" not in params:
            code = jnp.zeros((1, self.model.w_dim))
            params["latent_discriminator"] = self.discriminator.init(key_discriminator, code)[
                "params"
            ]
        if self.own.trunk_file:
            encoder = with_trunk(part(whole, "encoder"), self.own.trunk_file)
            params["encoder"], buffers["encoder"] = encoder["params"], encoder["buffers"]
        w_avg = buffers["generator"]["backbone"]["mapping"]["w_avg"]
        buffers["latent_avg"] = jnp.asarray(w_avg)[None]
        params, buffers = parts.split({"params": params, "buffers": buffers}, PLACES)
        empty = pool.empty(self.own.pool, self.model.w_dim)
        return Start(params, buffers | {"critics": self.critics.read()}, Slot(empty, empty))

    def real(self, inputs: Inputs) -> Outcome:
        """E_latent on photos (Ireal)."""
        weights, frame, _ = self._read(inputs)
        w_plus, moved = self._encode(inputs, weights, frame)
        got = self._avatar(weights, w_plus, frame.drive, inputs.key)
        found = self._code_terms(inputs, w_plus) | self._image_terms(inputs, got, frame.image)
        loss, metrics = terms.weigh(self.own.real, found, self.critics)
        return Outcome(loss, metrics, moved)

    def synthetic(self, inputs: Inputs) -> Outcome:
        """E_latent on made people, posed as the photos are (Igen)."""
        weights, frame, label = self._read(inputs)
        key_person, key_wanted, key_got = jax.random.split(inputs.key, 3)
        truncation = self.own.synthetic_truncation
        w_plus = synthetic.draw_codes(self.nets, weights, self.model, label, truncation, key_person)
        wanted = self._avatar(weights, w_plus, frame.drive, key_wanted)
        w_plus, moved = self._encode(inputs, weights, frame._replace(image=wanted.image))
        got = self._avatar(weights, w_plus, frame.drive, key_got)
        found = self._code_terms(inputs, w_plus) | self._image_terms(inputs, got, wanted.image)
        frozen = inputs.buffers["critics"]
        found |= terms.feature_terms(self.critics, frozen, got, wanted)
        loss, metrics = terms.weigh(self.own.synthetic, found, self.critics)
        return Outcome(loss, metrics, moved)

    def judge(self, inputs: Inputs) -> Outcome:
        """The discriminator on codes of both kinds, through their pools (WDmain)."""
        weights, frame, label = self._read(inputs)
        key_which, key_draw, *keys = jax.random.split(inputs.key, 4)
        w_plus = inversion.encode_latent(self.nets, weights, frame)
        count, layers = w_plus.shape[:2]
        which = jax.random.randint(key_which, (count,), 0, layers)
        encoded = w_plus[jnp.arange(count), which]
        drawn = self._draw(weights, label, key_draw)
        kept_encoded, encoded = pool.exchange(inputs.slot.encoded, encoded, keys[0])
        kept_drawn, drawn = pool.exchange(inputs.slot.drawn, drawn, keys[1])
        real, fake = (self._judge(inputs, codes) for codes in (drawn, encoded))
        metrics = {"real": real.mean(), "fake": fake.mean()}
        slot = Slot(kept_encoded, kept_drawn)
        return Outcome(discriminator_loss(real, fake), metrics, slot=slot)

    def penalise(self, inputs: Inputs) -> Outcome:
        """R1 at codes of the mapping network (WDreg), once for all the steps in between."""
        weights, _, label = self._read(inputs)
        drawn = self._draw(weights, label, inputs.key)
        found = gradient_penalty(lambda codes: self._judge(inputs, codes), drawn)
        penalty = found.penalty.mean()
        scale = self.own.r1_gamma / 2 * self.own.r1_every
        return Outcome(scale * penalty, {"r1": penalty})

    def measure(self, params, averages, buffers, batch, key) -> dict[str, Array]:
        """psnr and psnr_head of the coarse avatar of held-out frames."""
        frame, got, _ = self._reconstruct(params, buffers, batch)
        return terms.nearness(got.image, frame.image, frame.matte)

    def show(self, params, averages, buffers, batch, key) -> dict[str, Array]:
        """The photo, its coarse avatar, and that seen by another camera."""
        frame, got, turned = self._reconstruct(params, buffers, batch)
        rows = {"photo": frame.image, "coarse": got.image, "raw": got.raw}
        return rows | {"depth": got.depth, "turned": turned.image}

    def _reconstruct(self, params, buffers, batch) -> tuple[Frame, Rendered, Rendered]:
        weights = parts.join(params, buffers, PLACES)
        frame = samples.frames(samples.photos(batch))
        memory = inversion.start(self.stored, weights, self.model, frame)
        see = lambda frame: inversion.render_coarse(self.stored, weights, self.model, memory, frame)
        other = Drive(from_vector(batch["other_camera"]), frame.drive.raster)
        return frame, see(frame), see(frame._replace(drive=other))

    def _read(self, inputs: Inputs) -> tuple[Weights, Frame, Array]:
        batch = samples.photos(inputs.batch)
        weights = parts.join(inputs.params, inputs.buffers, PLACES)
        return weights, samples.frames(batch), batch["camera"]

    def _encode(self, inputs: Inputs, weights: Weights, frame: Frame):
        """w_plus, and the entries of the buffers that move."""
        encode = lambda nets: inversion.encode_latent(nets, weights, frame)
        if self.own.batch_norm == "stored":
            return encode(self.nets), {}
        w_plus, found = batch_norm.watch(self.nets, encode)
        return w_plus, {"statistics": batch_norm.moved(inputs.buffers["statistics"], found)}

    def _avatar(self, weights: Weights, w_plus, drive: Drive, key) -> Rendered:
        def draw(w_plus):
            own = part(weights, "generator")
            maps = generator.features(self.nets, own, w_plus)
            return generator.render(self.nets, own, self.model, w_plus, maps, drive, key=key)

        return (jax.checkpoint(draw) if self.own.remat else draw)(w_plus)

    def _draw(self, weights: Weights, label, key) -> Float[Array, "b d"]:
        truncation = self.own.code_truncation
        return synthetic.draw_codes(self.nets, weights, self.model, label, truncation, key)[:, 0]

    def _judge(self, inputs: Inputs, codes: Float[Array, "*b d"]) -> Float[Array, "*b 1"]:
        params = inputs.params["latent_discriminator"]["latent_discriminator"]
        return self.discriminator.apply({"params": params}, codes)

    def _code_terms(self, inputs: Inputs, w_plus: Float[Array, "b l d"]) -> terms.Terms:
        return {
            "w_discriminator": lambda: generator_loss(self._judge(inputs, w_plus)),
            "w_delta": lambda: far_from_first(w_plus),
        }

    def _image_terms(self, inputs: Inputs, got: Rendered, wanted) -> terms.Terms:
        frozen, side = inputs.buffers["critics"], self.own.loss_resolution
        return terms.image_terms(self.critics, frozen, got.image, wanted, side)


def with_trunk(encoder: Weights, path: str) -> Weights:
    """E_latent's weights with the trunk of ArcFace's.

    Raises:
        UserError: the file is refused, or its trunk has other sizes.

    Source: TRAINING B ("encoder init"); paper A.3.
    """
    found = judges.read_network(path, "identity")
    sizes = lambda tree: jax.tree.map(np.shape, tree)
    trunk = lambda tree: {name: leaf for name, leaf in tree.items() if name.startswith(_TRUNK)}
    new = {collection: trunk(tree) for collection, tree in found.items()}
    if sizes(new) != sizes({collection: trunk(tree) for collection, tree in encoder.items()}):
        raise UserError(
            f"{path} has a trunk of other sizes than E_latent of this preset: set "
            "settings.trunk_file to '' or train the preset paper."
        )
    return {collection: encoder[collection] | new[collection] for collection in encoder}
