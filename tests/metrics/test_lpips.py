"""LPIPS from files: against the released one with drawn weights, and what is refused."""

import numpy as np
import pytest

from invertavatar_jax import settings, weights
from invertavatar_jax.errors import UserError
from invertavatar_jax.metrics import gradient_distance, lpips
from invertavatar_jax.pure import pure
from invertavatar_jax.supervise import perceptual
from tests.parity.golden import Case, nhwc


def test_lpips_equals_the_released_one(tmp_path):
    case = Case("lpips_alex")
    x, y = nhwc(case.input("x")), nhwc(case.input("y"))
    whole = case.weights(pure(perceptual.LPIPS("alex")).init, x, y)
    files = {}
    for part, prefix in (("classifier", "net"), ("heads", "lin")):
        tree = {key: leaf for key, leaf in whole["params"].items() if key.startswith(prefix)}
        path = str(tmp_path / f"{part}.safetensors")
        some = {"params": tree, "buffers": {}}
        weights.save_exact(path, some, settings.preset("tiny"), {}, f"lpips_{part}")
        files[f"lpips_alex_{part}"] = path
    score = lpips.make("alex", files)(x, y)
    assert len(score.values) == len(x) and score.name == "lpips[alex]"
    assert set(score.weights) == {"classifier.safetensors", "heads.safetensors"}
    case.check("loss", np.array([score.mean]), floor=None)


@pytest.mark.parametrize("classifier", ["alex", "vgg"])
def test_lpips_without_its_files_says_which_and_where(classifier, tmp_path):
    needed = rf"lpips\[{classifier}\] needs the file lpips_{classifier}_"
    with pytest.raises(UserError, match=needed + "classifier, torchvision's .*none is named"):
        lpips.make(classifier, {})
    (tmp_path / "net.pth").touch()
    with pytest.raises(UserError, match=needed + "heads, LPIPS 0.1's.*there is no file"):
        files = {
            f"lpips_{classifier}_classifier": str(tmp_path / "net.pth"),
            f"lpips_{classifier}_heads": str(tmp_path / "absent.pth"),
        }
        lpips.make(classifier, files)


def test_the_proxy_has_its_own_name_and_one_value_a_pair():
    images = np.random.default_rng(0).uniform(-1, 1, (3, 3, 3, 3)).astype(np.float32)
    score = gradient_distance.make()(images[:2], images[2:])
    apart = images[:2] - images[2]  # three pixels have gradients at one scale only
    expected = [
        np.abs(np.diff(x, axis=0)).mean() + np.abs(np.diff(x, axis=1)).mean() for x in apart
    ]
    np.testing.assert_allclose(score.values, expected, rtol=1e-5)
    assert score.name == "gradient_distance" and score.weights is None
