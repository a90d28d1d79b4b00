"""Making and driving an avatar in PyTorch, for benchmarks to compare with.

The same maths as invertavatar_jax.inversion and .generator at the released sizes. What the
twin is given ready-made counts for it: rasters, UV maps, mouths and rays cost it nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.benchmarks import renderer_twin, torch_twin
from invertavatar_jax.rasterize.blend import scale_window
from invertavatar_jax.render import triplane
from invertavatar_jax.settings import Model


class Scene(NamedTuple):
    """Driven frames; images b c h w."""

    raster: Tensor  # [b, 3, r, r]
    mouth: Tensor  # [b, 1, r, r]: holes of the mask
    rays: list[renderer_twin.Rays]  # of each


class Photo(NamedTuple):
    """Observed frames; `aggregate` takes one at a time."""

    image: Tensor
    uv_rgb: Tensor
    uv_xy: Tensor  # [b, u, u, 2]
    uv_visible: Tensor
    scene: Scene


class Avatar(NamedTuple):
    """What driving reads."""

    w_plus: Tensor
    textures: list[Tensor]
    static: list[Tensor]


class Pipeline:
    """The networks of a model and how they work together."""

    def __init__(self, model: Model, nets: torch_twin.Twin, decoder: renderer_twin.Decoder):
        self.model, self.nets, self.decoder = model, nets, decoder

    def start(self, image: Tensor, average: Tensor) -> Avatar:
        """The coarse avatar of a photo."""
        w_plus = self.nets.latent(image, average)
        return Avatar(w_plus, self.nets.texture(w_plus), self.nets.static(w_plus))

    def aggregate(self, photos: Sequence[Photo], average: Tensor) -> Avatar:
        """The refined avatar of all photos, folded in one by one."""
        coarse = self.start(photos[0].image, average)
        texture_memory = triplane_memory = None
        offsets, modulation = [], {}
        for photo in photos:
            residual = self.drive(coarse, photo.scene) - photo.image
            moved = F.grid_sample(residual, photo.uv_xy, align_corners=False)
            moved = moved * photo.uv_visible - (1 - photo.uv_visible)
            maps = torch.cat([photo.uv_rgb, moved, photo.uv_visible], 1)
            offsets, texture_memory = self.nets.texture_unet(maps[None], texture_memory)
            seen = torch.cat([photo.image, residual], 1)
            modulation, triplane_memory = self.nets.triplane_unet(seen[None], triplane_memory)
        textures = list(coarse.textures)
        for i, offset in enumerate(offsets):
            textures[i] = textures[i] + offset
        static = self.nets.static(coarse.w_plus, modulation=modulation)
        return Avatar(coarse.w_plus, textures, static)

    def drive(self, avatar: Avatar, scene: Scene) -> Tensor:
        """An image of each frame."""
        settings = self.model.renderer
        side, box, axes = settings.neural_resolution, settings.box_warp, triplane.PLANE_AXES
        marched = [
            renderer_twin.render(planes, self.decoder, rays, box, axes)[0]
            for planes, rays in zip(self.compose(avatar, scene), scene.rays, strict=True)
        ]
        features = torch.stack([x.T.reshape(-1, side, side) for x in marched])
        return self.nets.superresolution(features[:, :3], features, avatar.w_plus)

    def compose(self, avatar: Avatar, scene: Scene) -> Tensor:
        """Planes [b, 3, c, h, w] with the face drawn into the frontal one."""
        uv = scene.raster[:, :2].permute(0, 2, 3, 1)
        alpha, mouth = scene.raster[:, 2:], scene.mouth
        upper = mouth.clone()
        upper[:, :, : round(self.model.mouth_row * mouth.shape[2] / 256)] = 0
        upper = (alpha + upper).clamp(0, 1)
        conditions = []
        for texture, static in zip(avatar.textures, avatar.static, strict=True):
            size, channels = texture.shape[2:], texture.shape[1]
            drawn = _resize(F.grid_sample(texture, uv, align_corners=False), size)
            behind = _resize(self._window(static[:, :channels]), size)
            on = _resize(alpha, size)
            blended = drawn * on + behind * (1 - on)
            conditions.append(torch.cat([blended, _resize(upper, size)], 1))
        face = self.nets.face(avatar.w_plus, conditions)[-1]
        planes = avatar.static[-1].unflatten(1, (3, -1)).clone()
        part = self._window(planes[:, 0])
        on = _resize((alpha + mouth).clamp(0, 1), part.shape[2:])
        part.copy_(_resize(face, part.shape[2:]) * on + part * (1 - on))
        return planes

    def _window(self, plane: Tensor) -> Tensor:
        top, bottom, left, right = scale_window(self.model.raster_window, plane.shape[2])
        return plane[:, :, top:bottom, left:right]


def _resize(x: Tensor, size) -> Tensor:
    if x.shape[2:] == torch.Size(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False, antialias=True)
