"""The adversarial stage at the smallest sizes that have all its parts."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.gan import get_config
from invertavatar_jax import networks, settings
from invertavatar_jax.errors import UserError
from invertavatar_jax.pure import Pure
from invertavatar_jax.supervise.discriminator import Judgement
from invertavatar_jax.train import config, mesh, state, step
from invertavatar_jax.train.stage import Start
from invertavatar_jax.train.stages import gan, gan_losses, gan_players
from invertavatar_jax.train.stages.batching import Batching
from invertavatar_jax.train.stages.gan_players import Players, Schedule, Size

BATCH, SIDE, RASTER = 2, 8, 10
TINY = settings.preset("tiny_paper")
MODEL = dataclasses.replace(
    TINY,
    z_dim=8,
    w_dim=8,
    plane_channels=4,
    backbone=settings.Backbone(8, 32, 4),
    raster_resolution=RASTER,
    renderer=dataclasses.replace(
        TINY.renderer,
        neural_resolution=SIDE,
        image_resolution=SIDE,
        coarse_samples=4,
        fine_samples=4,
        decoder_hidden=8,
        superresolution_channels=(4, 4),
    ),
)
SIZE = Size(4, True)


def own(variant: str = "tiny", **changes) -> gan.Settings:
    numbers = gan.Settings(**get_config(variant).to_dict()["settings"])
    return dataclasses.replace(numbers, **changes)


@pytest.mark.parametrize("variant", ["paper", "released", "small", "tiny"])
def test_every_variant_makes_a_stage(variant):
    made = config.parse(get_config(variant))
    stage = gan.make(settings.preset(made.preset), made.settings, made.batching)
    names = [phase.name for phase in stage.phases(stage.variant(0))]
    assert names == ["Gmain", "Greg", "Dmain", "Dreg"]


def filled(shapes, rng: np.random.Generator):
    return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), x.dtype), shapes)


def like(tree, placed):
    """A tree placed as another: of any other placement the step would be compiled again."""
    return jax.tree.map(lambda x, old: jax.device_put(x, old.sharding), tree, placed)


def norm_of(tree) -> float:
    return float(
        np.sqrt(sum(np.square(leaf, dtype=np.float64).sum() for leaf in jax.tree.leaves(tree)))
    )


def random_batch(rng: np.random.Generator) -> dict[str, np.ndarray]:
    pose = np.diag([1.0, -1, -1, 1])
    pose[2, 3] = 2.7
    intrinsics = [4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1]
    camera = np.concatenate([pose.ravel(), intrinsics]).astype(np.float32)
    camera = camera + 0.01 * rng.standard_normal((2 * BATCH, 25)).astype(np.float32)
    picture = lambda *lead: rng.integers(0, 256, (*lead, SIDE, SIDE, 3), dtype=np.uint8)
    uv = rng.uniform(-1, 1, (BATCH, RASTER, RASTER, 2)).astype(np.float32)
    mask = (rng.random((BATCH, RASTER, RASTER, 1)) < 0.5).astype(np.float32)
    return {
        "image": picture(BATCH, 1),
        "landmarks": picture(BATCH, 1),
        "camera": camera[:BATCH, None],
        "other_camera": camera[BATCH:],
        "other_raster": np.concatenate([uv, mask], -1),
        "other_landmarks": picture(BATCH),
    }


@pytest.fixture(scope="module")
def game():
    """The stage, its state before an iteration, and the phases' results in it."""
    rng = np.random.default_rng(0)
    numbers = own(neural_start=4, neural_end=8, neural_resolutions=(4, 8), density_points=20)
    stage = gan.make(MODEL, numbers, Batching(BATCH, BATCH))
    shapes = jax.eval_shape(lambda key: stage.start(key, None), jax.random.key(0))
    start = Start(*filled(tuple(shapes)[:2], rng))
    before = state.make_state(stage._replace(start=lambda *_: start), 1, jax.random.key(0))
    placing = step.Placing(mesh.make_mesh(1, 1), 1, False, ((r".*", ()),))
    before = jax.device_put(before, step.state_shardings(before, placing))
    batch, key = random_batch(rng), jax.random.key(1)
    steps, sums = {}, {}
    for phase in stage.phases(SIZE):
        steps[phase.name] = step.make_step(phase, stage.groups[phase.group], placing, before)
        found, _ = steps[phase.name].differentiate(before, batch, key)
        sums[phase.name] = jax.device_get(found)  # JAX would compile every sum of every shape
    return SimpleNamespace(
        stage=stage, start=start, before=before, batch=batch, key=key, steps=steps, sums=sums
    )


