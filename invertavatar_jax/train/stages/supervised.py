"""Supervised training of all networks on rendered identities: several views and frames each.

The image of the refined avatar, driven to frames that it has not seen, is compared with the
truth; the coarse avatar is compared at the neural resolution in the first source frame. No
adversarial prior is involved.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from invertavatar_jax import generator, inversion, networks
from invertavatar_jax.inversion import Memory
from invertavatar_jax.networks import Networks
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.settings import Model
from invertavatar_jax.supervise import losses
from invertavatar_jax.train.examples import Example
from invertavatar_jax.train.stage import Group, Inputs, Outcome, Phase, Stage, Start
from invertavatar_jax.train.stages import parts
from invertavatar_jax.train.stages.batching import Batching
from invertavatar_jax.types import Frame


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; see `supervised_loss`."""

    image: float = 1.0
    raw: float = 0.5
    gradient: float = 1.0
    mask: float = 0.25
    raw_mask: float = 0.5
    coarse: float = 0.5
    head: float = 1.5  # added to the weight of pixels where the head is
    keep_skip: float = 0.6  # share of images whose super-resolution reads the photos' colours


@dataclasses.dataclass(frozen=True)
class Settings:
    """Numbers of the stage.

    Paths of parameters are like those that `parts.split` matches.
    """

    trained: str  # regular expression of the parameters that move
    redrawn: str  # of those that are drawn, whatever the weights to begin with hold; "": none
    sources: int  # frames that the encoders see at most
    targets: int  # frames compared, per identity
    colour_jitter: float
    tracking_noise: float
    rate: float
    warmup_steps: int
    decay_steps: int  # after which the rate has fallen to a twenty-fifth
    clip: float
    average_decay: float
    losses: LossWeights


def make(model: Model, own: Settings, batching: Batching) -> Stage:
    """The stage: one group, all networks; one phase."""
    nets = networks.build(model)
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=own.rate / max(own.warmup_steps, 1),
        peak_value=own.rate,
        warmup_steps=own.warmup_steps,
        decay_steps=own.decay_steps,
        end_value=0.04 * own.rate,
    )
    adam = optax.adam(schedule, b1=0.9, b2=0.99, eps=1e-8)
    # shorter at first
    average = lambda step: jnp.minimum(own.average_decay, (1.0 + step) / (10.0 + step))

    places = {"all": own.trained}

    def loss(inputs: Inputs) -> Outcome:
        weights = parts.join(inputs.params, inputs.buffers, places)
        return Outcome(*supervised_loss(nets, model, own.losses, weights, inputs.batch, inputs.key))

    def start(key, weights) -> Start:
        if weights and own.redrawn:
            weights = parts.without(weights, own.redrawn)
        begin = parts.complete(model, key, weights, exact=True)
        return Start(*parts.split(begin, places))

    def ship(params, average, buffers):
        return parts.join(average, buffers, places)

    def measure(params, average, buffers, batch, key):
        weights = ship(params, average, buffers)
        return supervised_loss(nets, model, own.losses, weights, batch, key)[1]

    def show(params, average, buffers, batch, key):
        return _pictures(nets, model, ship(params, average, buffers), batch)

    return Stage(
        name="supervised",
        groups={"all": Group(optax.chain(optax.clip_by_global_norm(own.clip), adam), average)},
        phases=lambda _: (Phase("main", "all", loss),),
        start=start,
        ship=ship,
        measure=measure,
        show=show,
    )


def supervised_loss(
    nets: Networks, model: Model, weigh: LossWeights, weights: Weights, example: Example, key
) -> tuple[Array, dict[str, Array]]:
    """The loss of one batch, and its terms.

    Args:
        example: of b identities with t source frames and k targets each; the avatar is made of
            the first 1 to t of them.
    """
    sources = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), example.sources)
    target = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), example.targets)
    key_count, key_skip = jax.random.split(key)
    first = jax.tree.map(lambda x: x[0], sources)
    memory = inversion.start(nets, weights, model, first)
    coarse = inversion.render_coarse(nets, weights, model, memory, first)
    memory = _fold_some(nets, weights, model, memory, sources, coarse.image, key_count)
    each = target.image.shape[0] // first.image.shape[0]
    repeat = lambda tree: jax.tree.map(lambda x: jnp.repeat(x, each, 0), tree)
    keep = jax.random.bernoulli(key_skip, weigh.keep_skip, target.image.shape[:1])
    out = generator.render(
        nets,
        part(weights, "generator"),
        model,
        repeat(memory.w_plus),
        repeat(inversion.finish(nets, weights, model, memory)),
        target.drive,
        colours=repeat(memory.colours),
        background=target.background,
        keep=keep.astype(jnp.float32),
    )
    terms = _image_terms(out, target, weigh)
    terms["coarse"] = sum(_raw_terms(coarse, first.image, first.matte).values(), jnp.zeros(()))
    total = sum(terms[name] * getattr(weigh, name) for name in terms)
    mse = ((jnp.clip(out.image, -1, 1) - target.image) ** 2 * target.head).sum()
    psnr = 10 * jnp.log10(4.0 / (mse / (3 * target.head.sum())))
    return total, terms | {"psnr_head": psnr, "mean_alpha": out.alpha.mean()}


