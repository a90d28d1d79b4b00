"""All networks of the inference path as pure functions, and their weights as one tree.

The tree's names are the released checkpoint's: generator/{texture_backbone, face_backbone,
backbone}/{mapping, synthesis}, generator/{superresolution, decoder}, encoder,
unet_encoder/{texture_unet, triplane_unet}, latent_avg.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from invertavatar_jax.aggregate.registry import AGGREGATORS, window_of
from invertavatar_jax.encode.decoder import Aggregator
from invertavatar_jax.encode.latent import latent_encoder
from invertavatar_jax.encode.unet import texture_encoder, triplane_encoder
from invertavatar_jax.generate.mapping import Mapping
from invertavatar_jax.generate.synthesis import Synthesis
from invertavatar_jax.pure import Pure, Weights, pure
from invertavatar_jax.render import colours
from invertavatar_jax.render.decoder import OSGDecoder
from invertavatar_jax.render.upsample import SuperResolution
from invertavatar_jax.settings import Decoder, Model

COMPUTE = ("float32", "bfloat16")


class Networks(NamedTuple):
    """One entry per network; see the module's docstring for where its weights are."""

    mapping: Pure
    texture: Pure
    static: Pure
    face: Pure
    decoder: Pure
    superresolution: Pure
    latent: Pure
    texture_unet: Pure
    triplane_unet: Pure


def build(model: Model, *, batch_statistics: bool = False, compute: str = "float32") -> Networks:
    """The networks of a model.

    Args:
        batch_statistics: the released evaluation's mode of batch normalisation in E_latent
            and the recurrent decoders (SPEC section 9.6).
        compute: "float32", or "bfloat16" for features and products of convolutions in all
            networks but the renderer's decoder, the mapping and the folded super-resolution.
            Weights, inputs and results are float32 either way.

    Raises:
        ValueError: compute is neither, or an aggregator does not exist.
    """
    if compute not in COMPUTE:
        raise ValueError(f"compute: got {compute!r}, expected one of {', '.join(COMPUTE)}")
    planes = 3 * model.plane_channels
    options = dict(batch_statistics=batch_statistics, compute=compute)
    merge = lambda sizes: None if model.one_shot else aggregator(sizes)
    synthesis = lambda channels: pure(Synthesis(model.backbone, channels, compute=compute))
    if model.renderer.superresolution_fold:
        upsampler = colours.FoldedSuperResolution(
            model.renderer.superresolution_channels, model.renderer.superresolution_fold
        )
    else:
        upsampler = SuperResolution(model.renderer, compute)
    return Networks(
        mapping=pure(Mapping(model.w_dim, model.backbone.w_count, model.mapping_layers)),
        texture=synthesis(model.plane_channels),
        static=synthesis(planes),
        face=synthesis(model.plane_channels),
        decoder=pure(OSGDecoder(model.renderer.decoder_hidden, model.plane_channels)),
        superresolution=pure(upsampler),
        latent=pure(latent_encoder(model, **options)),
        texture_unet=pure(texture_encoder(model, merge(model.texture_decoder), **options)),
        triplane_unet=pure(triplane_encoder(model, merge(model.triplane_decoder), **options)),
    )


def aggregator(sizes: Decoder) -> Aggregator:
    """What merges frames at the levels of a recurrent decoder.

    Raises:
        ValueError: there is no such aggregator.
    """
    if sizes.aggregator not in AGGREGATORS:
        known = ", ".join(AGGREGATORS)
        raise ValueError(f"got aggregator {sizes.aggregator!r}, expected one of {known}")
    return AGGREGATORS[sizes.aggregator]


def window(model: Model) -> int | None:
    """The most frames that the model takes at once; None for any number, one after the other.

    One-shot models, which have no aggregator, have no window either.
    """
    decoders = () if model.one_shot else (model.texture_decoder, model.triplane_decoder)
    windows = [window_of(sizes.aggregator) for sizes in decoders]
    return min((n for n in windows if n is not None), default=None)