def test_every_phase_has_finite_metrics_and_a_gradient(game):
    assert list(game.sums) == ["Gmain", "Greg", "Dmain", "Dreg"]
    for name, sums in game.sums.items():
        for leaf in jax.tree.leaves(sums):
            assert np.isfinite(leaf).all(), name
        assert norm_of(sums.gradient) > 0, name
    assert game.sums["Dmain"].metrics.keys() == {"fake", "real", "right", "loss"}


def _part(gradient, name: str):
    """What of a gradient finite differences can see.

    Where samples lie on rays follows the density without a gradient, so of the generator's
    first loss only super-resolution is looked at.
    """
    if name != "Gmain":
        return gradient
    zeros = jax.tree.map(np.zeros_like, gradient)
    return zeros | {"superresolution": gradient["superresolution"]}


@pytest.mark.parametrize("name", ["Gmain", "Greg", "Dmain", "Dreg"])
def test_the_gradient_of_a_phase_agrees_with_finite_differences(game, name):
    own_step, before = game.steps[name], game.before
    part = _part(game.sums[name].gradient, name)
    norm, params = norm_of(part), jax.device_get(before.params)

    def loss(distance: float):
        step_of = lambda p, g: p + np.float32(distance / norm) * g
        moved = params | {own_step.group: jax.tree.map(step_of, params[own_step.group], part)}
        moved = like(moved, before.params)
        sums, _ = own_step.differentiate(before._replace(params=moved), game.batch, game.key)
        return float(sums.metrics["loss"])

    distance = 3e-3
    slope = (loss(distance) - loss(-distance)) / (2 * distance)
    assert slope == pytest.approx(norm, rel=0.02)


def test_dmain_moves_the_mean_of_w_and_its_group_alone(game):
    before = like(jax.device_get(game.before), game.before)  # the step uses up what it moves
    after, metrics = game.steps["Dmain"](before, game.batch, game.key)
    old = game.start.buffers["w_average"]
    drawn = (after.buffers["w_average"] - 0.998 * old) / 0.002
    assert 0 < np.abs(drawn).max() < 100
    same = lambda a, b: all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))
    assert same(after.params["generator"], game.start.params["generator"])
    assert not same(after.params["discriminator"], game.start.params["discriminator"])
    assert np.isfinite(metrics["Dmain/grad_norm"])


def test_a_shipped_generator_is_the_average_with_the_mean_of_w(game, monkeypatch):
    monkeypatch.setattr(gan.parts, "complete", lambda model, key, known: known)
    rest = {"params": {"encoder": 1, "unet_encoder": 2}, "buffers": {"latent_avg": 3}}
    buffers = game.start.buffers | {"rest": rest}
    average = {"generator": {"some": 4}}
    weights = game.stage.ship(game.start.params, average, buffers)
    assert weights["params"]["generator"] == {"some": 4}
    assert weights["params"]["unet_encoder"] == 2
    assert weights["buffers"]["latent_avg"] == 3
    shipped = weights["buffers"]["generator"]["backbone"]["mapping"]["w_avg"]
    np.testing.assert_array_equal(shipped, game.start.buffers["w_average"])


def test_fresh_weights_have_the_model_s_form(game):
    ship = lambda start: game.stage.ship(start.params, start.params, start.buffers)
    shapes = jax.eval_shape(ship, game.start)
    del shapes["params"]["discriminator"]
    form = lambda tree: jax.tree.map(jnp.shape, tree)
    assert form(shapes) == form(networks.shapes(MODEL))


