"""The networks that were released, how each is told by its names, and ours that takes it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from invertavatar_jax import networks, next3d, settings, weights
from invertavatar_jax.pure import Weights, part, pure
from invertavatar_jax.supervise import discriminator, identity, perceptual

Shapes = Mapping[str, tuple[int, ...]]  # of a file's arrays, by name


class Kind(NamedTuple):
    """One kind of released network.

    Attributes:
        marks: names, or beginnings of names, that a file of this kind has.
        lacks: beginnings that it has not.
        template: our weights' shapes for a model and a file's shapes.
        rename: a name of the file -> the name that our network's place has as a released one.
        restore: the inverse of rename.
        mesh: arrays of a head model that the file holds beside its weights.
    """

    name: str
    title: str
    marks: tuple[str, ...]
    template: Callable[[Any, Shapes], Weights]
    lacks: tuple[str, ...] = ()
    preset: settings.Model | settings.Next3D = settings.preset("paper")
    rename: Callable[[str], str] = str
    restore: Callable[[str], str] = str
    mesh: tuple[str, ...] = ()

    def fits(self, names: Mapping[str, Any]) -> bool:
        """Whether a file with these names is of this kind."""
        has = lambda mark: any(name.startswith(mark) for name in names)
        return all(map(has, self.marks)) and not any(map(has, self.lacks))


def _whole(model: settings.Model, shapes: Shapes) -> Weights:
    return networks.shapes(model)


def _without_unets(model: settings.Model, shapes: Shapes) -> Weights:
    whole = networks.shapes(model)
    return {
        collection: {name: tree for name, tree in trees.items() if name != "unet_encoder"}
        for collection, trees in whole.items()
    }


def _generator(model: settings.Model, shapes: Shapes) -> Weights:
    return part(networks.shapes(model), "generator")


def _single_backbone(model: settings.Model, shapes: Shapes) -> Weights:
    """EG3D: the tri-planes of G_static, the decoder and super-resolution."""
    names = ("backbone", "superresolution", "decoder")
    return {
        collection: {name: trees[name] for name in names if name in trees}
        for collection, trees in _generator(model, shapes).items()
    }


def _next3d(model: settings.Next3D, shapes: Shapes) -> Weights:
    return next3d.shapes(model)


def _abstract(init: Callable, *inputs: jax.Array | None) -> Weights:
    return jax.eval_shape(init, jax.random.key(0), *inputs)


def _discriminator(model: settings.Model, shapes: Shapes) -> Weights:
    """Of the size that the file's first and last layers have."""
    entry = next(name for name in shapes if name.endswith("fromrgb.weight"))
    side, channels = int(entry.split(".")[0].removeprefix("b")), shapes[entry][1]
    labels = shapes.get("mapping.embed.weight", (0, model.c_dim))[1]
    sizes = settings.Backbone(side, model.backbone.channel_base, model.backbone.channel_max)
    image, below = jnp.zeros((4, side, side, 3)), jnp.zeros((4, 8, 8, 3))
    more = jnp.zeros((4, 8, 8, channels - 6)) if channels > 6 else None
    network = pure(discriminator.DualDiscriminator(sizes))
    return _abstract(network.init, image, below, jnp.zeros((4, labels)), more)


def _latent_discriminator(model: settings.Model, shapes: Shapes) -> Weights:
    network = pure(discriminator.LatentDiscriminator(model.w_dim))
    return _abstract(network.init, jnp.zeros((1, model.w_dim)))


def _identity(model: settings.Model, shapes: Shapes) -> Weights:
    return _abstract(pure(identity.IdentityNet()).init, jnp.zeros((1, 112, 112, 3)))


def _perceptual(part_name: str) -> Callable[[Any, Shapes], Weights]:
    """LPIPS's heads, or the classifier below them, which are separate files."""

    def template(model: settings.Model, shapes: Shapes) -> Weights:
        widths = {shape[1] for name, shape in shapes.items() if name.startswith("lin1.")}
        first = shapes.get("features.0.weight", (64, 3, 0, 0))
        small = first[2] == 11 if first[2] else widths == {192}
        network = pure(perceptual.LPIPS("alex" if small else "vgg"))
        image = jnp.zeros((1, 64, 64, 3))
        whole = _abstract(network.init, image, image)["params"]
        kept = {name: tree for name, tree in whole.items() if name.startswith(part_name)}
        return {"params": kept, "buffers": {}}

    return template


_HEAD = re.compile(r"^lin(\d+)\.model\.")
_UNETS = ("latent_avg", "generator.", "encoder.", "unet_encoder.")
KINDS = (
    Kind(
        weights.WHOLE,
        "few-shot inversion (FSInvertAvatar)",
        (*_UNETS, "unet_encoder.texture_unet.up1.conv_gru."),
        _whole,
    ),
    Kind(
        weights.WHOLE,
        "one-shot inversion with transformers (updatedOSInvertAvatar)",
        (*_UNETS, "unet_encoder.texture_unet.up1.transformer."),
        _whole,
        preset=settings.preset("paper_oneshot"),
    ),
    Kind(
        weights.WHOLE,
        "one-shot inversion with plain U-Nets",
        _UNETS,
        _whole,
        preset=settings.preset("paper_oneshot_unet"),
    ),
    Kind(
        "latent",
        "E_latent and the generator (e4e stage)",
        ("latent_avg", "encoder.styles.", "generator."),
        _without_unets,
        lacks=("unet_encoder.",),
    ),
    Kind(
        "generator",
        "the animatable generator (ani3dgan512)",
        ("texture_backbone.", "face_backbone.", "backbone.", "decoder."),
        _generator,
    ),
    Kind(
        "next3d",
        "Next3D, the baseline generator (next3d_ffhq_512)",
        ("texture_backbone.", "mouth_backbone.", "neural_blending.", "decoder."),
        _next3d,
        preset=settings.PRIORS["next3d"],
        mesh=("faces", "uvcoords", "raw_uvcoords", "uvfaces", "face_uvcoords", "dense_faces"),
    ),
    Kind(
        "eg3d",
        "a static tri-plane generator (EG3D)",
        ("backbone.synthesis.", "superresolution.", "decoder."),
        _single_backbone,
        lacks=("texture_backbone.",),
    ),
    Kind(
        "discriminator",
        "the discriminator of pictures",
        ("b4.fc.", "mapping.embed."),
        _discriminator,
    ),
    Kind(
        "latent_discriminator",
        "the discriminator of latent codes",
        ("mlp.0.", "mlp.6."),
        _latent_discriminator,
    ),
    Kind(
        "identity",
        "ArcFace's IR-SE-50 (model_ir_se50)",
        ("input_layer.0.", "body.0.", "output_layer.3."),
        _identity,
    ),
    Kind(
        "lpips_heads",
        "the heads of LPIPS",
        ("lin0.model.1.",),
        _perceptual("lin_"),
        rename=lambda name: _HEAD.sub(r"lin.\1.", name),
        restore=lambda name: re.sub(r"^lin\.(\d+)\.", r"lin\1.model.", name),
    ),
    Kind(
        "lpips_classifier",
        "the classifier below LPIPS",
        ("features.0.", "classifier."),
        _perceptual("net"),
        rename=lambda name: re.sub(r"^features\.", "net.layers.", name),
        restore=lambda name: re.sub(r"^net\.layers\.", "features.", name),
    ),
)


def kind_of(names: Mapping[str, Any]) -> Kind | None:
    """The first kind that fits; None: a network that has no place here."""
    return next((kind for kind in KINDS if kind.fits(names)), None)
