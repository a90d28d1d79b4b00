"""Mapping network: a random vector and a camera label become style vectors."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from invertavatar_jax.layers import Linear
from invertavatar_jax.ops.moments import normalize_second_moment

_LR_MULTIPLIER = 0.01  # the released models'


class Mapping(nn.Module):
    """Maps (z, camera) to one w, repeated for every layer of a synthesis network.

    The buffer w_avg is the running mean of w that truncation moves towards.

    Source: SPEC section 3.
    """

    w_dim: int
    w_count: int
    layers: int = 2

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "b z"],
        camera: Float[Array, "b c"],
        *,
        truncation: float = 1.0,
        cutoff: int | None = None,
    ) -> Float[Array, "b l w"]:
        """Returns w_plus.

        Args:
            camera: the 25 numbers of a Camera; zeros where pose must not matter.
            truncation: 1 leaves w as it is, 0 returns w_avg.
            cutoff: the number of first layers that truncation changes; None is all.
        """
        label = Linear(self.w_dim, name="embed")(camera)
        x = jnp.concatenate([normalize_second_moment(part) for part in (z, label)], -1)
        for i in range(self.layers):
            x = Linear(self.w_dim, "lrelu", _LR_MULTIPLIER, name=f"fc{i}")(x)
        mean = self.variable("buffers", "w_avg", jnp.zeros, (self.w_dim,)).value
        w_plus = jnp.broadcast_to(x[:, None], (x.shape[0], self.w_count, self.w_dim))
        if truncation == 1.0:
            return w_plus
        truncated = jnp.arange(self.w_count) < (self.w_count if cutoff is None else cutoff)
        mean = mean.astype(x.dtype)[None, None]
        return jnp.where(truncated[None, :, None], mean + truncation * (w_plus - mean), w_plus)
