"""One optimizer step of E_latent in PyTorch, for train_step.py to compare with."""

from typing import Any

import jax
import torch
from torch import Tensor

from experiments.benchmarks import pipeline, pipeline_twin
from invertavatar_jax import avatar
from invertavatar_jax.pure import Weights
from invertavatar_jax.types import Frame


class Lesson:
    """E_latent learns to reconstruct one batch of photos; everything else is frozen."""

    def __init__(self, model: avatar.Model, weights: Weights, photos: Frame, adam: dict[str, Any]):
        """Takes over the weights.

        Args:
            photos: leading axis b.
            adam: arguments of torch.optim.Adam.
        """
        self.twin = pipeline.make_twin(model, weights)
        one = lambda i: jax.tree.map(lambda x: x[i : i + 1], photos)
        seen = [pipeline.twin_photo(model.sizes, one(i)) for i in range(len(photos.image))]
        join = lambda pick: torch.cat([pick(photo) for photo in seen])
        self.image = join(lambda photo: photo.image)
        self.scene = pipeline_twin.Scene(
            join(lambda photo: photo.scene.raster),
            join(lambda photo: photo.scene.mouth),
            [rays for photo in seen for rays in photo.scene.rays],
        )
        self.average = torch.tensor(weights["buffers"]["generator"]["backbone"]["mapping"]["w_avg"])
        self.params = list(self.twin.nets.latent.requires_grad_(True).parameters())
        self.optimizer = torch.optim.Adam(self.params, fused=True, **adam)

    def step(self) -> tuple[Tensor, Tensor]:
        """The loss before the step, and the norm of its gradient."""
        self.optimizer.zero_grad()
        got = self.twin.drive(self.twin.start(self.image, self.average), self.scene)
        loss = (got - self.image).abs().mean()
        loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.params if p.grad is not None])
        self.optimizer.step()
        return loss.detach(), norm
