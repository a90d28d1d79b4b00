"""The rasterizer against a float64 loop, its tie and edge rules, and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invertavatar_jax.rasterize import api, faces, pallas, reference

find_ids = jax.jit(reference.triangle_ids, static_argnums=(2, 3), static_argnames="capacity")
BACKENDS = {
    "u64": {"keys": "u64"},
    "2xu32": {"keys": "2xu32"},
    "pallas": {"backend": "pallas_interpret"},
}
each_backend = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
HEIGHT, WIDTH = 24, 40


def loop(vertices, triangles, height, width, cull="none"):
    """Nearest triangle, its depth, and how far each pixel is from flipping; float64."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ids = np.full((height, width), -1)
    depth = np.full((height, width), np.inf)
    margin = np.full((height, width), np.inf)
    for number, triangle in enumerate(np.asarray(triangles)):
        a, b, c = np.asarray(vertices, np.float64)[triangle]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if area == 0 or cull == ("clockwise" if area > 0 else "counterclockwise"):
            continue
        w1 = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / area
        w2 = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / area
        least = np.minimum(np.minimum(w1, w2), 1 - w1 - w2)
        z = a[2] + w1 * (b[2] - a[2]) + w2 * (c[2] - a[2])
        margin = np.minimum(margin, np.abs(least))
        gap = np.where((least >= 0) & np.isfinite(depth), np.abs(z - depth), np.inf)
        margin = np.minimum(margin, gap)
        wins = (least >= 0) & (z < depth)
        ids[wins], depth[wins] = number, z[wins]
    return ids, depth, margin


def soup(seed, count=120, z_low=-3.0, z_high=5.0):
    rng = np.random.default_rng(seed)
    centre = rng.uniform([-5, -5, z_low], [WIDTH + 5, HEIGHT + 5, z_high], (count, 1, 3))
    corners = centre + rng.normal(0, rng.uniform(0.3, 8, (count, 1, 1)), (count, 3, 3))
    return corners.reshape(-1, 3).astype(np.float32), np.arange(3 * count).reshape(count, 3)