def test_pictures_have_the_shapes_of_the_grid(game):
    state_trees = game.start.params, {"generator": game.start.params["generator"]}
    rows = jax.eval_shape(
        game.stage.show, *state_trees, game.start.buffers, game.batch, jax.random.key(0)
    )
    assert rows.pop("depth").shape == (BATCH, SIDE, SIDE, 1)
    assert set(rows) == {"real", "made", "volume", "yaw -0.35", "yaw +0.35"}
    assert {row.shape for row in rows.values()} == {(BATCH, SIDE, SIDE, 3)}


def test_what_is_not_taken_over_is_told(caplog):
    own = {"one": jnp.zeros(2), "two": jnp.zeros(3), "three": jnp.zeros(1)}
    weights = gan._inherit("generator", own, {"one": jnp.ones(2), "two": jnp.ones(2)})
    np.testing.assert_array_equal(weights["one"], 1)
    assert "1 arrays left out:\n  two: shape [2], expected [3]" in caplog.text
    assert "2 arrays begin at random:\n  three\n  two" in caplog.text


def test_a_stage_goes_on_from_weights(game):
    offered = {
        "params": {**game.start.params, "encoder": {"weight": jnp.ones(3)}},
        "buffers": {"generator": game.start.buffers["generator"], "encoder": {}},
    }
    generator = dict(offered["params"]["generator"])
    del generator["decoder"]
    offered["params"] = offered["params"] | {"generator": generator}
    begin = jax.eval_shape(lambda: game.stage.start(jax.random.key(5), offered))
    assert begin.buffers["rest"]["params"]["encoder"]["weight"].shape == (3,)
    assert "decoder" in begin.params["generator"]


def brightness_players(**changes) -> Players:
    """A critic whose logits are an image's mean, blurred or not."""
    judged = lambda _, image, *rest: Judgement(image.mean((1, 2, 3))[:, None], ())
    critic = Pure(lambda *_: {}, judged)
    return Players(MODEL, networks.build(MODEL), critic, Schedule(own(**changes), BATCH))


@pytest.mark.parametrize(("swap", "turn"), [(0.0, 0), (1.0, 1)])
def test_people_are_made_for_their_neighbour_s_camera_and_seen_by_their_own(
    monkeypatch, swap, turn
):
    seen = {}
    batch = random_batch(np.random.default_rng(0))

    def map_label(self, weights, key, label):
        seen["label"] = label
        return jnp.zeros((BATCH, MODEL.backbone.w_count, MODEL.w_dim))

    def render(nets, weights, model, w_plus, maps, drive, *, key):
        seen["camera"], seen["side"] = drive.camera, model.renderer.neural_resolution
        return SimpleNamespace(image=0, raw=0)

    monkeypatch.setattr(Players, "map", map_label)
    monkeypatch.setattr(gan_players.generator, "features", lambda *_: None)
    monkeypatch.setattr(gan_players.generator, "render", render)
    players = brightness_players(swap_fade_images=0.0, swap_end=swap)
    made = players.make({}, batch, jnp.int32(0), jax.random.key(0), 4)
    np.testing.assert_array_equal(seen["label"], np.roll(batch["other_camera"], turn, 0))
    np.testing.assert_array_equal(made.label, batch["other_camera"])
    pose = seen["camera"].world_from_camera.reshape(BATCH, 16)
    np.testing.assert_array_equal(pose, batch["other_camera"][:, :16])
    assert seen["side"] == 4


def test_held_out_metrics_are_logits_and_colour_gaps(game, monkeypatch):
    batch = random_batch(np.random.default_rng(0))
    image = jnp.broadcast_to(jnp.array([0.25, -0.5, 1.0]), (BATCH, SIDE, SIDE, 3))
    out = SimpleNamespace(image=image, raw=image)
    monkeypatch.setattr(Players, "map", lambda *_: None)
    monkeypatch.setattr(gan, "_render", lambda *_: out)
    trees = game.start.params, {"generator": {}}, game.start.buffers
    got = gan._measure(brightness_players(), *trees, batch, jax.random.key(0))
    real = batch["image"][:, 0] / 127.5 - 1
    assert float(got["fake"]) == pytest.approx(0.25, abs=1e-6)
    assert float(got["real"]) == pytest.approx(real.mean(), abs=1e-5)
    gap = np.abs(np.array([0.25, -0.5, 1.0]) - real.mean((0, 1, 2))).mean()
    assert float(got["mean_colour_gap"]) == pytest.approx(gap, rel=1e-4)
    deviation = real.std((0, 1, 2)).mean()
    assert float(got["colour_deviation_gap"]) == pytest.approx(deviation, rel=1e-4)


