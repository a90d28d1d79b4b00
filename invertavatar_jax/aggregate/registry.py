"""Every way to merge frames, by the name that settings.Decoder.aggregator gives it.

An aggregator is a Flax module with one method

    fold(frames [t b h w c], memory or None) -> features [b h w c], memory

whose features are in [-1, 1], as a ConvGRU's memory is: without the bound, ConvFusion and the
diagonal model diverged in training. The memory is a tree of float arrays whose size does not
depend on t. A memory of zeros has seen no frame: it stands for None. Folding a clip in parts,
each with the memory of the part before, gives what folding it at once gives. Modules with a
`window` merge that many frames at most, at once: their memory is empty, and they refuse one.

Deviation: the paper says nothing of the range of what its baselines give.
"""

from invertavatar_jax.aggregate.attention import AttentionWindow
from invertavatar_jax.aggregate.conv_gru import ConvGRU
from invertavatar_jax.aggregate.diagonal import Diagonal
from invertavatar_jax.aggregate.fixed import AttFusion, ConvFusion
from invertavatar_jax.aggregate.means import ConfidenceMean, RunningMean
from invertavatar_jax.aggregate.min_conv_gru import MinConvGRU

AGGREGATORS = {
    "conv_gru": ConvGRU,
    "min_conv_gru": MinConvGRU,
    "diagonal": Diagonal,
    "window": AttentionWindow,
    "running_mean": RunningMean,
    "confidence_mean": ConfidenceMean,
    "conv_fusion": ConvFusion,
    "att_fusion": AttFusion,
}


def window_of(name: str) -> int | None:
    """The most frames that an aggregator merges; None for one that takes any number."""
    return getattr(AGGREGATORS[name], "window", None)
