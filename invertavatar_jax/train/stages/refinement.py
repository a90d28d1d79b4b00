"""What the stages of E_tex and E_tri share: their parameters, their discriminator, their avatars.

Source: paper 3.3, A.2.2; TRAINING C, D.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from invertavatar_jax import generator, inversion, networks, settings
from invertavatar_jax.fit.camera import from_vector
from invertavatar_jax.generator import Features, Rendered
from invertavatar_jax.inversion import Memory
from invertavatar_jax.pure import Weights, part, pure
from invertavatar_jax.supervise.adversarial import discriminator_loss, gradient_penalty
from invertavatar_jax.supervise.discriminator import DualDiscriminator
from invertavatar_jax.train import critics as judges
from invertavatar_jax.train.stage import Group, Inputs, Outcome, Stage, Start
from invertavatar_jax.train.stages import batch_norm, parts
from invertavatar_jax.train.stages import inversion_losses as terms
from invertavatar_jax.train.stages.synthetic import People
from invertavatar_jax.types import Drive, Frame

# groups of the U-Nets' parameters, trained in turn or at the same time -> their networks
ALTERNATING = {"triplane": "triplane_unet", "texture": "texture_unet"}
TOGETHER = {"unets": "(triplane|texture)_unet"}
_DECODER = "(?!input_layer_|body_)"
_RGB = 3  # channels of a picture


@dataclasses.dataclass(frozen=True)
class Settings:
    """Numbers that both stages have.

    Attributes:
        betas, discriminator_betas: of Adam.
        alternate: whether even iterations train E_tri and odd ones E_tex, or all train both.
        trunks: whether the U-Nets' trunks are trained with their decoders.
        real, synthetic: weights of the terms on photos and on made people; a term that is not
            there is left out.
        synthetic_truncation: psi of made people.
        synthetic_texture: one of synthetic.TEXTURES.
        loss_resolution: side in pixels of the pictures that are compared.
        adversarial_from: iterations without the discriminator before it begins.
        discriminator_group: samples of which it sees the deviation.
        batch_norm: one of batch_norm.MODES, of E_latent and the decoders.
        remat: compute a picture's features again for the backward pass, to save memory.
    """

    rate: float
    betas: tuple[float, float]
    discriminator_rate: float
    discriminator_betas: tuple[float, float]
    alternate: bool
    trunks: bool
    real: Mapping[str, float]
    synthetic: Mapping[str, float]
    synthetic_truncation: float
    synthetic_texture: str
    loss_resolution: int
    adversarial_from: int
    discriminator_group: int
    r1_gamma: float
    r1_every: int
    batch_norm: str
    critics: judges.Settings
    remat: bool


class Refinery:
    """Networks and critics of a stage, and what is made with them; holds no arrays."""

    def __init__(self, model: settings.Model, own: Settings):
        self.own, self.users_model = own, model
        # all features of the tri-planes are modulated in training, in one-shot models too
        self.model = dataclasses.replace(model, one_shot=False)
        self.nets = batch_norm.build(model, own.batch_norm)
        self.stored = networks.build(model)
        self.critics = judges.make(own.critics)
        sizes = dataclasses.replace(model.backbone, resolution=model.renderer.image_resolution)
        self.discriminator = pure(DualDiscriminator(sizes, group=own.discriminator_group))
        self.unets = ALTERNATING if own.alternate else TOGETHER
        layers = "" if own.trunks else _DECODER
        self.places = {
            name: f"unet_encoder/{unet}/{layers}" for name, unet in self.unets.items()
        } | {"discriminator": "discriminator/"}

    def groups(self) -> dict[str, Group]:
        """An optimizer for each U-Net and one for the discriminator."""
        own = self.own
        adam = lambda rate, betas: Group(optax.adam(rate, *betas, eps=1e-8))
        unets = {name: adam(own.rate, own.betas) for name in self.unets}
        return unets | {"discriminator": adam(own.discriminator_rate, own.discriminator_betas)}

    def stage(self, name: str, phases, measure, show, *, draws: int = 1) -> Stage:
        """A stage of these networks; its variant is whether the discriminator has begun."""
        return Stage(
            name=name,
            groups=self.groups(),
            phases=phases,
            start=self.start,
            ship=self.ship,
            measure=measure,
            show=show,
            draws=draws,
            variant=lambda step: step >= self.own.adversarial_from,
        )

    def start(self, key: jax.Array, weights: Weights | None) -> Start:
        """The stage's trees; the discriminator is the given one, or fresh."""
        key_networks, key_discriminator = jax.random.split(key)
        whole = parts.complete(self.users_model, key_networks, weights)
        params = dict(whole["params"])
        if "discriminator" in params:
            params["discriminator"] = without_landmarks(params["discriminator"])
        else:
            side, below = (
                self.model.renderer.image_resolution,
                self.model.renderer.neural_resolution,
            )
            image, raw = (jnp.zeros((1, n, n, _RGB)) for n in (side, below))
            label = jnp.zeros((1, self.model.c_dim))
            fresh = self.discriminator.init(key_discriminator, image, raw, label)
            params["discriminator"] = fresh["params"]
        params, buffers = parts.split(whole | {"params": params}, self.places)
        return Start(params, buffers | {"critics": self.critics.read()})

    def ship(self, params, averages, buffers) -> Weights:
        """As train.stage.Stage."""
        return parts.join(params, buffers, self.places)

    def weights(self, inputs: Inputs) -> Weights:
        """All weights."""
        return parts.join(inputs.params, inputs.buffers, self.places)

    def render(
        self, weights: Weights, w_plus: Array, maps: Features, drive: Drive, key=None
    ) -> Rendered:
        """An avatar of canonical features, at the drives."""
        own = part(weights, "generator")
        return generator.render(self.nets, own, self.model, w_plus, maps, drive, key=key)

    def finish(self, weights: Weights, memory: Memory) -> Features:
        """The refined canonical features."""
        return inversion.finish(self.nets, weights, self.model, memory)

    def judge(self, weights: Weights, image, raw) -> Float[Array, "b 1"]:
        """Logits of pictures and their neural images; the discriminator is told no pose."""
        label = jnp.zeros((len(image), self.model.c_dim))
        own = part(weights, "discriminator")
        return self.discriminator.apply(own, image, raw, label).logits

    def compare_pairs(self, inputs: Inputs, real, fake) -> Outcome:
        """The discriminator's loss on pairs (image, raw)."""
        weights = self.weights(inputs)
        real, fake = (self.judge(weights, *pair) for pair in (real, fake))
        metrics = {"real": real.mean(), "fake": fake.mean()}
        return Outcome(discriminator_loss(real, fake), metrics)

    def penalise(self, inputs: Inputs, real, gain) -> Outcome:
        """R1 at real pairs (image, raw)."""
        weights = self.weights(inputs)
        found = gradient_penalty(lambda pair: self.judge(weights, *pair), tuple(real))
        penalty = found.penalty.mean()
        return Outcome(self.own.r1_gamma / 2 * gain * penalty, {"r1": penalty})

    def moved(self, inputs: Inputs, found: dict) -> dict[str, Any]:
        """Entries of the buffers that a loss moves, of what batch_norm.watch found."""
        if self.own.batch_norm == "stored":
            return {}
        return {"statistics": batch_norm.moved(inputs.buffers["statistics"], found)}

    def avatar(self, weights: Weights, frames: Frame) -> tuple[Memory, Features]:
        """The avatar of frames (leading axes t, b) as users make it: one after the other."""
        return inversion.reconstruct(self.stored, weights, self.users_model, frames)

    def pictures(self, params, buffers, frames: Frame, target: Frame, other) -> dict[str, Array]:
        """Rows of the grid: the avatar of frames (t, b) at another frame (b).

        Args:
            other: a camera's 25 numbers, from where it is seen too.
        """
        weights = self.ship(params, None, buffers)
        memory, maps = self.avatar(weights, frames)
        see = lambda maps, drive: self.render(weights, memory.w_plus, maps, drive)
        got = see(maps, target.drive)
        turned = see(maps, Drive(from_vector(other), target.drive.raster))
        rows = {"photo": target.image, "coarse": see(memory.coarse, target.drive).image}
        rows |= {"refined": got.image, "raw": got.raw, "depth": got.depth}
        return rows | {"turned": turned.image}

    def nearness(self, params, buffers, frames: Frame, target: Frame) -> dict[str, Array]:
        """psnr and psnr_head of the avatar of frames (t, b) at another frame (b)."""
        weights = self.ship(params, None, buffers)
        memory, maps = self.avatar(weights, frames)
        got = self.render(weights, memory.w_plus, maps, target.drive)
        return terms.nearness(got.image, target.image, target.matte)


def texture_term(maps: Features, memory: Memory, people: People) -> terms.Term:
    """L1 between the neural textures that E_tex changes and the made person's, mean over scales.

    Source: paper A.2.2 (L_tex).
    """
    changed = len(memory.refinement.offsets)
    pairs = list(zip(maps.textures[:changed], people.maps.textures[:changed], strict=True))
    return lambda: sum(terms.l1(got, wanted) for got, wanted in pairs) / changed


def without_landmarks(discriminator: Mapping[str, Any]) -> dict[str, Any]:
    """A discriminator's parameters without the channels of a landmark map, if it has them.

    Logits are those of a black map; the rest of the first layer counts as much as before.
    """
    entry = next(name for name, block in discriminator.items() if "fromrgb" in block)
    layer = discriminator[entry]["fromrgb"]
    weight, channels = layer["weight"], layer["weight"].shape[2]
    if channels == 2 * _RGB:
        return dict(discriminator)
    kept = jnp.concatenate([weight[:, :, :_RGB], weight[:, :, -_RGB:]], 2)
    kept = kept * np.float32(np.sqrt(kept.shape[2] / channels))
    block = discriminator[entry] | {"fromrgb": layer | {"weight": kept}}
    return {**discriminator, entry: block}
