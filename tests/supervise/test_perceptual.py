import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.convert.names import import_weights
from invertavatar_jax.pure import Pure, pure
from invertavatar_jax.supervise import perceptual

# Convolutions of the published classifiers in order: features, or M for a maximum over windows
# (every entry but M is followed by a rectifier, which has a number of its own).
LISTS = {
    "alex": (64, "M", 192, "M", 384, 256, 256),
    "vgg": (64, 64, "M", 128, 128, "M", *(256,) * 3, "M", *(512,) * 3, "M", *(512,) * 3),
}


@pytest.fixture(scope="module")
def scene():
    keys = jax.random.split(jax.random.key(0), 3)
    x, y = (jax.random.uniform(key, (2, 40, 40, 3), minval=-1.0) for key in keys[:2])
    network = pure(perceptual.LPIPS())
    network = Pure(jax.jit(network.init), jax.jit(network.apply))
    weights = network.init(keys[2], x, y)
    heads = {name: tree for name, tree in weights["params"].items() if name.startswith("lin")}
    positive = {name: jax.tree.map(jnp.abs, tree) for name, tree in heads.items()}
    return network, {"params": weights["params"] | positive, "buffers": {}}, (x, y)


def numbered(classifier):
    """Number of each convolution in the published sequence -> its features."""
    position, found = 0, {}
    for entry in LISTS[classifier]:
        if entry != "M":
            found[position] = entry
        position += 1 if entry == "M" else 2
    return found


def shapes(classifier, side=40):
    image = jnp.zeros((1, side, side, 3))
    return jax.eval_shape(pure(perceptual.LPIPS(classifier)).init, jax.random.key(0), image, image)


@pytest.mark.parametrize("classifier", LISTS)
def test_convolutions_are_numbered_as_published(classifier):
    net = shapes(classifier)["params"]["net"]
    got = {int(name.removeprefix("layers_")): leaf["bias"].shape[0] for name, leaf in net.items()}
    assert got == numbered(classifier)


@pytest.mark.parametrize(
    ("classifier", "sides", "channels"),
    [
        ("alex", (15, 7, 3, 3, 3), (64, 192, 384, 256, 256)),
        ("vgg", (64, 32, 16, 8, 4), (64, 128, 256, 512, 512)),
    ],
)
def test_five_depths_are_compared(classifier, sides, channels):
    network = pure(perceptual.ClassifierFeatures(classifier))
    run = lambda key, x: network.apply(network.init(key, x), x)
    found = jax.eval_shape(run, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    assert [x.shape for x in found] == [
        (1, side, side, c) for side, c in zip(sides, channels, strict=True)
    ]


def test_an_unknown_classifier_is_refused():
    with pytest.raises(ValueError, match="got classifier 'squeeze', expected one of alex, vgg"):
        shapes("squeeze")


def test_a_picture_is_at_distance_0_from_itself_and_the_distance_is_symmetric(scene):
    network, weights, (x, y) = scene
    assert np.abs(network.apply(weights, x, x)).max() < 1e-12
    distance = network.apply(weights, x, y)
    assert (np.asarray(distance) > 0).all()
    np.testing.assert_allclose(network.apply(weights, y, x), distance, rtol=1e-4)


def test_each_pair_has_a_distance_of_its_own(scene):
    network, weights, (x, y) = scene
    both, second = network.apply(weights, x, y), network.apply(weights, x[1:], y[1:])
    np.testing.assert_allclose(both[1:], second, rtol=1e-4)


def test_pictures_that_light_no_feature_have_distance_0_and_a_finite_gradient(scene):
    network, weights, (x, y) = scene
    dark = jax.tree.map(lambda leaf: -jnp.ones_like(leaf) if leaf.ndim == 1 else 0 * leaf, weights)
    distance = lambda x: network.apply(dark, x, y).sum()
    value, gradient = jax.jit(jax.value_and_grad(distance))(x)
    assert value == 0
    assert np.isfinite(gradient).all()


def test_equal_pictures_have_a_finite_gradient(scene):
    network, weights, (x, _) = scene
    gradient = jax.jit(jax.grad(lambda y: network.apply(weights, x, y).sum()))(x)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("classifier", LISTS)
def test_the_published_files_names_find_their_places(classifier):
    template = shapes(classifier)
    net, rng = template["params"]["net"], np.random.default_rng(0)
    sizes = {int(name.removeprefix("layers_")): leaf["weight"].shape for name, leaf in net.items()}
    draw = lambda *shape: rng.standard_normal(shape, np.float32)
    files = {"classifier.1.weight": draw(2, 2)}
    for number, features in numbered(classifier).items():
        kernel, _, inputs, _ = sizes[number]
        files[f"features.{number}.weight"] = draw(features, inputs, kernel, kernel)
        files[f"features.{number}.bias"] = draw(features)
    compared = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}[classifier]
    heads = {f"lin{i}.model.1.weight": draw(1, c, 1, 1) for i, c in enumerate(compared)}
    weights = import_weights(template, perceptual.named_weights(files, heads))
    np.testing.assert_array_equal(
        weights["params"]["lin_3_1"]["weight"][0, 0, :, 0], heads["lin3.model.1.weight"][0, :, 0, 0]
    )
    np.testing.assert_array_equal(
        weights["params"]["net"]["layers_10"]["bias"], files["features.10.bias"]
    )
