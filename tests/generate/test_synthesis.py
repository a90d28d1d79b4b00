import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.generate.mapping import Mapping
from invertavatar_jax.generate.synthesis import Synthesis
from invertavatar_jax.layers import Noise
from invertavatar_jax.pure import pure
from invertavatar_jax.settings import Backbone

SMALL = Backbone(resolution=32, channel_base=128, channel_max=8)
NETWORK = pure(Synthesis(SMALL, image_channels=6))
APPLY = jax.jit(NETWORK.apply)


@pytest.fixture(scope="module")
def scene():
    keys = jax.random.split(jax.random.key(0), 3)
    w_plus = jax.random.normal(keys[0], (2, SMALL.w_count, 5))
    weights = jax.jit(NETWORK.init)(keys[1], w_plus)
    # a fresh network adds no noise: its strengths are zero
    weights["params"] = jax.tree.map(lambda x: x + 0.1, weights["params"])
    return weights, w_plus


def no_change(features):
    """Modulation and conditions that leave every feature as it is."""
    modulation = {
        size: jnp.stack([jnp.ones((2, size, size, SMALL.channels(size) // 2))] * 2).at[1].set(0.0)
        for size in SMALL.resolutions
    }
    conditions = [jnp.concatenate([x + 1, jnp.zeros_like(x[..., :1])], -1) for x in features]
    return conditions, modulation


def close(got, expected):
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_features_are_listed_from_coarse_to_fine(scene):
    shapes = [x.shape[1:] for x in APPLY(*scene)]
    assert shapes == [(4, 4, 6), (4, 4, 8), (8, 8, 8), (16, 16, 8), (32, 32, 4), (32, 32, 6)]


def test_a_network_of_fewer_blocks_lists_all_of_them():
    small = pure(Synthesis(Backbone(16, 128, 8), 6))
    w_plus = jnp.ones((1, 6, 5))
    listed = jax.eval_shape(lambda: small.apply(small.init(jax.random.key(0), w_plus), w_plus))
    assert [x.shape[1] for x in listed] == [4, 4, 8, 16, 16]


def test_conditions_and_modulation_that_change_nothing_change_nothing(scene):
    features = APPLY(*scene)
    close(APPLY(*scene, *no_change(features)), features)


def test_opaque_conditions_hide_what_was_below(scene):
    weights, w_plus = scene
    conditions, _ = no_change(APPLY(weights, w_plus))
    opaque = [x.at[..., -1].set(1.0) for x in conditions]
    got = APPLY(weights, w_plus, opaque)
    close(got[:4], [x[..., :-1] for x in opaque[:4]])
    # the four coarse layers styled nothing that is still seen
    other = APPLY(weights, w_plus.at[:, :3].add(1.0), opaque)
    close(other[:4], got[:4])


def test_the_last_two_conditions_are_not_read(scene):
    conditions, _ = no_change(APPLY(*scene))
    marked = [*conditions[:4], *[x * jnp.nan for x in conditions[4:]]]
    close(APPLY(*scene, marked), APPLY(*scene, conditions))


def test_a_sample_does_not_depend_on_its_batch(scene):
    weights, w_plus = scene
    both = APPLY(weights, w_plus)
    close(APPLY(weights, w_plus[1:]), [x[1:] for x in both])


def test_random_noise_follows_its_key(scene):
    run = lambda noise: APPLY(*scene, noise=noise)[-1]
    first, again, other = (run(Noise("random", jax.random.key(i))) for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert np.abs(run(Noise("none")) - run(Noise("const"))).max() > 0.01


def test_random_noise_without_a_key_is_an_error(scene):
    with pytest.raises(ValueError, match="with a key"):
        NETWORK.apply(*scene, noise=Noise("random"))


def test_a_wrong_number_of_layers_is_an_error(scene):
    weights, w_plus = scene
    with pytest.raises(ValueError, match="got 7 layers, expected 8"):
        NETWORK.apply(weights, w_plus[:, :7])


def test_bfloat16_is_close_to_float32(scene):
    narrow = jax.jit(pure(Synthesis(SMALL, image_channels=6, compute=jnp.bfloat16)).apply)
    exact, rough = APPLY(*scene), narrow(*scene)
    for ours, theirs in zip(rough, exact, strict=True):
        assert ours.dtype == jnp.float32
        error = np.abs(ours - theirs).mean()
        assert 1e-4 * np.std(theirs) < error < 0.01 * np.std(theirs)


def test_every_parameter_has_a_finite_gradient(scene):
    weights, w_plus = scene
    loss = lambda params: (APPLY({**weights, "params": params}, w_plus)[-1] ** 2).mean()
    for leaf in jax.tree.leaves(jax.grad(loss)(weights["params"])):
        assert np.isfinite(leaf).all() and np.any(leaf)


def count(network, *shapes) -> int:
    inputs = [jnp.zeros(shape) for shape in shapes]
    params = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("channels, expected", [(32, 28_819_437), (96, 29_008_301)])
def test_the_released_sizes_have_the_papers_parameter_counts(channels, expected):
    mapping = count(pure(Mapping(512, 14)), (1, 512), (1, 25))
    synthesis = count(pure(Synthesis(Backbone(), channels)), (1, 14, 512))
    assert mapping + synthesis == expected
