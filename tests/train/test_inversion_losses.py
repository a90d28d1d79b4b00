"""Terms of the encoder stages: their gradients, weights, pools, parts and synthetic photos."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.errors import UserError
from invertavatar_jax.generator import Features, Rendered
from invertavatar_jax.inversion import Memory, Refinement
from invertavatar_jax.supervise.adversarial import generator_loss
from invertavatar_jax.train import critics
from invertavatar_jax.train.stages import inversion_losses as terms
from invertavatar_jax.train.stages import latent, parts, pool, refinement, synthetic
from invertavatar_jax.types import Frame

CRITICS = critics.make(critics.Settings("gradients", (), "off", ""))
SIDE = 8


def pictures(seed, *shape):
    return jax.random.uniform(jax.random.key(seed), shape or (1, SIDE, SIDE, 3), minval=-1.0)


def rendered(image, seed=0):
    some = lambda i, *shape: pictures(seed + i, 1, *shape)
    raw, alpha = some(1, SIDE, SIDE, 3), some(2, 4, 4, 1)
    return Rendered(image, raw, some(3, 4, 4, 5), alpha, alpha, None, some(4, 3, 4, 4, 2))


def texture_of(got, wanted):
    """The term of one changed texture and one that stays as it is."""
    avatar, person = (Features([x, jnp.zeros_like(x)], []) for x in (got, wanted))
    memory = Memory(got, avatar, Refinement([got], {}, (), ()), None)
    return refinement.texture_term(avatar, memory, synthetic.People(wanted, person))


def all_terms(got: Rendered):
    wanted = rendered(pictures(9), seed=10)
    return (
        terms.image_terms(CRITICS, {}, got.image, wanted.image, SIDE)
        | terms.feature_terms(CRITICS, {}, got, wanted)
        | {"texture": texture_of(got.features, wanted.features)}
        | {"w_delta": lambda: latent.far_from_first(got.features[0])}
        | {"w_discriminator": lambda: generator_loss(got.features[..., :1])}
    )


@pytest.mark.parametrize(
    "name", ["l1", "lpips", "raw_l1", "tri", "texture", "lr_lpips", "w_delta", "w_discriminator"]
)
def test_the_gradient_of_a_term_is_its_slope(name):
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
        got, towards = wide(rendered(pictures(0))), wide(rendered(pictures(5), seed=5))
        value = jax.jit(lambda got: all_terms(got)[name]())
        gradient = jax.grad(value)(got)
        pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(towards), strict=True)
        slope = sum(float((g * d).sum()) for g, d in pairs)
        moved = lambda h: value(jax.tree.map(lambda x, d: x + h * d, got, towards))
        np.testing.assert_allclose((moved(1e-6) - moved(-1e-6)) / 2e-6, slope, rtol=1e-6)
    assert abs(slope) > 1e-4


def test_codes_that_are_equal_have_a_finite_gradient():
    gradient = jax.grad(latent.far_from_first)(jnp.ones((2, 3, 4)))
    np.testing.assert_array_equal(gradient, 0)


def test_only_terms_with_a_weight_count_and_those_of_absent_critics_do_not():
    found = {"a": lambda: jnp.float32(2), "b": lambda: jnp.float32(3), "id": None}
    total, values = terms.weigh({"a": 0.5, "b": 0.0, "id": 1.0}, found, CRITICS)
    assert float(total) == 1 and set(values) == {"a"}
    with pytest.raises(ValueError, match="weights of adv"):
        terms.weigh({"adv": 1.0}, found, CRITICS)


def test_a_loss_in_a_critics_place_goes_by_its_own_name():
    found = {"lpips": lambda: jnp.float32(2), "l1": lambda: jnp.float32(3)}
    assert set(terms.weigh({"lpips": 0.5, "l1": 1.0}, found, CRITICS)[1]) == {"gradients", "l1"}


def test_nearness_is_measured_on_the_whole_picture_and_on_the_head():
    wanted, matte = jnp.zeros((1, 4, 4, 3)), jnp.zeros((1, 4, 4, 1)).at[:, 0].set(1.0)
    got = wanted.at[:, 0].set(0.2)
    near = terms.nearness(got, wanted, matte)
    np.testing.assert_allclose(near["psnr_head"], 10 * np.log10(4 / 0.04), rtol=1e-6)
    np.testing.assert_allclose(near["psnr"], 10 * np.log10(4 / 0.01), rtol=1e-6)


def test_a_pool_fills_then_gives_back_what_it_held():
    numbered = lambda first: jnp.arange(first, first + 4.0)[:, None]
    filled, given = pool.exchange(pool.empty(4, 1), numbered(0), jax.random.key(0))
    np.testing.assert_array_equal(given, numbered(0))
    assert int(filled.count) == 4
    later, given = pool.exchange(filled, numbered(4), jax.random.key(1))
    everything = np.sort(np.concatenate([later.codes, given]).ravel())
    np.testing.assert_array_equal(everything, np.arange(8))  # a code is here or there, once
    assert 0 < (np.asarray(given) < 4).sum() < 4


def test_a_made_photo_takes_its_texture_from_its_own_picture():
    image = pictures(0)
    xy, seen = pictures(1, 1, 4, 4, 2), jnp.zeros((1, 4, 4, 1)).at[:, 1].set(0.4)
    frame = Frame(
        pictures(2), jnp.ones((1, SIDE, SIDE, 1)), pictures(3, 1, 4, 4, 3), xy, seen, None
    )
    made = synthetic.photograph(frame, image, "projected")
    np.testing.assert_array_equal(made.uv_rgb[:, 0], 1)
    row, column = (int(np.clip((xy[0, 1, 2, i] + 1) * SIDE / 2 - 0.5, 0, 6)) for i in (1, 0))
    near = image[0, row : row + 2, column : column + 2].reshape(-1, 3)
    assert (made.uv_rgb[0, 1, 2] <= near.max(0)).all() and (
        made.uv_rgb[0, 1, 2] >= near.min(0) - 1
    ).all()
    stored = synthetic.photograph(frame, image, "dataset")
    np.testing.assert_array_equal(stored.uv_rgb, frame.uv_rgb)
    np.testing.assert_array_equal(stored.image, image)


def test_parts_are_taken_by_path_and_put_back():
    params = {"encoder": {"a": 1, "b": {"c": 2}}, "unet_encoder": {"t": {"body_0": 3, "up": 4}}}
    buffers = {"encoder": {}, "unet_encoder": {}, "generator": {"w": 5}}
    whole = {"params": params, "buffers": buffers}
    places = {"one": "encoder/", "two": "unet_encoder/t/(?!body_)"}
    groups, rest = parts.split(whole, places)
    assert groups == {
        "one": {"encoder": {"a": 1, "b": {"c": 2}}},
        "two": {"unet_encoder": {"t": {"up": 4}}},
    }
    assert rest["frozen"]["params"] == {"unet_encoder": {"t": {"body_0": 3}}}
    assert parts.join(groups, rest, places) == whole


def test_weights_of_another_size_are_refused():
    with pytest.raises(UserError, match=r"params\.a\.b has the shape \(3,\), expected \(2,\)"):
        parts._over({"a": {"b": np.zeros(2)}}, {"a": {"b": np.zeros(3)}}, "params")
