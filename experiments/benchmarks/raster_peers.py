"""Other rasterizers that find the triangle of each pixel on a CPU; each draws all views a call.

Front triangles only: those that turn counterclockwise with row 0 at the top. All take NumPy
arrays and return NumPy arrays, so the way to and from a device is in every time.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from invertavatar_jax.errors import UserError

Draw = Callable[[], Int[np.ndarray, "b h w"]]


def load(name: str) -> Any:
    """Imports a peer.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"The benchmark's peer {name} cannot be imported ({error}); "
            "install the peers with ./avatar setup requirements-bench.txt."
        ) from error


def deodr(
    views: Float[np.ndarray, "b v 3"], faces: Int[np.ndarray, "f 3"], size: int, *, ids: bool = True
) -> Draw:
    """DEODR's C++ rasterizer, one call a view, without its differentiable edges.

    It has no triangle numbers, so with `ids` they are an attribute of unshared corners. Without,
    corners are shared and the one attribute is constant: the least that it can draw.
    """
    renderer = load("deodr.differentiable_renderer")
    count, corners = len(faces), 3 * len(faces) if ids else views.shape[1]
    own = (np.arange(corners).reshape(-1, 3) if ids else faces).astype(np.uint32)
    attribute = np.repeat(np.arange(count) + 1.0, 3)[:, None] if ids else np.ones((corners, 1))
    none = np.zeros(count, bool)
    scene = dict(
        faces=own,
        faces_uv=np.zeros_like(own),
        textured=none,
        uv=np.zeros((1, 2)),
        shade=np.zeros(corners),
        colors=attribute,
        shaded=none,
        edgeflags=np.zeros((count, 3), bool),
        height=size,
        width=size,
        nb_colors=1,
        texture=np.zeros((0, 0, 1)),
        background_color=np.zeros(1),
        strict_edge=False,
        integer_pixel_centers=False,
    )

    def draw() -> np.ndarray:
        images = np.zeros((len(views), size, size, 1))
        for view, image in zip(views, images, strict=True):
            points = view[faces.ravel()] if ids else view
            ij = np.ascontiguousarray(points[:, :2], np.float64)
            drawn = renderer.Scene2DBase(ij=ij, depths=np.float64(points[:, 2]), **scene)
            depth = np.zeros((size, size))
            renderer.renderScene(drawn, 0.0, image, depth, check_valid=False)
        return np.rint(images[..., 0]).astype(np.int32) - 1

    return draw


VERTEX = """#version 330
in vec3 place; uniform float size;
void main() { gl_Position = vec4(2.0 * place.xy / size - 1.0, place.z - 1.5, 1.0); }"""
FRAGMENT = """#version 330
out int number;
void main() { number = gl_PrimitiveID + 1; }"""


def opengl(
    views: Float[np.ndarray, "b v 3"], faces: Int[np.ndarray, "f 3"], size: int
) -> tuple[Draw, str]:
    """OpenGL by EGL: vertices up, all views into one 32-bit image, that image back.

    Triangles are uploaded beforehand. Returns the name of the driver, too.
    """
    moderngl = load("moderngl")
    try:
        context = moderngl.create_standalone_context(backend="egl")
    except Exception as error:
        raise UserError(
            f"moderngl found no EGL ({error}); on Debian or Ubuntu install "
            "libegl1 and libgl1-mesa-dri."
        ) from error
    program = context.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
    program["size"].value = size
    index = context.buffer(np.ascontiguousarray(faces, np.int32).tobytes())
    buffers = [context.buffer(reserve=view.nbytes) for view in views]
    arrays = [context.vertex_array(program, [(b, "3f", "place")], index) for b in buffers]
    whole = (size, size * len(views))
    image = context.renderbuffer(whole, 1, dtype="i4")
    frame = context.framebuffer([image], context.depth_renderbuffer(whole))
    context.enable(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
    context.front_face = "cw"  # as OpenGL sees it, with row 0 at the bottom
    numbers = np.empty((len(views), size, size), np.int32)

    def draw() -> np.ndarray:
        frame.use()
        frame.viewport = (0, 0, *whole)
        frame.clear(0, 0, 0, 0)
        for k, view in enumerate(views):
            buffers[k].write(view)
            frame.viewport = (0, k * size, size, size)
            arrays[k].render()
        frame.read_into(numbers, components=1, dtype="i4")
        return numbers - 1

    return draw, context.info["GL_RENDERER"]


def compiled_loop(
    views: Float[np.ndarray, "b v 3"], faces: Int[np.ndarray, "f 3"], size: int
) -> Draw:
    """A z-buffer as one would write it by hand, compiled by numba, on one core."""
    loop = load("numba").njit(_draw_view)

    def draw() -> np.ndarray:
        ids = np.full((len(views), size, size), -1, np.int32)
        depth = np.full((len(views), size, size), np.inf, np.float32)
        for k, view in enumerate(views):
            loop(view, faces, ids[k], depth[k])
        return ids

    return draw


def _draw_view(view, faces, ids, depth):
    size = ids.shape[0]
    for number in range(len(faces)):
        a, b, c = view[faces[number, 0]], view[faces[number, 1]], view[faces[number, 2]]
        e1x, e1y, e2x, e2y = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
        area = e1x * e2y - e2x * e1y
        if not area < 0:
            continue
        left = max(int(np.ceil(min(a[0], b[0], c[0]) - 0.5)), 0)
        right = min(int(np.floor(max(a[0], b[0], c[0]) - 0.5)), size - 1)
        top = max(int(np.ceil(min(a[1], b[1], c[1]) - 0.5)), 0)
        bottom = min(int(np.floor(max(a[1], b[1], c[1]) - 0.5)), size - 1)
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                dx, dy = column + 0.5 - a[0], row + 0.5 - a[1]
                w1, w2 = (dx * e2y - e2x * dy) / area, (e1x * dy - dx * e1y) / area
                if w1 >= 0 and w2 >= 0 and w1 + w2 <= 1:
                    z = a[2] + w1 * (b[2] - a[2]) + w2 * (c[2] - a[2])
                    if z < depth[row, column]:
                        depth[row, column] = z
                        ids[row, column] = number
