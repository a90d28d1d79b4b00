"""Distance of image gradients: what stands beside L1 where no LPIPS weights are at hand.

A proxy: it has no learned features, and its values are not on LPIPS's scale.
"""

import jax
import numpy as np

from invertavatar_jax.metrics.metric import LOWER, Found, Metric, Pictures, pairs
from invertavatar_jax.supervise.losses import gradient_l1


def make() -> Metric:
    """L1 of image gradients at three scales, of (images, truths); a value for each pair."""
    judge = jax.jit(gradient_l1)

    def measure(got: Pictures, wanted: Pictures) -> Found:
        values = []
        for pair in pairs(got, wanted):
            values.append(float(judge(*(np.asarray(x, np.float32)[None] for x in pair))))
        return Found(np.array(values), {"pairs": len(values)})

    return Metric("gradient_distance", "of [-1, 1]", LOWER, None, measure)
