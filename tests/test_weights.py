import jax

from invertavatar_jax import networks, weights


def test_the_bundled_weights_fit_the_networks_that_they_describe():
    """Loading them takes this for granted, so as not to trace the networks."""
    loaded, model, _ = weights.load()
    template = networks.shapes(model)
    assert jax.tree.structure(loaded) == jax.tree.structure(template)
    for (path, expected), found in zip(
        jax.tree_util.tree_flatten_with_path(template)[0], jax.tree.leaves(loaded), strict=True
    ):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), path
