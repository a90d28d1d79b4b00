"""The two players of the adversarial stage: what one draws, and what the other makes of it."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from invertavatar_jax import generator
from invertavatar_jax.layers import Noise
from invertavatar_jax.networks import Networks
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.pure import Pure, Weights, part
from invertavatar_jax.render import volume
from invertavatar_jax.settings import Model
from invertavatar_jax.supervise.blur import blur
from invertavatar_jax.train import samples
from invertavatar_jax.train.samples import Batch


@dataclass(frozen=True)
class Settings:
    """Numbers of the stage; `images` are those of the data set seen since its start.

    Source: TRAINING A.
    """

    generator_rate: float  # of Adam, before the correction for lazy phases
    discriminator_rate: float
    betas: tuple[float, float]
    epsilon: float
    gamma: float  # of R1
    penalty_every: int  # iterations
    density_weight: float
    density_every: int  # iterations
    density_points: int
    density_spread: float  # world units
    swap_end: float  # probability that a sample is conditioned on its neighbour's camera
    swap_fade_images: float  # until then it falls from 1; 0: it is swap_end at once
    blur_sigma: float  # at the start, in pixels; 0: nothing is blurred
    blur_fade_images: float
    neural_start: int  # resolution of the rays
    neural_end: int
    neural_fade_images: float
    neural_resolutions: tuple[int, ...]  # those compiled: the nearest one is taken
    average_images: float  # half-life of the generator's running average
    average_ramp: float  # limits it to this share of the images seen; 0 has no limit
    w_average_keep: float  # of the mean of w, each iteration
    landmarks: bool  # the discriminator sees the landmarks' contours
    group: int  # of the discriminator's standard deviation over samples
    replace_nonfinite: bool  # in gradients: nan by 0, infinities by 1e5; else the run stops
    remat: bool  # networks are computed again for their gradients


class Size(NamedTuple):
    """What the programs of the stage are built for."""

    resolution: int  # of the rays
    blurred: bool


class Schedule(NamedTuple):
    """What changes while the stage runs, by iterations done."""

    own: Settings
    batch_size: int

    def size(self, step: int) -> Size:
        """Of the iteration after `step` others."""
        own, images = self.own, step * self.batch_size
        done = min(images / own.neural_fade_images, 1.0) if own.neural_fade_images else 1.0
        exact = own.neural_start + done * (own.neural_end - own.neural_start)
        nearest = min(own.neural_resolutions, key=lambda side: abs(side - exact))
        return Size(nearest, own.blur_sigma > 0 and images < own.blur_fade_images)

    def sigma(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Of the blur, in pixels."""
        left = 1.0 - self._images(step) / max(self.own.blur_fade_images, 1.0)
        return self.own.blur_sigma * jnp.maximum(left, 0.0)

    def swap(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The probability of another camera in the mapping."""
        fade = self.own.swap_fade_images
        done = jnp.minimum(self._images(step) / fade, 1.0) if fade else 1.0
        return jnp.asarray(1.0 - done * (1.0 - self.own.swap_end), jnp.float32)

    def _images(self, step: Int[Array, ""]) -> Float[Array, ""]:
        return step.astype(jnp.float32) * self.batch_size


class Pictures(NamedTuple):
    """What the discriminator judges, in [-1, 1]."""

    image: Float[Array, "b h h 3"]
    neural: Float[Array, "b n n 3"]
    landmarks: Float[Array, "b n n 3"] | None


class Made(NamedTuple):
    """Samples of the generator."""

    pictures: Pictures
    label: Float[Array, "b 25"]  # of the camera that they are seen by
    w: Float[Array, "b d"]


@dataclass(frozen=True)
class Players:
    """Both networks of the stage."""

    model: Model
    nets: Networks
    critic: Pure
    schedule: Schedule

    def judge(
        self,
        params,
        pictures: Pictures,
        label: Float[Array, "b 25"],
        sigma: Float[Array, ""] | None = None,
    ) -> Float[Array, "b 1"]:
        """Logits of pictures, the image blurred by sigma; positive is real."""
        image = pictures.image if sigma is None else blur(pictures.image, sigma)
        rest = pictures.neural, label, pictures.landmarks
        return self.critic.apply({"params": params}, image, *rest).logits

    def real(
        self, batch: Batch, resolution: int, sigma: Float[Array, ""] | None = None
    ) -> Pictures:
        """The data's pictures; sigma blurs the neural one, as `judge` does the image."""
        image = samples.picture(batch["image"][:, 0])
        neural = resize_antialias(image, (resolution,) * 2)
        neural = neural if sigma is None else blur(neural, sigma)
        return Pictures(image, neural, self.landmarks(batch["landmarks"][:, 0], resolution))

    def make(self, weights: Weights, batch: Batch, step, key: jax.Array, resolution: int) -> Made:
        """Random people, posed and seen as the batch's other frames are.

        Args:
            weights: the generator's.
        """
        key_z, key_swap, key_noise, key_rays = jax.random.split(key, 4)
        drive = samples.drives(batch, "other_")
        label = batch["other_camera"]
        swap = jax.random.uniform(key_swap, (label.shape[0], 1)) < self.schedule.swap(step)
        w_plus = self.map(weights, key_z, jnp.where(swap, jnp.roll(label, 1, 0), label))
        nets = self._training_networks(key_noise)
        maps = generator.features(nets, weights, w_plus)
        sized = _at(self.model, resolution)
        out = generator.render(nets, weights, sized, w_plus, maps, drive, key=key_rays)
        landmarks = self.landmarks(batch["other_landmarks"], resolution)
        return Made(Pictures(out.image, out.raw, landmarks), label, w_plus[:, 0])

    def map(
        self, weights: Weights, key: jax.Array, label: Float[Array, "b 25"]
    ) -> Float[Array, "b l d"]:
        """w_plus of random z."""
        z = jax.random.normal(key, (label.shape[0], self.model.z_dim))
        return self.nets.mapping.apply(part(part(weights, "backbone"), "mapping"), z, label)

    def density(self, weights: Weights, batch: Batch, step, key: jax.Array):
        """The density of random people as a function of world points [b p 3] -> [b p 1]."""
        key_z, key_swap, key_noise = jax.random.split(key, 3)
        drive = samples.drives(batch, "other_")
        label = batch["other_camera"]
        swap = jax.random.uniform(key_swap) < self.schedule.swap(step)
        w_plus = self.map(weights, key_z, jnp.where(swap, jnp.roll(label, 1, 0), label))
        nets = self._training_networks(key_noise)
        maps = generator.features(nets, weights, w_plus)
        planes = generator.compose(nets, weights, self.model, w_plus, maps, drive.raster)
        decoder = part(weights, "decoder")
        decode = lambda sampled, points: nets.decoder.apply(decoder, sampled)
        field = volume.plane_field(decode, planes, self.model.renderer.box_warp)
        return lambda points: field(points)[1]

    def landmarks(self, maps, resolution: int) -> Float[Array, "b n n 3"] | None:
        if not self.schedule.own.landmarks:
            return None
        return resize_antialias(samples.picture(maps), (resolution,) * 2)

    def _training_networks(self, key: jax.Array) -> Networks:
        """The networks with noise drawn anew, as EG3D trains; computed again where asked."""
        keys = dict(zip(("texture", "static", "face"), jax.random.split(key, 3), strict=True))
        remat = jax.checkpoint if self.schedule.own.remat else lambda apply: apply

        def trained(name: str) -> Pure:
            network = getattr(self.nets, name)
            options = {"noise": Noise("random", keys[name])} if name in keys else {}
            return Pure(network.init, remat(functools.partial(network.apply, **options)))

        return self.nets._replace(**{name: trained(name) for name in (*keys, "superresolution")})


def _at(model: Model, resolution: int) -> Model:
    """The model with rays of that resolution; super-resolution resizes what it is given."""
    sized = dataclasses.replace(model.renderer, neural_resolution=resolution, preview_resolution=0)
    return dataclasses.replace(model, renderer=sized)
