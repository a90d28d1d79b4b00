"""Draws docs/architecture.svg: the stages with their shapes at `paper` size, from the settings.

Run: ./avatar python experiments/architecture_figure.py [docs/architecture.svg]
"""

import sys
from html import escape
from pathlib import Path
from typing import NamedTuple

from invertavatar_jax import settings

STAGE, DATA, INK = "#dbe9f6", "#f5efdc", "#24323f"
LINE = 17  # pixels between lines of text
WIDTH = 280


# Left edge of each box.
COLUMNS = {
    **dict.fromkeys(("photos", "latent", "drive"), 20),
    **dict.fromkeys(("fit", "texture_unet", "texture", "blend", "face"), 340),
    **dict.fromkeys(("frame", "triplane_unet", "static", "render", "image"), 660),
}
DATA_BOXES = ("photos", "frame", "drive")


class Box(NamedTuple):
    """Text in a frame; x, y is the top left corner."""

    x: int
    y: int
    lines: list[str]

    @property
    def height(self) -> int:
        """Fits the text."""
        return 14 + LINE * len(self.lines)

    @property
    def middle(self) -> int:
        """Of the width."""
        return self.x + WIDTH // 2


def boxes(model: settings.Model) -> dict[str, Box]:
    """The figure's boxes, with shapes of one model."""
    base, view = model.backbone, model.renderer
    side, plane, size = base.resolution, model.plane_channels, view.image_resolution
    channels = model.texture_decoder.channels
    levels = " | ".join(f"{side >> (4 - i)}: {c}" for i, c in enumerate(channels))
    widths = " | ".join(f"{r}: {base.channels(r)}" for r in base.resolutions[-4:-1])
    top, bottom, left, right = model.raster_window
    decoder = f"IR-SE trunk, ConvGRU decoder:\n{levels}"
    rays = f"{view.neural_resolution}^2 rays x ({view.coarse_samples} + {view.fine_samples})"
    row = lambda y, **texts: {name: (y, text) for name, text in texts.items()}
    texts = row(
        20,
        photos="photos or a clip\nany number of frames, from 1",
        fit="fit/\nlandmarks -> identity, 52 expressions,\ngaze, camera (25), crop, matte",
        frame=f"Frame (frames.py)\nimage {_square(size, 3)}\nraster u, v, mask "
        f"{_square(model.raster_resolution, 3)}\nUV colour, position, visibility "
        f"{model.uv_resolution}^2",
    )
    texts |= row(
        170,
        latent=f"encode/  E_latent\nfirst frame only\nw_plus {base.w_count} x {model.w_dim}",
        texture_unet=f"encode/ + aggregate/  E_tex\nUV map with residual, 7 channels\n{decoder}",
        triplane_unet=f"encode/ + aggregate/  E_tri\nimage and residual, 6 channels\n{decoder}",
    )
    texts |= row(
        320,
        texture=f"generate/  G_tex + offsets\ntexture {widths}",
        static=f"generate/  G_static, modulated\n3 planes {_square(side, plane)}",
    )
    texts |= row(
        430,
        drive="Drive\nexpression, gaze -> mesh -> raster\nand a camera",
        blend="rasterize/  texture -> frontal plane\ndrawn at (u, v) over static features\n"
        f"rows {top}:{bottom}, columns {left}:{right}",
    )
    texts |= row(
        540,
        face=f"generate/  G_face\nfrontal plane {_square(side, plane)}",
        render=f"render/  volume\n{rays} samples\n"
        f"features {_square(view.neural_resolution, plane)}",
    )
    texts |= row(650, image=f"render/  super-resolution\nimage {_square(size, 3)}")
    return {name: Box(COLUMNS[name], y, text.split("\n")) for name, (y, text) in texts.items()}


def _square(side: int, channels: int) -> str:
    return f"{side} x {side} x {channels}"


ARROWS = (
    *(("photos", "fit"), ("fit", "frame"), ("frame", "latent"), ("frame", "texture_unet")),
    *(
        ("frame", "triplane_unet"),
        ("latent", "texture"),
        ("latent", "static"),
        ("texture_unet", "texture"),
    ),
    *(("triplane_unet", "static"), ("texture", "blend"), ("drive", "blend"), ("blend", "face")),
    *(("static", "render"), ("static", "blend"), ("face", "render"), ("render", "image")),
)


def draw_box(box: Box, colour: str) -> str:
    """A rounded rectangle with a title and lines of text."""
    parts = [
        f'<rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{box.height}" rx="8" '
        f'fill="{colour}" stroke="{INK}"/>'
    ]
    for row, line in enumerate(box.lines):
        weight = "bold" if row == 0 else "normal"
        y = box.y + 20 + LINE * row
        parts.append(f'<text x="{box.x + 12}" y="{y}" font-weight="{weight}">{escape(line)}</text>')
    return "\n".join(parts)


def draw_arrow(start: Box, end: Box) -> str:
    """Sideways between neighbours of one row, otherwise downwards."""
    if start.y == end.y:
        points = (start.x + WIDTH, start.y + 24, end.x, end.y + 24)
    else:
        points = (start.middle, start.y + start.height, end.middle, end.y)
    x1, y1, x2, y2 = points
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{INK}" marker-end="url(#tip)"/>'


def draw(model: settings.Model) -> str:
    """The whole figure as SVG."""
    placed = boxes(model)
    colour = lambda name: DATA if name in DATA_BOXES else STAGE
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 720" font-size="13"'
        f' font-family="Helvetica, Arial, sans-serif" fill="{INK}">',
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"'
        ' markerHeight="8" orient="auto"><path d="M 0 0 L 10 5 L 0 10 z"/></marker></defs>',
        '<rect width="960" height="720" fill="white"/>',
        *(draw_arrow(placed[start], placed[end]) for start, end in ARROWS),
        *(draw_box(box, colour(name)) for name, box in placed.items()),
        "</svg>\n",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/architecture.svg")
    target.write_text(draw(settings.preset("paper")))
