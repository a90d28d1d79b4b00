"""LPIPS between pairs of images, with the published weights that a user has."""

from collections.abc import Mapping
from functools import partial

import jax

from invertavatar_jax.metrics.metric import LOWER, Metric, fingerprints, need_files, one_by_one
from invertavatar_jax.pure import pure
from invertavatar_jax.supervise import perceptual
from invertavatar_jax.train import critics

_CLASSIFIERS = {  # role of the file -> where it is published
    "alex": "torchvision's AlexNet, https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "torchvision's VGG-16, https://download.pytorch.org/models/vgg16-397923af.pth",
}


def make(classifier: str, files: Mapping[str, str]) -> Metric:
    """LPIPS 0.1 of (images, truths) on AlexNet ("alex") or VGG-16 ("vgg"); a value a pair.

    Images are compared as they are, neither resized nor clipped; 64 pixels and more a side.

    Args:
        files: "lpips_alex_classifier" and "lpips_alex_heads" (or "vgg"): paths of the
            published files, or of what `./avatar convert` made of them.

    Raises:
        UserError: a file is not named, not there, or another network's.

    Source: paper section 4.1; Zhang et al. 2018.
    """
    classifier_role, heads_role = f"lpips_{classifier}_classifier", f"lpips_{classifier}_heads"
    heads = f"LPIPS 0.1's {classifier}.pth, in the package lpips of PyPI under weights/v0.1"
    published = {classifier_role: _CLASSIFIERS[classifier], heads_role: heads}
    paths = need_files(f"lpips[{classifier}]", files, **published)
    weights = critics.make(critics.Settings(classifier, tuple(paths), "off", "")).read()
    judge = jax.jit(pure(perceptual.LPIPS(classifier)).apply)
    measure = one_by_one(partial(judge, weights["perceptual"]))
    return Metric(f"lpips[{classifier}]", "", LOWER, fingerprints(*paths), measure)
