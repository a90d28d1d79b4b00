"""Stage `gan`: the animatable generator against a discriminator of picture pairs.

Paper 3.1, A.1; TRAINING A. Styles are not mixed and w is not truncated, as released. The
phases of an iteration share the conditions of its batch, where the released code draws
cameras and meshes anew for each of them.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, Float

from invertavatar_jax import generator, networks
from invertavatar_jax.errors import UserError
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.pure import Weights, pure
from invertavatar_jax.settings import Departures, Model
from invertavatar_jax.supervise.discriminator import DualDiscriminator
from invertavatar_jax.train import samples
from invertavatar_jax.train.samples import Batch
from invertavatar_jax.train.stage import Group, Phase, Stage, Start, half_life
from invertavatar_jax.train.stages import gan_losses as losses
from invertavatar_jax.train.stages import inherit, parts
from invertavatar_jax.train.stages.batching import Batching
from invertavatar_jax.train.stages.gan_players import Pictures, Players, Schedule, Settings, Size
from invertavatar_jax.types import Drive

__all__ = ["Settings", "make"]
_VIEWS_RAD = (-0.35, 0.35)  # yaw of the grid's other views. Source: SPEC 9.7
_PLAYERS = ("generator", "discriminator")


def make(model: Model, own: Settings, batching: Batching) -> Stage:
    """The stage of a model.

    Raises:
        UserError: the model departs from the paper's, or the microbatch is not a multiple of
            the discriminator's group.
    """
    if model.departures != Departures():
        raise UserError(
            "Stage gan trains the paper's generator; this preset's departs from it "
            "(settings.Departures): choose another preset, such as paper."
        )
    if batching.microbatch % min(own.group, batching.microbatch):
        raise UserError(
            f"Stage gan: a microbatch of {batching.microbatch} is not a multiple of the "
            f"discriminator's group of {own.group} samples: change one of them."
        )
    schedule = Schedule(own, batching.batch_size)
    players = Players(model, networks.build(model), _critic(model, own), schedule)
    ramp = own.average_ramp or None
    average = half_life(own.average_images, batching.batch_size, ramp=ramp)
    return Stage(
        name="gan",
        groups={
            "generator": Group(_adam(own, own.generator_rate, own.density_every), average),
            "discriminator": Group(_adam(own, own.discriminator_rate, own.penalty_every)),
        },
        phases=functools.partial(_phases, players),
        start=functools.partial(_start, players),
        ship=functools.partial(_ship, model),
        measure=functools.partial(_measure, players),
        show=functools.partial(_show, players),
        variant=schedule.size,
    )


def _critic(model: Model, own: Settings):
    sizes = dataclasses.replace(model.backbone, resolution=model.renderer.image_resolution)
    return pure(DualDiscriminator(sizes, group=own.group))


def _adam(own: Settings, rate: float, every: int) -> optax.GradientTransformation:
    """Adam that also runs in a lazy phase, one iteration in `every`. Source: TRAINING A."""
    share = every / (every + 1)
    first, second = (beta**share for beta in own.betas)
    return optax.adam(rate * share, first, second, own.epsilon)


def _phases(players: Players, size: Size) -> tuple[Phase, ...]:
    own = players.schedule.own

    def phase(name: str, group: str, loss: Callable, every: int = 1) -> Phase:
        def guarded(inputs):
            params = inputs.params[group]
            params = losses.replaced_nonfinite(params) if own.replace_nonfinite else params
            return loss(players, size, inputs._replace(params=inputs.params | {group: params}))

        return Phase(name, group, guarded, every)

    return (
        phase("Gmain", "generator", losses.fool),
        phase("Greg", "generator", losses.smooth, own.density_every),
        phase("Dmain", "discriminator", losses.tell_apart),
        phase("Dreg", "discriminator", losses.calm, own.penalty_every),
    )


def _start(players: Players, key: jax.Array, weights: Weights | None) -> Start:
    """Fresh players, or what of them is in `weights`; the other networks wait in the buffers."""
    key_generator, key_critic = jax.random.split(key)
    made = networks.init_generator(players.model, key_generator)
    critic = _init_critic(players, key_critic)
    rest: Weights = {"params": {}, "buffers": {}}
    if weights is not None:
        made = _inherit("generator", made, inherit.generator_of(weights))
        critic = _inherit("discriminator", critic, weights["params"].get("discriminator", {}))
        if "generator" in weights["params"]:
            left = lambda tree: {name: tree[name] for name in tree if name not in _PLAYERS}
            rest = {name: left(tree) for name, tree in weights.items()}
    w_average = made["buffers"]["backbone"]["mapping"]["w_avg"]
    buffers = {"generator": made["buffers"], "w_average": w_average, "rest": rest}
    return Start({"generator": made["params"], "discriminator": critic}, buffers)


def _inherit(name: str, own, offered):
    found = inherit.inherit(own, offered)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(own)):
        return found.weights  # only shapes are asked for; the weights follow, and are told of
    for title, paths in (("left out", found.skipped), ("begin at random", found.fresh)):
        if paths:
            listed = "\n  ".join(paths)
            message = "Stage gan, %s: %d arrays %s:\n  %s"
            logging.getLogger(__name__).warning(message, name, len(paths), title, listed)
    return found.weights


def _init_critic(players: Players, key: jax.Array):
    side = players.model.renderer.image_resolution
    image = jnp.zeros((1, side, side, 3))
    landmarks = image if players.schedule.own.landmarks else None
    label = jnp.zeros((1, players.model.c_dim))
    return players.critic.init(key, image, image, label, landmarks)["params"]


def _ship(model: Model, params, averages, buffers) -> Weights:
    """The averaged generator among the other networks, which are fresh where none were given."""
    rest, made = buffers["rest"], _averaged(averages, buffers)
    own = {"generator": made["params"], "discriminator": params["discriminator"]}
    known = {
        "params": rest["params"] | own,
        "buffers": rest["buffers"] | {"generator": made["buffers"]},
    }
    return parts.complete(model, jax.random.key(0), known)


def _averaged(averages, buffers) -> Weights:
    """The generator as users get it."""
    stored = buffers["generator"]
    mapping = stored["backbone"]["mapping"] | {"w_avg": buffers["w_average"]}
    backbone = stored["backbone"] | {"mapping": mapping}
    return {"params": averages["generator"], "buffers": stored | {"backbone": backbone}}


def _render(players: Players, weights: Weights, w_plus, drive: Drive) -> generator.Rendered:
    """As users see it: at the full neural resolution, without random numbers."""
    maps = generator.features(players.nets, weights, w_plus)
    return generator.render(players.nets, weights, players.model, w_plus, maps, drive)


def _measure(players: Players, params, averages, buffers, batch: Batch, key) -> dict[str, Array]:
    """What the discriminator says of both, and how far the colours of both are apart.

    The gaps are those of the three channels' mean and standard deviation over the batch, mean
    absolute values in units of [-1, 1]: a GAN's pictures have no truth to be compared with.
    Small batches have gaps even where the distributions agree.
    """
    weights, label = _averaged(averages, buffers), batch["other_camera"]
    w_plus = players.map(weights, key, label)
    out = _render(players, weights, w_plus, samples.drives(batch, "other_"))
    side = players.model.renderer.neural_resolution
    real = players.real(batch, side)
    fake = Pictures(out.image, out.raw, players.landmarks(batch["other_landmarks"], side))
    judge = functools.partial(players.judge, params["discriminator"])
    gap = lambda of: jnp.abs(of(out.image) - of(real.image)).mean()
    return {
        "real": judge(real, batch["camera"][:, 0]).mean(),
        "fake": judge(fake, label).mean(),
        "mean_colour_gap": gap(lambda x: x.mean((0, 1, 2))),
        "colour_deviation_gap": gap(lambda x: x.std((0, 1, 2))),
    }


def _show(
    players: Players, params, averages, buffers, batch: Batch, key
) -> dict[str, Float[Array, "b _ _ _"]]:
    """Rows of the grid; depth has one channel, world units."""
    weights, drive = _averaged(averages, buffers), samples.drives(batch, "other_")
    w_plus = players.map(weights, key, batch["other_camera"])
    out = _render(players, weights, w_plus, drive)
    side = players.model.renderer.image_resolution
    rows = {
        "real": samples.picture(batch["image"][:, 0]),
        "made": out.image,
        "volume": resize_antialias(out.raw, (side, side)),
        "depth": out.depth,
    }
    for yaw in _VIEWS_RAD:
        turned = _render(players, weights, w_plus, _turned(drive, yaw))
        rows[f"yaw {yaw:+.2f}"] = turned.image
    return rows


def _turned(drive: Drive, yaw_rad: float) -> Drive:
    """The drive with its camera moved about the head's vertical axis."""
    c, s = jnp.cos(yaw_rad), jnp.sin(yaw_rad)
    turn = jnp.eye(4).at[0, 0].set(c).at[0, 2].set(s).at[2, 0].set(-s).at[2, 2].set(c)
    exact = jax.lax.Precision.HIGHEST
    pose = jnp.einsum("ij,...jk->...ik", turn, drive.camera.world_from_camera, precision=exact)
    return drive._replace(camera=drive.camera._replace(world_from_camera=pose))
