"""Critics from files: what is refused, and that published files give the networks' distances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import settings, weights
from invertavatar_jax.errors import UserError
from invertavatar_jax.pure import pure
from invertavatar_jax.supervise import losses, perceptual
from invertavatar_jax.train import critics
from tests.encode.weights import draw

NONE = critics.Settings("off", (), "off", "")
ARCFACE = critics.Settings("off", (), "arcface", critics.RANDOM)
LPIPS = lambda classifier: critics.Settings(classifier, (critics.RANDOM,), "off", "")


def test_what_is_off_is_absent():
    made = critics.make(NONE)
    assert made.perceptual is None and made.identity is None and made.read() == {}


def test_image_gradients_need_no_file():
    made = critics.make(critics.Settings("gradients", (), "off", ""))
    x, y = jax.random.uniform(jax.random.key(0), (2, 1, 8, 8, 3))
    np.testing.assert_array_equal(made.perceptual({}, x, y), losses.gradient_l1(x, y))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (critics.Settings("alex", (), "off", ""), "perceptual_files"),
        (critics.Settings("vgg", ("one.pth",), "off", ""), "perceptual_files"),
        (critics.Settings("off", (), "arcface", ""), "identity_file"),
    ],
)
def test_a_critic_without_its_file_says_what_to_do(own, message):
    with pytest.raises(UserError, match=message):
        critics.make(own)


def test_an_unknown_critic_is_refused():
    with pytest.raises(ValueError, match="expected one of alex"):
        critics.make(NONE.__class__("lpips", (), "off", ""))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """LPIPS on AlexNet with drawn weights, as converted files of its two parts."""
    folder = tmp_path_factory.mktemp("critics")
    image = jnp.zeros((1, 64, 64, 3))
    whole = draw(pure(perceptual.LPIPS("alex")).init, image, image)
    paths = {}
    for name, prefix in (("lpips_classifier", "net"), ("lpips_heads", "lin")):
        tree = {key: leaf for key, leaf in whole["params"].items() if key.startswith(prefix)}
        paths[name] = str(folder / f"{name}.safetensors")
        some = {"params": tree, "buffers": {}}
        weights.save_exact(paths[name], some, settings.preset("tiny"), {}, name)
    return whole, paths


def test_two_files_make_lpips(files):
    whole, paths = files
    made = critics.make(critics.Settings("alex", tuple(paths.values()), "off", ""))
    read = made.read()
    jax.tree.map(np.testing.assert_array_equal, whole["params"], read["perceptual"]["params"])
    x, y = jax.random.uniform(jax.random.key(0), (2, 1, 64, 64, 3))
    expected = pure(perceptual.LPIPS("alex")).apply(whole, x, y).mean()
    np.testing.assert_array_equal(made.perceptual(read, x, y), expected)


def test_files_of_another_classifier_are_refused(files):
    paths = files[1]
    made = critics.make(critics.Settings("vgg", tuple(paths.values()), "off", ""))
    with pytest.raises(UserError, match="do not make LPIPS on 'vgg'"):
        made.read()


def test_a_file_of_another_network_is_refused(files):
    paths = files[1]
    made = critics.make(critics.Settings("off", (), "arcface", paths["lpips_heads"]))
    with pytest.raises(UserError, match="holds the network lpips_heads; expected identity"):
        made.read()


@pytest.mark.parametrize(
    ("own", "judge"),
    [
        pytest.param(LPIPS("alex"), "perceptual", id="lpips of AlexNet"),
        pytest.param(LPIPS("vgg"), "perceptual", id="lpips of VGG", marks=pytest.mark.slow),
        pytest.param(ARCFACE, "identity", id="id", marks=pytest.mark.slow),
    ],
)
def test_the_gradient_of_a_learned_critic_is_its_slope(own, judge):
    made = critics.make(own)
    got, wanted, towards = np.random.default_rng(0).uniform(-1, 1, (3, 1, 64, 64, 3))
    with jax.enable_x64(True):
        held = jax.tree.map(lambda x: np.asarray(x, np.float64), made.read())
        value = jax.jit(lambda got: getattr(made, judge)(held, got, wanted))
        slope = float((jax.grad(value)(got) * towards).sum())
        moved = lambda h: value(got + h * towards)
        np.testing.assert_allclose((moved(1e-7) - moved(-1e-7)) / 2e-7, slope, rtol=1e-5)
    assert abs(slope) > 1e-5
