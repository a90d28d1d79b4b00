"""Supervised training of all networks on rendered identities: several views and frames each.

The image of the refined avatar, driven to frames that it has not seen, is compared with the
truth; the coarse avatar is compared at the neural resolution in the first source frame. No
adversarial prior is involved.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax import generator, inversion
from invertavatar_jax.inversion import Memory
from invertavatar_jax.networks import Networks
from invertavatar_jax.ops.resize import resize_antialias
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.settings import Model
from invertavatar_jax.supervise import losses
from invertavatar_jax.train.examples import Example
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


def supervised_loss(
    nets: Networks, model: Model, weigh: LossWeights, params, buffers, example: Example, key
) -> tuple[Array, dict[str, Array]]:
    """The loss of one batch, and its terms.

    Args:
        example: of b identities with t source frames and k targets each; the avatar is made of
            the first 1 to t of them.
    """
    weights = {"params": params, "buffers": buffers}
    sources, target = example.sources, example.targets
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


def _fold_some(
    nets: Networks, weights: Weights, model: Model, memory: Memory, sources: Frame, first, key
) -> Memory:
    """The memory after 1 to t of the source frames, a number drawn for the batch.

    Args:
        first: the coarse avatar's image in the first frame.
    """
    history = []
    for i in range(sources.image.shape[0]):
        chunk = jax.tree.map(lambda x, i=i: x[i : i + 1], sources)
        if i == 0:
            rendered = first
        else:
            frame = jax.tree.map(lambda x: x[0], chunk)
            rendered = inversion.render_coarse(nets, weights, model, memory, frame).image
        rendered = jax.lax.stop_gradient(rendered)[None]
        refinement = inversion.refine(nets, weights, chunk, rendered, memory)
        memory = inversion.add_frames(memory, chunk, refinement)
        history.append((memory.refinement, memory.colours))
    last = jax.random.randint(key, (), 0, len(history))
    refinement, colours = jax.tree.map(lambda *x: jnp.stack(x)[last], *history)
    return memory._replace(refinement=refinement, colours=colours)


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