def test_the_blur_reaches_both_pictures_of_the_data(game):
    players, sigma = brightness_players(), jnp.float32(1.0)
    batch = random_batch(np.random.default_rng(0))
    sharp, blurred = players.real(batch, 4), players.real(batch, 4, sigma)
    np.testing.assert_array_equal(sharp.image, blurred.image)  # `judge` blurs it
    assert float(blurred.neural.std()) < 0.8 * float(sharp.neural.std())
    logits = [players.judge({}, sharp, batch["camera"][:, 0], s) for s in (None, sigma)]
    assert np.abs(logits[0]).sum() > np.abs(logits[1]).sum()  # zeros come in from the edges


def test_the_released_schedule():
    schedule = Schedule(own("released"), 32)
    for images in (0, 100_000, 500_000, 1_000_000, 9_000_000):
        alpha = min(images / 1e6, 1.0)
        exact = int(np.rint(64 * (1 - alpha) + 128 * alpha))  # TRAINING A
        size = schedule.size(images // 32)
        assert abs(size.resolution - exact) <= 4  # the config compiles every eighth
        assert not size.blurred
    assert schedule.swap(jnp.int32(0)) == 0.5  # it resumes: no fade


def test_the_paper_s_resolution_is_stepped_half_way():
    config = get_config("paper")
    schedule = Schedule(own("paper"), config.batch_size)
    half = config.total_steps // 2
    assert [schedule.size(s).resolution for s in (0, half - 1, half + 1)] == [64, 64, 128]
    assert len({schedule.size(s) for s in range(0, config.total_steps, 1000)}) == 3


def test_the_blur_and_the_swap_fade_linearly():
    changes = dict(swap_fade_images=1e6, blur_sigma=10.0, blur_fade_images=200_000.0)
    schedule = Schedule(own("paper", **changes), 32)
    at = lambda images: jnp.int32(images // 32)
    assert [float(schedule.sigma(at(n))) for n in (0, 100_000, 400_000)] == [10.0, 5.0, 0.0]
    swaps = [float(schedule.swap(at(n))) for n in (0, 500_000, 2_000_000)]
    assert swaps == [1.0, 0.75, 0.5]
    assert schedule.size(199_999 // 32).blurred and not schedule.size(200_000 // 32).blurred


@pytest.mark.parametrize(("every", "rate"), [(4, 0.002), (16, 0.0025 * 16 / 17)])
def test_adam_is_corrected_for_lazy_phases(every, rate):
    params, gradients = jnp.zeros(()), [1.0, 0.0]
    optimizer = gan._adam(own("paper"), 0.0025, every)
    moments, moved = optimizer.init(params), []
    for gradient in gradients:
        update, moments = optimizer.update(jnp.float32(gradient), moments, params)
        moved.append(float(update))
    second = 0.99 ** (every / (every + 1))
    assert moved[0] == pytest.approx(-rate, rel=1e-5)
    assert moved[1] == 0  # the first beta is 0
    moment = optax.tree.get(moments, "nu")
    assert float(moment) == pytest.approx((1 - second) * second, rel=1e-3)


def test_a_gradient_that_is_not_finite_is_replaced_where_asked():
    weights = jnp.array([jnp.nan, jnp.inf, -jnp.inf, 2.0])
    loss = lambda x: (gan_losses.replaced_nonfinite(x) * weights).sum()
    np.testing.assert_array_equal(jax.grad(loss)(jnp.ones(4)), [0.0, 1e5, -1e5, 2.0])
    np.testing.assert_array_equal(gan_losses.replaced_nonfinite(weights), weights)


def test_a_model_that_departs_from_the_paper_is_refused():
    with pytest.raises(UserError, match="departs"):
        gan.make(settings.preset("tiny"), own(), Batching(4, 2))


def test_a_microbatch_that_its_groups_do_not_divide_is_refused():
    with pytest.raises(UserError, match="group of 4"):
        gan.make(MODEL, own(group=4), Batching(6, 6))
