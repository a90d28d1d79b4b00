"""Distance of image gradients: what stands beside L1 where no LPIPS weights are at hand.

A proxy: it has no learned features, and its values are not on LPIPS's scale.
"""

import jax

from invertavatar_jax.metrics.metric import LOWER, Metric, one_by_one
from invertavatar_jax.supervise.losses import gradient_l1


def make() -> Metric:
    """L1 of image gradients at three scales, of (images, truths); a value for each pair."""
    return Metric("gradient_distance", "of [-1, 1]", LOWER, None, one_by_one(jax.jit(gradient_l1)))
