"""Checks of stored arrays by themselves: rasters, UV maps and coefficients."""

import numpy as np
from jaxtyping import Float, Shaped

from invertavatar_jax.data.doctor.findings import Problem
from invertavatar_jax.data.released import SIDE
from invertavatar_jax.fit.faceverse import COUNT, SLICES

AGAIN = "make the maps again from the fitted head"
BETWEEN = 0.15  # of a mask's texels may be partly covered: edges
LEAST_FACE = 0.05  # share of a raster that shows the face
LEAST_SEEN = 0.01  # share of the UV map that is seen
OUTSIDE = 0.2  # of the seen texels may fall beside the picture, as the released maps allow
LARGEST = {"identity": 30.0, "expression": 15.0, "angles": 7.0, "eyes": 2.0}  # radians for two
AGREE = 0.25  # between the two files of a frame's coefficients; smoothing moves them less

Array = Shaped[np.ndarray, "..."]


def array_holds_real_numbers(array: Array) -> Problem | None:
    """Arrays are of float16 or float32."""
    if array.dtype.kind != "f":
        fix = "save real numbers"
        return Problem("type", "float16 or float32", str(array.dtype), fix)
    return None


def raster_has_the_layouts_shape(raster: Array) -> Problem | None:
    """u, v, mask, visible at 256 x 256."""
    return _shaped(raster, (SIDE, SIDE, 4))


def uv_has_the_layouts_shape(uv: Array) -> Problem | None:
    """x, y, visible at 256 x 256."""
    return _shaped(uv, (SIDE, SIDE, 3))


def coefficients_are_610(coefficients: Array) -> Problem | None:
    """Identity 150, expression 171, texture 251, angles 3, light 27, shift 3, eyes 4, scale 1."""
    return _shaped(coefficients, (COUNT,))


def raster_coefficients_are_610(raster_coefficients: Array) -> Problem | None:
    """As the coefficients."""
    return _shaped(raster_coefficients, (COUNT,))


def array_is_finite(array: Array) -> Problem | None:
    """No number is NaN or infinite."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = ", ".join(map(str, bad[0]))
        fix = "track the frame again or leave it out"
        found = f"{len(bad)} others, the first at [{where}]"
        return Problem("values", "finite numbers", found, fix)
    return None


def raster_is_in_range(raster: Array) -> Problem | None:
    """u and v are in [-1, 1], mask and visibility in [0, 1]."""
    largest = np.abs(raster.astype(np.float64)).max()
    if largest > 1.01 or raster[..., 2:].min() < -0.01:
        found = f"{raster.min():.3g} to {raster.max():.3g}"
        return Problem("values", "u, v in [-1, 1], mask in [0, 1]", found, AGAIN)
    return None


def raster_mask_is_binary(raster: Array) -> Problem | None:
    """Only the edges of the face are partly covered."""
    return _binary(raster[..., 2], "mask")


def raster_shows_a_face(raster: Array) -> Problem | None:
    """The mask covers a face's share of the raster."""
    share = float((raster[..., 2] >= 0.5).mean())
    if share < LEAST_FACE:
        found = f"{share:.1%} of the raster"
        return Problem("mask", f"a face, {LEAST_FACE:.0%} or more", found, AGAIN)
    return None


def raster_mask_is_where_uv_is(raster: Array) -> Problem | None:
    """u and v are 0 where the mask is, and not where it is not."""
    drawn, mask = (raster[..., :2] != 0).any(-1), raster[..., 2] >= 0.5
    astray = float((drawn != mask).mean())
    if astray > 0.25:
        found = f"{astray:.0%} of the raster otherwise: inverted, or of another frame"
        return Problem("mask", "1 where u and v are drawn, 0 elsewhere", found, AGAIN)
    return None


def uv_visibility_is_binary(uv: Array) -> Problem | None:
    """A texel is seen, 1, or not, 0, but for edges."""
    return _binary(uv[..., 2], "visible")