def _pictures(nets: Networks, model: Model, weights: Weights, example: Example):
    """What is compared in a run's pictures: the first target of each identity."""
    sources = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), example.sources)
    target = jax.tree.map(lambda x: x[:, 0], example.targets)
    memory, maps = inversion.reconstruct(nets, weights, model, sources)
    out = generator.render(
        nets,
        part(weights, "generator"),
        model,
        memory.w_plus,
        maps,
        target.drive,
        colours=memory.colours,
        background=target.background,
    )
    return {
        "source": sources.image[0],
        "real": target.image,
        "rendered": out.image,
        "raw": out.raw,
        "depth": out.depth,
    }


def _fold_some(
    nets: Networks, weights: Weights, model: Model, memory: Memory, sources: Frame, first, key
) -> Memory:
    """The memory after 1 to t of the source frames, a number drawn for the batch.

    Models of fixed windows see no more than a window's frames, at once.

    Args:
        first: the coarse avatar's image in the first frame.
    """
    begun = jax.lax.stop_gradient(memory)

    def see(frame: Frame) -> Float[Array, "b h w 3"]:
        image = inversion.render_coarse(nets, weights, model, begun, frame).image
        return jax.lax.stop_gradient(image)

    def fold(memory: Memory, frames: Frame, rendered: Float[Array, "t b h w 3"]) -> Memory:
        refinement = inversion.refine(nets, weights, model, frames, rendered, memory)
        return inversion.add_frames(memory, frames, refinement)

    first = jax.lax.stop_gradient(first)
    most = networks.window(model) or len(sources.image)
    frames = jax.tree.map(lambda x: x[:most], sources)
    rest = jax.tree.map(lambda x: x[1:], frames)
    count = jax.random.randint(key, (), 0, len(frames.image)) + 1
    if networks.window(model):
        seen = jnp.concatenate([first[None], jax.lax.map(see, rest)])
        some = lambda n: jax.tree.map(lambda x: x[:n], (frames, seen))
        ways = [lambda n=n: fold(memory, *some(n)) for n in range(1, len(seen) + 1)]
        return jax.lax.switch(count - 1, ways)

    def turn(memory: Memory, step: tuple[Array, Frame]) -> tuple[Memory, None]:
        number, frame = step
        one = jax.tree.map(lambda x: x[None], frame)
        more = lambda: fold(memory, one, see(frame)[None])
        return jax.lax.cond(number < count, more, lambda: memory), None

    memory = fold(memory, jax.tree.map(lambda x: x[:1], frames), first[None])
    numbers = jnp.arange(1, len(frames.image))
    return jax.lax.scan(turn, memory, (numbers, rest))[0]


def _low(x: Float[Array, "b h w c"], side: int) -> Float[Array, "b n n c"]:
    return resize_antialias(x, (side, side))


def _on_black(image: Float[Array, "b h w 3"], matte: Float[Array, "b h w 1"], side: int) -> Any:
    """The person alone, at the neural resolution: what the volume should show."""
    return _low((image + 1) * matte, side) - 1


def _raw_terms(
    out: generator.Rendered, image: Float[Array, "b h w 3"], matte: Float[Array, "b h w 1"]
) -> dict[str, Array]:
    """Colour and alpha of the volume against the person, at the neural resolution."""
    side = out.raw.shape[1]
    return {
        "raw": jnp.abs(out.raw - _on_black(image, matte, side)).mean(),
        "raw_mask": jnp.abs(out.alpha - _low(matte, side)).mean(),
    }


def _image_terms(out: generator.Rendered, target, weigh: LossWeights) -> dict[str, Array]:
    weight = 1 + weigh.head * target.head
    return _raw_terms(out, target.image, target.matte) | {
        "image": losses.weighted_l1(out.image, target.image, weight),
        "gradient": losses.gradient_l1(out.image, target.image),
        "mask": jnp.abs(out.image_alpha - target.matte).mean(),
    }
