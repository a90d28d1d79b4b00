"""The square crop around a head that EG3D's networks expect, steady over time."""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from invertavatar_jax.fit.camera import FOCAL, RADIUS
from invertavatar_jax.fit.landmarks import crop as cut
from invertavatar_jax.fit.morphable import HeadModel

# Eyes, tip of the nose, corners of the mouth: pairs of landmarks whose mean is the point.
FIVE_POINTS = np.array([[33, 133], [263, 362], [4, 4], [61, 61], [291, 291]])
ANCHOR = np.array([0.0, 0.0, 0.147])  # world; this point of the head is the crop's centre
SIDES_PER_UNIT = FOCAL / (RADIUS - ANCHOR[2])  # crop sides that one world unit covers there
LONGEST_GAP = 6  # frames that smoothing reaches across
SMOOTHING_FRAMES = 3.0  # standard deviation; TRAINING F.2

Points = Float[np.ndarray, "t 478 c"]


def five_points(head: HeadModel) -> Float[np.ndarray, "5 3"]:
    """The template's five points, in world units.

    Raises: ValueError where the head model has no such landmarks.
    """
    known = {int(number): row for row, number in enumerate(head.landmark_index)}
    missing = sorted(set(FIVE_POINTS.ravel()) - set(known))
    if missing:
        raise ValueError(f"the head model lacks the landmarks {missing}; run build_landmarks")
    corners = head.template[head.landmark_vertices]
    points = (corners * head.landmark_weights[..., None]).sum(1)
    rows = np.vectorize(known.__getitem__)(FIVE_POINTS)
    return points[rows].mean(1)


def find_crops(
    head: HeadModel, points: Points, has_face: Bool[np.ndarray, " t"], *, steady: bool
) -> Float[np.ndarray, "t 3 3"]:
    """source_from_crop for unit crops: (0, 0) to (1, 1) maps to the square in source pixels.

    A weak perspective camera is fitted to five points; the anchor's image is the centre and
    the scale sets the side, so that a frontal camera stands at the radius of EG3D's. Frames
    without a face get the crop of the nearest frame that has one.

    Source: EG3D's preprocessing after Deep3DFaceRecon (POS); TRAINING section F.
    Deviation: EG3D centres 0.03 units lower and takes 2.6 % less of the picture.
    """
    five = points[:, FIVE_POINTS, :2].mean(2)
    known = np.flatnonzero(has_face)
    if steady:
        runs = find_runs(five[known], known)
        five[known] = smooth(five[known], known, runs, SMOOTHING_FRAMES)
    model = five_points(head) - ANCHOR
    windows = np.zeros((len(points), 3, 3))
    for i in known:
        scale, centre = weak_perspective(model, five[i])
        side = scale / SIDES_PER_UNIT
        left_top = centre - side / 2
        windows[i] = [[side, 0, left_top[0]], [0, side, left_top[1]], [0, 0, 1]]
    nearest = known[np.abs(np.arange(len(points))[:, None] - known).argmin(1)]
    return windows[nearest]


def five_scale(five: Float[np.ndarray, "t 5 2"]) -> Float[np.ndarray, " t"]:
    """Size of each face: root mean square distance of the five points from their mean."""
    centred = five - five.mean(1, keepdims=True)
    return np.sqrt(np.square(centred).sum(-1).mean(-1))


def weak_perspective(
    model: Float[np.ndarray, "n 3"], image: Float[np.ndarray, "n 2"]
) -> tuple[float, Float[np.ndarray, "2"]]:
    """Scale (pixels per unit) and image of the model's origin, by least squares."""
    design = np.concatenate((model, np.ones((len(model), 1))), axis=1)
    affine = np.linalg.lstsq(design, image, rcond=None)[0]
    scale = float(np.linalg.norm(affine[:3], axis=0).mean())
    return scale, affine[3]


def find_runs(
    five: Float[np.ndarray, "n 5 2"], index: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Numbers the stretches of frames without a cut or a long gap.

    Args:
        index: each frame's place in time; a gap of more than LONGEST_GAP separates.
    """
    moves = np.linalg.norm(np.diff(five.mean(1), axis=0), axis=-1)
    size = five_scale(five)
    grown = np.abs(np.log(size[1:] / size[:-1]))
    separate = (np.diff(index) > LONGEST_GAP) | (moves > size[1:]) | (grown > 0.3)
    return np.concatenate(([0], np.cumsum(separate)))


def smooth(
    values: Float[np.ndarray, "n ..."],
    index: Int[np.ndarray, " n"],
    runs: Int[np.ndarray, " n"],
    sigma: float,
) -> Float[np.ndarray, "n ..."]:
    """Gaussian means over time within each run; `sigma` in frames.

    At the ends of a run, where the neighbours are on one side, a line takes the mean's place,
    so that a moving head is not pulled back.
    """
    result = np.empty_like(values)
    for i in range(len(values)):
        near = slice(max(0, i - int(4 * sigma)), i + int(4 * sigma) + 1)
        time = (index[near] - index[i]) / sigma
        weight = np.exp(-0.5 * time**2) * (runs[near] == runs[i])
        weight /= weight.sum()
        late = time - weight @ time  # 0 on average
        spread = weight @ late**2
        slope = weight * late / spread if spread > 1e-6 else 0.0
        result[i] = np.tensordot(weight - slope * (weight @ time), values[near], axes=1)
    return result


def cut_crop(
    picture: UInt8[np.ndarray, "h w 3"], window: Float[np.ndarray, "3 3"], size: int
) -> UInt8[np.ndarray, "s s 3"]:
    """The crop at `size` pixels; black beyond the picture."""
    side, left, top = window[0, 0], window[0, 2], window[1, 2]
    return cut(picture, left, top, side, side, (size, size))


def inside(
    picture: UInt8[np.ndarray, "h w 3"], window: Float[np.ndarray, "3 3"], size: int
) -> Bool[np.ndarray, "s s"]:
    """Which pixels of the crop show the picture rather than what lies beyond it."""
    centres = (np.arange(size) + 0.5) / size * window[0, 0]
    within = lambda at, length: (at >= 0) & (at <= length)
    columns = within(centres + window[0, 2], picture.shape[1])
    rows = within(centres + window[1, 2], picture.shape[0])
    return rows[:, None] & columns
