"""Whether two pictures show the same person, by a face recognition network."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.layers import BatchNorm, BottleneckIRSE, Conv, Dense, PReLU
from invertavatar_jax.ops.resize import average_pool, resize_antialias
from invertavatar_jax.settings import Trunk

IR_SE_50 = Trunk()  # the trunk of the encoders has the same units
_PICTURE, _FACE = 256, 112  # sides in pixels: of the picture that is cropped, of the network's
_ROWS, _COLUMNS = slice(35, 223), slice(32, 220)  # the face in an aligned picture of 256
_EPSILON = 1e-12  # keeps the gradient finite at features of length 0


def crop_face(image: Float[Array, "b h w 3"]) -> Float[Array, "b 112 112 3"]:
    """Cuts the face out of aligned pictures; other sizes than 256 are resized first.

    Source: TRAINING B ("id").
    """
    face = resize_antialias(image, (_PICTURE, _PICTURE))[:, _ROWS, _COLUMNS]
    return average_pool(face, (_FACE, _FACE))


class IdentityNet(nn.Module):
    """IR-SE-50 of ArcFace, with the names of the file model_ir_se50.pth.

    Source: paper A.2 (identity loss); TRAINING B.
    """

    trunk: Trunk = IR_SE_50
    features: int = 512

    @nn.compact
    def __call__(self, face: Float[Array, "b h w 3"]) -> Float[Array, "b f"]:
        """Returns features of length 1 of faces as crop_face cuts them."""
        x = Conv(self.trunk.channels[0], bias=False, name="input_layer_0")(face)
        x = PReLU(name="input_layer_2")(BatchNorm(name="input_layer_1")(x))
        unit = 0
        for channels, units in zip(self.trunk.channels, self.trunk.units, strict=True):
            for i in range(units):
                x = BottleneckIRSE(channels, 2 if i == 0 else 1, name=f"body_{unit}")(x)
                unit += 1
        x = BatchNorm(name="output_layer_0")(x)
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)  # the released order of its weights
        x = BatchNorm(name="output_layer_4")(Dense(self.features, name="output_layer_3")(x))
        return x / jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + _EPSILON)


def identity_loss(got: Float[Array, "b f"], wanted: Float[Array, "b f"]) -> Float[Array, ""]:
    """One minus the cosine between features of length 1, mean over pairs."""
    return (1 - (got * wanted).sum(-1)).mean()