def uv_sees_something(uv: Array) -> Problem | None:
    """Some texels are seen."""
    share = float((uv[..., 2] >= 0.5).mean())
    if share < LEAST_SEEN:
        expected = f"{LEAST_SEEN:.0%} or more of the texels"
        return Problem("visible", expected, f"{share:.1%}", AGAIN)
    return None


def uv_is_in_range(uv: Array) -> Problem | None:
    """What is seen falls in the picture, in [-1, 1]."""
    seen = uv[uv[..., 2] >= 0.5, :2].astype(np.float64)
    outside = float((np.abs(seen) > 1.01).any(-1).mean())
    if outside > OUTSIDE:
        found, fix = f"{seen.min():.3g} to {seen.max():.3g}", "give 2 * pixel / side - 1"
        return Problem("x, y", "[-1, 1] where visible", found, fix)
    return None


def coefficients_are_not_zero(coefficients: Array) -> Problem | None:
    """Someone was fitted."""
    if not np.any(coefficients[: SLICES["texture"].start]):
        fix = "fit the frame again or leave it out"
        return Problem("identity and expression", "a fitted face", "zeros alone", fix)
    return None


def coefficients_have_a_scale(coefficients: Array) -> Problem | None:
    """The head's scale is positive."""
    scale = float(coefficients[-1])
    if not 0 < scale < 100:
        return Problem("scale", "above 0 and below 100", f"{scale:.3g}", "fit the frame again")
    return None


def coefficients_are_in_range(coefficients: Array) -> Problem | None:
    """No coefficient is beyond what a face does."""
    for name, most in LARGEST.items():
        largest = float(np.abs(coefficients[SLICES[name]]).max())
        if largest > most:
            fix = "fit the frame again or leave it out"
            return Problem(name, f"at most {most:g} in size", f"{largest:.3g}", fix)
    return None


def coefficients_are_the_same_twice(
    raster_coefficients: Array, coefficients: Array
) -> Problem | None:
    """The coefficients beside a raster are those of its frame."""
    apart = np.abs(raster_coefficients - coefficients)[: SLICES["texture"].start]
    if apart.max() > AGREE:
        name = "identity" if apart.argmax() < SLICES["expression"].start else "expression"
        expected = f"the numbers of coeffs, within {AGREE:g}"
        found = f"{apart.max():.2g} between them"
        return Problem(name, expected, found, "copy the frame's own file again")
    return None


CHECKS = (
    array_holds_real_numbers,
    raster_has_the_layouts_shape,
    uv_has_the_layouts_shape,
    coefficients_are_610,
    raster_coefficients_are_610,
    array_is_finite,
    raster_is_in_range,
    raster_mask_is_binary,
    raster_shows_a_face,
    raster_mask_is_where_uv_is,
    uv_visibility_is_binary,
    uv_sees_something,
    uv_is_in_range,
    coefficients_are_not_zero,
    coefficients_have_a_scale,
    coefficients_are_in_range,
    coefficients_are_the_same_twice,
)


def identity(coefficients: Array) -> Float[np.ndarray, "150"]:
    """The part of a frame's coefficients that its clip shares."""
    return np.asarray(coefficients[SLICES["identity"]], np.float32)


def _binary(mask: Array, field: str) -> Problem | None:
    values = mask.astype(np.float64)
    share = ((values > 0.02) & (values < 0.98)).sum() / max((values > 0.02).sum(), 1)
    if share > BETWEEN or values.max() > 1.02 or values.min() < -0.02:
        found = f"{values.min():.3g} to {values.max():.3g}, {share:.0%} of it between"
        return Problem(field, "0 or 1 but for edges", found, AGAIN)
    return None


def _shaped(array: Array, shape: tuple[int, ...]) -> Problem | None:
    if array.shape != shape:
        return Problem("shape", str(shape), str(array.shape), AGAIN)
    return None
