"""The networks that were released, how each is told by its names, and ours that takes it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from invertavatar_jax import networks, next3d, settings, weights
from invertavatar_jax.pure import Weights, part, pure
from invertavatar_jax.supervise import discriminator, identity, perceptual

_SIDES = (32, 64, 128, 256, 512, 1024)  # of pictures
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
    """Of the size that the file's first layers have, where these make sense."""
    found = [re.fullmatch(r"b(\d{1,4})\.fromrgb\.weight", name) for name in shapes]
    entry = next((match for match in found if match), None)
    side = int(entry[1]) if entry else 512
    side = side if side in _SIDES else 512
    channels = _axis(shapes, entry[0] if entry else "", 1, 6)
    labels = _axis(shapes, "mapping.embed.weight", 1, model.c_dim)
    sizes = settings.Backbone(side, model.backbone.channel_base, model.backbone.channel_max)
    image, below = jnp.zeros((4, side, side, 3)), jnp.zeros((4, 8, 8, 3))
    more = jnp.zeros((4, 8, 8, channels - 6)) if 6 < channels <= 16 else None
    network = pure(discriminator.DualDiscriminator(sizes))
    return _abstract(network.init, image, below, jnp.zeros((4, labels)), more)


def _axis(shapes: Shapes, name: str, axis: int, otherwise: int) -> int:
    """An axis of an array of the file, if it is there and of a size that networks have."""
    shape = shapes.get(name, ())
    return shape[axis] if axis < len(shape) and 0 < shape[axis] <= 4096 else otherwise


def _latent_discriminator(model: settings.Model, shapes: Shapes) -> Weights:
    network = pure(discriminator.LatentDiscriminator(model.w_dim))
    return _abstract(network.init, jnp.zeros((1, model.w_dim)))


def _identity(model: settings.Model, shapes: Shapes) -> Weights:
    return _abstract(pure(identity.IdentityNet()).init, jnp.zeros((1, 112, 112, 3)))


def _perceptual(part_name: str) -> Callable[[Any, Shapes], Weights]:
    """LPIPS's heads, or the classifier below them, which are separate files."""

    def template(model: settings.Model, shapes: Shapes) -> Weights:
        kernel = _axis(shapes, "features.0.weight", 2, 0)
        width = _axis(shapes, "lin1.model.1.weight", 1, 0)
        network = pure(perceptual.LPIPS("alex" if kernel == 11 or width == 192 else "vgg"))
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