@each_backend
@pytest.mark.parametrize("cull", ["none", "clockwise", "counterclockwise"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ids_and_depths_are_the_float64_loops(backend, cull, seed):
    vertices, triangles = soup(seed)
    ids, depth, margin = loop(vertices, triangles, HEIGHT, WIDTH, cull)
    got = api.rasterize(vertices, triangles, HEIGHT, WIDTH, cull=cull, **backend)
    clear = margin > 1e-4
    assert clear.mean() > 0.9 and (ids >= 0).mean() > 0.2
    np.testing.assert_array_equal(np.asarray(got.triangle)[clear], ids[clear])
    seen = clear & (ids >= 0)
    np.testing.assert_allclose(np.asarray(got.depth)[seen], depth[seen], atol=1e-3)
    assert np.all(np.asarray(got.depth)[np.asarray(got.triangle) < 0] == 0)


@each_backend
def test_the_nearest_wins_whatever_the_sign_of_z(backend):
    corners = np.float32([[-99, -99], [999, -99], [-99, 999]])
    layers = np.float32([2.0, -1.0, 1e-30, -1e-30, -2.5, 0.0, 3e30, -0.0])
    count = len(layers)
    triangles = np.arange(3 * count).reshape(count, 3)
    flat = np.broadcast_to(corners, (count, 3, 2))
    for kept in range(2, count + 1):
        z = np.where(np.arange(count) < kept, layers, np.float32(1e38))
        vertices = np.concatenate([flat, np.broadcast_to(z[:, None, None], (count, 3, 1))], -1)
        got = api.rasterize(vertices.reshape(-1, 3), triangles, 4, 4, **backend)
        assert np.all(np.asarray(got.triangle) == np.argmin(z))


@each_backend
def test_the_lowest_number_wins_a_tie(backend):
    vertices = np.float32([[0, 0, 1], [8, 0, 1], [0, 8, 1], [8, 8, 1]])
    triangles = np.array([[1, 3, 2], [0, 1, 2], [0, 1, 2], [2, 0, 1], [1, 3, 2]])
    got = np.asarray(api.rasterize(vertices, triangles, 8, 8, **backend).triangle)
    # pixel centres on the shared diagonal belong to both halves: triangle 0 has the lower number
    expected = np.where(np.add.outer(np.arange(8), np.arange(8)) < 7, 1, 0)
    np.testing.assert_array_equal(got, expected)


def grid(seed, count, size, *, integer):
    """A jittered, turned grid that covers the image."""
    rng = np.random.default_rng(seed)
    line = np.linspace(-20, size + 20, count)
    xy = np.stack(np.meshgrid(line, line), -1)
    xy = xy + rng.uniform(-0.3, 0.3, xy.shape) * (line[1] - line[0])
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    xy = size / 2 + 1.3 * (xy - size / 2) @ turn.T
    xy = np.round(xy) if integer else xy
    vertices = np.concatenate([xy, rng.uniform(1, 2, (count, count, 1))], -1)
    n = np.arange(count * count).reshape(count, count)
    a, b, c, d = n[:-1, :-1], n[:-1, 1:], n[1:, 1:], n[1:, :-1]
    triangles = np.stack([np.stack([a, d, c], -1), np.stack([a, c, b], -1)]).reshape(-1, 3)
    return vertices.reshape(-1, 3).astype(np.float32), triangles.astype(np.int32)


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize("count", [5, 60, 130])
def test_a_closed_surface_has_no_holes(count, integer):
    for seed in range(3):
        vertices, triangles = grid(seed, count, 256, integer=integer)
        got = api.rasterize(vertices, triangles, 256, 256)
        assert int((got.triangle < 0).sum()) == 0


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31))
def test_thin_triangles_leave_no_holes(seed):
    """A fan of slivers around a point covers its polygon."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 400))
    angles = np.concatenate([angles, np.linspace(0, 2 * np.pi, 12, endpoint=False)])
    ring = 90 * np.stack([np.cos(np.sort(angles)), np.sin(np.sort(angles))], -1)
    centre = rng.uniform(24, 40, 2)
    xy = np.concatenate([centre[None], centre + ring])
    vertices = np.concatenate([xy, np.ones((len(xy), 1))], -1).astype(np.float32)
    rim = np.arange(1, len(xy))
    triangles = np.stack([np.zeros_like(rim), rim, np.roll(rim, -1)], -1)
    got = api.rasterize(vertices, triangles, 64, 64)
    assert int((got.triangle < 0).sum()) == 0


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31))
def test_the_order_of_vertices_changes_nothing(seed):
    vertices, triangles = soup(seed % 1000)
    order = np.random.default_rng(seed).permutation(len(vertices))
    moved = np.argsort(order)[triangles]
    first = api.rasterize(vertices, triangles, HEIGHT, WIDTH)
    second = api.rasterize(vertices[order], moved, HEIGHT, WIDTH)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_the_order_of_triangles_changes_only_their_numbers():
    vertices, triangles = soup(5)
    order = np.random.default_rng(0).permutation(len(triangles))
    first = np.asarray(api.rasterize(vertices, triangles, HEIGHT, WIDTH).triangle)
    second = np.asarray(api.rasterize(vertices, triangles[order], HEIGHT, WIDTH).triangle)
    renamed = np.where(second >= 0, order[np.maximum(second, 0)], -1)
    np.testing.assert_array_equal(first, renamed)


def test_views_in_one_call_are_the_views_one_by_one():
    triangles = soup(0)[1]
    views = np.stack([soup(seed)[0] for seed in range(4)]).reshape(2, 2, -1, 3)
    together = api.rasterize(views, triangles, HEIGHT, WIDTH)
    for i, j in np.ndindex(2, 2):
        alone = api.rasterize(views[i, j], triangles, HEIGHT, WIDTH)
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[i, j], b), together, alone)  # noqa: B023
    mapped = jax.jit(jax.vmap(lambda v: find_ids(v, triangles, HEIGHT, WIDTH, capacity=4096)))(
        views
    )
    np.testing.assert_array_equal(mapped[0], together.triangle)


def test_two_runs_give_the_same_bits():
    vertices, triangles = grid(0, 60, 256, integer=True)
    vertices[:, 2] = 1  # ties everywhere
    runs = [np.asarray(api.rasterize(vertices, triangles, 256, 256).triangle) for _ in range(3)]
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])
    other = api.rasterize(vertices, triangles, 256, 256, keys="2xu32")
    np.testing.assert_array_equal(runs[0], other.triangle)


def test_a_list_that_is_too_short_is_grown_and_never_cut():
    vertices, triangles = grid(0, 60, 64, integer=False)
    ids, needed = find_ids(jnp.asarray(vertices)[None], jnp.asarray(triangles), 64, 64, capacity=64)
    assert int(needed) > 64
    calls = []

    def run(capacity):
        calls.append(capacity)
        return find_ids(
            jnp.asarray(vertices)[None], jnp.asarray(triangles), 64, 64, capacity=capacity
        )

    grown = api.grow_capacity(run, start=64)
    assert len(calls) == 2 and calls[1] >= needed
    whole = api.rasterize(vertices, triangles, 64, 64).triangle
    np.testing.assert_array_equal(grown[0], whole)
    assert not np.array_equal(ids[0], whole)


def test_a_mesh_beyond_the_largest_list_raises():
    vertices, triangles = grid(0, 60, 64, integer=False)
    with pytest.raises(ValueError, match="largest list holds 100"):
        api.rasterize(vertices, triangles, 64, 64, largest_capacity=100)


def test_a_need_beyond_int32_is_reported():
    corners = np.float32([[-1e9, -1e9, 1], [1e9, -1e9, 1], [0, 1e9, 1]])
    triangles = np.broadcast_to(np.arange(3), (400_000, 3))
    with pytest.raises(ValueError, match=r"over 2\^30"):
        api.rasterize(corners, triangles, 1024, 1024)


@each_backend
def test_bad_corners_and_empty_meshes_draw_nothing(backend):
    whole = np.float32([[0, 0, 1], [8, 0, 1], [0, 8, 1]])
    for value in (np.nan, np.inf, -np.inf):
        for axis in range(3):
            broken = whole.copy()
            broken[1, axis] = value
            got = api.rasterize(broken, np.array([[0, 1, 2]]), 8, 8, **backend)
            assert np.all(np.asarray(got.triangle) == -1)
    got = api.rasterize(whole, np.zeros((0, 3), np.int32), 8, 8, **backend)
    assert np.all(np.asarray(got.triangle) == -1)
    line = np.float32([[0, 0, 1], [4, 4, 1], [8, 8, 1]])
    assert np.all(np.asarray(api.rasterize(line, np.array([[0, 1, 2]]), 8, 8).triangle) == -1)


def test_an_unknown_winding_raises():
    with pytest.raises(ValueError, match="cull is 'back'"):
        api.rasterize(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]]), 8, 8, cull="back")


def test_barycentrics_reproduce_the_pixel_and_sum_to_one():
    vertices, triangles = soup(3)
    raster = api.rasterize(vertices, triangles, HEIGHT, WIDTH)
    hit = np.asarray(raster.triangle) >= 0
    np.testing.assert_allclose(np.asarray(raster.barycentric).sum(-1), hit, atol=1e-5)
    where = np.asarray(api.interpolate(jnp.asarray(vertices), triangles, raster, background=-7))
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    np.testing.assert_allclose(where[..., 0], np.where(hit, x, -7), atol=2e-3)
    np.testing.assert_allclose(where[..., 1], np.where(hit, y, -7), atol=2e-3)
    np.testing.assert_allclose(where[hit][:, 2], np.asarray(raster.depth)[hit], atol=2e-3)


def test_perspective_attributes_are_those_of_the_ray():
    """Interpolated world points project back to the pixel; the nearest of two planes wins."""
    rng = np.random.default_rng(0)
    world = rng.uniform([-2, -2, 1], [2, 2, 6], (30, 3))
    pixels = np.stack(
        [20 + 30 * world[:, 0] / world[:, 2], 12 + 30 * world[:, 1] / world[:, 2], world[:, 2]], -1
    ).astype(np.float32)
    triangles = np.arange(30).reshape(10, 3)
    raster = api.rasterize(pixels, triangles, HEIGHT, WIDTH, perspective=True)
    point = api.interpolate(jnp.asarray(world, jnp.float32), triangles, raster)
    point, depth = np.asarray(point), np.asarray(raster.depth)
    hit = np.asarray(raster.triangle) >= 0
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    point_hit, depth_hit = point[hit], depth[hit]
    np.testing.assert_allclose(20 + 30 * point_hit[:, 0] / depth_hit, x[hit], atol=1e-2)
    np.testing.assert_allclose(12 + 30 * point_hit[:, 1] / depth_hit, y[hit], atol=1e-2)
    np.testing.assert_allclose(point[..., 2], depth, atol=1e-4)
    inverse = pixels.astype(np.float64)
    inverse[:, 2] = -1 / inverse[:, 2]
    ids, _, margin = loop(inverse, triangles, HEIGHT, WIDTH)
    clear = margin > 1e-4
    np.testing.assert_array_equal(np.asarray(raster.triangle)[clear], ids[clear])


def test_triangles_behind_a_perspective_camera_are_not_drawn():
    corners = np.float32([[0, 0, 1], [16, 0, -1], [0, 16, 1]])
    got = api.rasterize(corners, np.array([[0, 1, 2]]), 8, 8, perspective=True)
    assert np.all(np.asarray(got.triangle) == -1)


@pytest.mark.parametrize("perspective", [False, True])
def test_gradients_are_finite_differences_inside_triangles(perspective):
    vertices = np.float32([[-3, -4, 2], [50, -2, 3], [3, 40, 4], [45, 38, 2.5]])
    triangles = jnp.array([[0, 1, 2], [1, 3, 2]])
    ids = api.rasterize(vertices, triangles, HEIGHT, WIDTH, perspective=perspective).triangle
    rng = np.random.default_rng(0)
    attributes = jnp.asarray(rng.normal(size=(4, 2)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(HEIGHT, WIDTH, 2)), jnp.float32)

    @jax.jit
    def loss(vertices, attributes):
        raster = api.resolve(vertices, triangles, ids, perspective=perspective)
        image = api.interpolate(attributes, triangles, raster)
        return (weight * image).sum() + (weight[..., 0] * raster.depth).sum()

    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(a, np.float64)) for a in (vertices, attributes)]
        gradients = jax.grad(loss, (0, 1))(*wide)
        for which, gradient in enumerate(gradients):
            for place in np.ndindex(gradient.shape):
                step = np.zeros(gradient.shape)
                step[place] = 1e-4
                moved = [list(wide), list(wide)]
                for sign, args in zip((1, -1), moved, strict=True):
                    args[which] = args[which] + sign * step
                slope = (loss(*moved[0]) - loss(*moved[1])) / 2e-4
                # the pixel grid inside resolve is float32: exact at these sizes
                np.testing.assert_allclose(gradient[place], slope, rtol=1e-4, atol=1e-4)
    eager = jax.grad(
        lambda v: api.rasterize(v, triangles, HEIGHT, WIDTH, perspective=perspective).depth.sum()
    )(jnp.asarray(vertices))
    assert np.all(np.isfinite(eager)) and np.abs(eager).max() > 0


@pytest.mark.parametrize("perspective", [False, True])
def test_gradients_are_finite_for_degenerate_triangles(perspective):
    vertices = np.float32([[2, 2, 1], [2, 2, 1], [2, 2, 1], [0, 0, 2], [9, 0, 2], [0, 9, 2]])
    vertices = np.concatenate([vertices, np.float32([[np.nan, 0, 1], [4, 4, 0], [20, 4.001, 1]])])
    triangles = jnp.array([[0, 1, 2], [0, 0, 3], [3, 4, 5], [6, 3, 4], [3, 7, 8], [0, 8, 7]])

    def loss(vertices):
        raster = api.rasterize(vertices, triangles, HEIGHT, WIDTH, perspective=perspective)
        image = api.interpolate(vertices, triangles, raster)
        return (image**2).sum() + (raster.depth**2).sum() + raster.barycentric.sum()

    gradient = jax.grad(loss)(jnp.asarray(vertices))
    assert np.all(np.isfinite(gradient))
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("perspective", [False, True])
def test_the_kernel_draws_what_the_list_draws(perspective):
    """Bit for bit: ties, slivers, views, a size that is no multiple of the tile."""
    soups = [soup(seed, count=450, z_low=0.5) for seed in range(2)]
    views = np.stack([vertices for vertices, _ in soups])
    closed, closed_triangles = grid(0, 22, 40, integer=True)
    views[:, : len(closed)] = closed
    views[0, : len(closed), 2] = 1  # ties everywhere in the first view
    triangles = np.concatenate([closed_triangles, soups[0][1][len(closed) // 3 + 1 :]])
    options = {"cull": "none", "perspective": perspective}
    drawn = [
        np.asarray(api.rasterize(views, triangles, HEIGHT, WIDTH, backend=name, **options).triangle)
        for name in ("xla", "pallas_interpret")
    ]
    assert (drawn[0] >= 0).all() and len(np.unique(drawn[0])) > 100
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_the_kernel_asks_for_more_and_maps_over_a_further_axis():
    triangles = soup(0)[1]
    views = jnp.stack([jnp.asarray(soup(seed)[0]) for seed in range(2)])[:, None]
    draw = lambda capacity: (
        lambda view: pallas.triangle_ids(
            view, triangles, HEIGHT, WIDTH, capacity=capacity, interpret=True
        )
    )
    ids, needed = jax.jit(jax.vmap(draw(2048)))(views)
    assert int(jax.jit(draw(64))(views[0])[1]) == int(needed[0]) > 64
    expected = api.rasterize(views, triangles, HEIGHT, WIDTH).triangle
    np.testing.assert_array_equal(ids, expected)


def test_an_unknown_backend_and_a_list_beyond_float32_raise():
    with pytest.raises(ValueError, match="backend is 'cuda'"):
        api.rasterize(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]]), 8, 8, backend="cuda")
    with pytest.raises(ValueError, match="expected at most 16777216"):
        find_ids(jnp.zeros((1, 3, 3)), np.array([[0, 1, 2]]), 8, 8, capacity=2**25)


@pytest.mark.parametrize("length", [1, 128, 129, 20_000])
def test_sums_by_products_are_the_sums(length):
    count = np.random.default_rng(length).integers(0, 800, length).astype(np.int32)
    np.testing.assert_array_equal(faces._sum_by_products(jnp.asarray(count)), np.cumsum(count))


def test_lists_are_a_few_lengths_and_at_most_an_eighth_too_long():
    lengths = {api.fit_capacity(needed) for needed in range(1, 2**14)}
    assert len(lengths) < 15 * api.STEPS
    assert all(n <= api.fit_capacity(n) <= n + n // api.STEPS + 1 for n in range(1, 2**14))


@pytest.mark.parametrize(
    ("platform", "backend", "expected", "absent"),
    [("cuda", "pallas", "triton", "ui64"), ("tpu", None, "scatter", "ui64")],
)
def test_programs_for_accelerators_hold_what_their_compilers_take(
    platform, backend, expected, absent
):
    shapes = [
        jax.ShapeDtypeStruct((2, 40, 3), jnp.float32),
        jax.ShapeDtypeStruct((60, 3), jnp.int32),
    ]
    find = jax.jit(lambda *a: api.find_triangles(*a, 48, 40, capacity=512, backend=backend))
    program = find.trace(*shapes).lower(lowering_platforms=(platform,)).as_text()
    assert expected in program and absent not in program
