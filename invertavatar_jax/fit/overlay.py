"""Pictures to judge a fit by: the mesh and the landmarks drawn over the crops."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from invertavatar_jax.fit.camera import project
from invertavatar_jax.fit.morphable import HeadModel, vertices
from invertavatar_jax.types import Camera, FaceFit

MESH, EYES, POINTS = (90, 220, 255), (255, 220, 60), (255, 60, 90)


def draw_mesh(
    head: HeadModel, fit: FaceFit, frame: int, *, points: bool = True
) -> UInt8[np.ndarray, "h w 3"]:
    """The crop of a frame with the mesh's outlines and the detected landmarks over it."""
    picture = fit.image[frame]
    if not fit.has_face[frame]:
        return picture // 3
    size = picture.shape[0]
    placed = vertices(
        head, jnp.asarray(fit.identity), fit.expression[frame], jnp.asarray(fit.gaze_rad[frame])
    )
    camera = Camera(fit.camera.world_from_camera[frame], fit.camera.intrinsics[frame])
    image, _ = project(camera, np.asarray(placed))
    canvas = Image.fromarray(picture).convert("RGB")
    draw = ImageDraw.Draw(canvas, "RGBA")
    names = np.array(head.part_names)[head.triangle_part]
    for part, colour in (("skin", MESH), ("eye_l", EYES), ("eye_r", EYES)):
        _draw_edges(draw, image * size, head, names == part, colour)
    for x, y in fit.landmarks_px[frame] if points else ():
        draw.point((float(x), float(y)), fill=POINTS)
    return np.asarray(canvas)


def _draw_edges(
    draw: ImageDraw.ImageDraw,
    image_px: Float[np.ndarray, "v 2"],
    head: HeadModel,
    chosen: np.ndarray,
    colour: tuple[int, int, int],
) -> None:
    on_face = head.face_mask[head.triangles].min(1) > 0
    for start, end in _front_edges(image_px, head.triangles[chosen & on_face]):
        line = (*image_px[start].tolist(), *image_px[end].tolist())
        draw.line(line, fill=(*colour, 110))


def _front_edges(
    image_px: Float[np.ndarray, "v 2"], triangles: Int[np.ndarray, "f 3"]
) -> Int[np.ndarray, "e 2"]:
    """Edges of the triangles that face the camera, each once."""
    a, b, c = (image_px[triangles[:, k]] for k in range(3))
    across, along = b - a, c - a
    # the image's y points down, so counter-clockwise triangles turn the other way there
    front = across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0] < 0
    edges = triangles[front][:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    return np.unique(np.sort(edges, axis=1), axis=0)


def contact_sheet(
    head: HeadModel, fit: FaceFit, *, columns: int = 6, rows: int = 4, side: int = 256
) -> UInt8[np.ndarray, "h w 3"]:
    """Frames spread over the clip with the mesh over them, in reading order."""
    count = min(columns * rows, len(fit.has_face))
    columns = min(columns, count)
    chosen = np.linspace(0, len(fit.has_face) - 1, count).round().astype(int)
    sheet = np.zeros((-(-count // columns) * side, columns * side, 3), np.uint8)
    for k, frame in enumerate(chosen):
        tile = Image.fromarray(draw_mesh(head, fit, int(frame))).resize((side, side))
        ImageDraw.Draw(tile).text((4, 2), str(fit.frame_index[frame]), fill=(255, 255, 255))
        top, left = k // columns * side, k % columns * side
        sheet[top : top + side, left : left + side] = np.asarray(tile)
    return sheet