def _merge(parts: dict[str, Weights]) -> Weights:
    """{name: weights} -> one level up."""
    return {
        collection: {name: weights[collection] for name, weights in parts.items()}
        for collection in ("params", "buffers")
    }


def init_generator(model: Model, key: jax.Array) -> Weights:
    """The part of `init` that the generator needs: the same weights."""
    nets = build(model)
    keys = iter(jax.random.split(key, 16))
    return _merge(
        {
            "texture_backbone": _backbone(model, nets, nets.texture, next(keys)),
            "face_backbone": _backbone(model, nets, nets.face, next(keys)),
            "backbone": _backbone(model, nets, nets.static, next(keys)),
            "superresolution": _superresolution(model, nets, next(keys)),
            "decoder": _decoder(model, nets, next(keys)),
        }
    )


def init(model: Model, key: jax.Array) -> Weights:
    """Fresh weights of all networks, dead mapping networks of the released model included."""
    nets, generator = build(model), init_generator(model, key)
    keys = iter(jax.random.split(key, 16)[len(generator["params"]) :])
    image = jnp.zeros((1, model.latent_input, model.latent_input, 3))
    weights = _merge(
        {
            "generator": generator,
            "encoder": nets.latent.init(next(keys), image, jnp.zeros(model.w_dim)),
            "unet_encoder": _unets(model, nets, next(keys)),
        }
    )
    weights["buffers"]["latent_avg"] = jnp.zeros((1, model.w_dim))
    return weights


def _backbone(model: Model, nets: Networks, network: Pure, key) -> Weights:
    key_mapping, key_synthesis = jax.random.split(key)
    w_plus = jnp.zeros((1, model.backbone.w_count, model.w_dim))
    z, camera = jnp.zeros((1, model.z_dim)), jnp.zeros((1, model.c_dim))
    return _merge(
        {
            "mapping": nets.mapping.init(key_mapping, z, camera),
            "synthesis": network.init(key_synthesis, w_plus),
        }
    )


def _superresolution(model: Model, nets: Networks, key) -> Weights:
    n, channels = model.renderer.neural_resolution, model.plane_channels
    features = jnp.zeros((1, n, n, channels))
    if model.renderer.superresolution_fold:
        side = model.renderer.image_resolution
        skip = colours.Skip(*[jnp.zeros((1, side, side, 4))] * 2)
        return nets.superresolution.init(key, features, features[..., :1], skip)
    w_plus = jnp.zeros((1, model.backbone.w_count, model.w_dim))
    return nets.superresolution.init(key, features[..., :3], features, w_plus)


def _decoder(model: Model, nets: Networks, key) -> Weights:
    extra = colours.POINT_FEATURES if model.departures.colours else 0
    return nets.decoder.init(key, jnp.zeros((1, model.plane_channels + extra)))


def _unets(model: Model, nets: Networks, key) -> Weights:
    key_texture, key_triplane = jax.random.split(key)
    side = model.backbone.resolution * model.texture_trunk.patch
    uv = jnp.zeros((1, 1, side, side, 7))
    channels = 8 if model.departures.frontal_input else 6
    side = model.backbone.resolution * model.triplane_trunk.patch
    image = jnp.zeros((1, 1, side, side, channels))
    return _merge(
        {
            "texture_unet": nets.texture_unet.init(key_texture, uv),
            "triplane_unet": nets.triplane_unet.init(key_triplane, image),
        }
    )


def shapes(model: Model) -> Weights:
    """The tree of `init` with shapes in place of arrays; takes no memory."""
    return jax.eval_shape(lambda key: init(model, key), jax.random.key(0))


def parameter_counts(model: Model) -> dict[str, int]:
    """Trained parameters per network; `generator` and `total` are sums. SPEC section 12."""
    count = lambda tree: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))
    params = shapes(model)["params"]
    counts = {name: count(tree) for name, tree in params["generator"].items()}
    counts["generator"] = sum(counts.values())
    counts["encoder"] = count(params["encoder"])
    counts |= {name: count(tree) for name, tree in params["unet_encoder"].items()}
    counts["total"] = count(params)
    return counts
