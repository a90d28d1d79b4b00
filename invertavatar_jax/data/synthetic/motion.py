"""Faces in motion: expressions with ARKit's names, gaze, and the camera of a head's pose."""

import numpy as np
from jaxtyping import Float

from invertavatar_jax.fit.morphable import HeadModel

FOCAL, RADIUS = 4.2647, 2.7
ANCHOR = np.array([0.0, 0.0, 0.147])  # of the crop: see fit/crop.py
# Typical movements: coefficients at full strength; a name without side stands for both sides.
MOVEMENTS = {
    "smile": {"mouthSmile": 0.9, "cheekSquint": 0.5, "mouthUpperUp": 0.25, "eyeSquint": 0.3},
    "grin": {"mouthSmile": 0.9, "mouthUpperUp": 0.8, "mouthLowerDown": 0.35, "jawOpen": 0.10,
             "cheekSquint": 0.6},
    "beam": {"mouthSmile": 0.8, "mouthUpperUp": 0.9, "jawOpen": 0.2, "mouthStretch": 0.2},
    "laugh": {"mouthSmile": 0.9, "jawOpen": 0.5, "cheekSquint": 0.7, "eyeSquint": 0.5,
              "mouthUpperUp": 0.7},
    "talk": {"jawOpen": 0.25, "mouthUpperUp": 0.45, "mouthLowerDown": 0.3},
    "surprise": {"jawOpen": 0.6, "eyeWide": 0.9, "browInnerUp": 0.9, "browOuterUp": 0.9},
    "frown": {"browDown": 0.9, "mouthFrown": 0.7, "eyeSquint": 0.3},
    "anger": {"browDown": 1.0, "noseSneer": 0.6, "mouthPress": 0.5, "mouthShrugUpper": 0.3},
    "sad": {"browInnerUp": 0.9, "mouthFrown": 0.8, "mouthShrugLower": 0.5},
    "disgust": {"noseSneer": 1.0, "mouthUpperUp": 0.6, "browDown": 0.5, "eyeSquint": 0.4},
    "ah": {"jawOpen": 0.55, "mouthLowerDown": 0.3, "mouthUpperUp": 0.3},
    "oh": {"jawOpen": 0.4, "mouthFunnel": 0.8},
    "oo": {"mouthPucker": 0.9, "mouthFunnel": 0.3},
    "ee": {"mouthStretch": 0.6, "mouthSmile": 0.3, "jawOpen": 0.15, "mouthLowerDown": 0.4,
           "mouthUpperUp": 0.5},
    "mm": {"mouthPress": 0.7, "mouthRollLower": 0.5, "mouthRollUpper": 0.5},
    "ff": {"mouthRollLower": 0.7, "mouthUpperUp": 0.35, "jawOpen": 0.06},
    "puff": {"cheekPuff": 0.9, "mouthClose": 0.05},
    "jaw": {"jawForward": 0.6},
    "tongue": {"jawOpen": 0.5, "tongueOut": 0.8},
}  # fmt: skip
FREQUENT = ("smile", "grin", "beam", "talk", "ee", "ah")


def sample_expressions(
    rng: np.random.Generator, head: HeadModel, frames: int
) -> Float[np.ndarray, "t e"]:
    """Coefficients in [0, 1] of unrelated moments: a movement or two, small twitches, blinks."""
    index = {name: i for i, name in enumerate(head.expression_names)}
    result = np.zeros((frames, len(index)), "f4")
    for frame in result:
        if rng.random() < 0.12:
            frame += 0.06 * rng.random(len(index)) * (rng.random(len(index)) < 0.2)
            continue
        odds = np.array([3.0 if name in FREQUENT else 1.0 for name in MOVEMENTS])
        count = 1 + (rng.random() < 0.4)
        for name in rng.choice(list(MOVEMENTS), count, replace=False, p=odds / odds.sum()):
            _add(rng, frame, index, MOVEMENTS[str(name)], rng.beta(1.6, 1.3))
        twitch = rng.random(len(index)) < 0.10
        frame += twitch * rng.beta(1, 4, len(index)) * 0.7
        if rng.random() < 0.5:
            frame[index["jawOpen"]] += 0.35 * rng.beta(1, 2)
        if rng.random() < 0.16:
            _add(rng, frame, index, {"eyeBlink": 1.0}, rng.beta(2, 1))
        frame[index["tongueOut"]] *= frame[index["jawOpen"]] > 0.25
        frame[index["mouthClose"]] = min(frame[index["mouthClose"]], frame[index["jawOpen"]])
    return np.clip(result, 0, 1)


def _add(rng, frame: np.ndarray, index: dict, movement: dict, strength: float) -> None:
    skew = rng.normal(0, 0.1)
    for name, value in movement.items():
        value = value * strength * rng.uniform(0.7, 1.2)
        for full, share in ((name, 1), (name + "Left", 1 + skew), (name + "Right", 1 - skew)):
            if full in index:
                frame[index[full]] = max(frame[index[full]], value * share)


def sample_gaze(rng: np.random.Generator, frames: int) -> Float[np.ndarray, "t 4"]:
    """Both eyes turn together, with a slight convergence."""
    yaw = rng.normal(0, 0.16, frames).clip(-0.5, 0.5)
    pitch = rng.normal(-0.02, 0.09, frames).clip(-0.3, 0.25)
    inward = rng.uniform(0, 0.05, frames)
    return np.stack([yaw - inward, pitch, yaw + inward, pitch], -1).astype("f4")


def follow_gaze(expression: np.ndarray, gaze_rad: np.ndarray, head: HeadModel) -> np.ndarray:
    """Lids and brows go with the eyes: sets the eyeLook coefficients from the gaze."""
    index = {name: i for i, name in enumerate(head.expression_names)}
    result = expression.copy()
    for side, column, out in (("Left", 0, 1.0), ("Right", 2, -1.0)):
        yaw, pitch = gaze_rad[:, column] * out / 0.5, gaze_rad[:, column + 1] / 0.4
        result[:, index[f"eyeLookOut{side}"]] = np.clip(yaw, 0, 1)
        result[:, index[f"eyeLookIn{side}"]] = np.clip(-yaw, 0, 1)
        result[:, index[f"eyeLookUp{side}"]] = np.clip(pitch, 0, 1)
        result[:, index[f"eyeLookDown{side}"]] = np.clip(-pitch, 0, 1)
    return result.astype("f4")


def sample_poses(rng: np.random.Generator, frames: int) -> Float[np.ndarray, "t 7"]:
    """Arguments of `camera`: around the head, as crops of turned heads give."""
    centre = np.array([rng.normal(0, 10), rng.normal(0, 5)])
    yaw = np.clip(centre[0] + rng.normal(0, 15, frames), -42, 42)
    pitch = np.clip(centre[1] + rng.normal(0, 7, frames), -22, 22)
    roll = np.clip(rng.normal(0, 4, frames), -11, 11)
    radius = RADIUS * np.exp(rng.normal(0, 0.03) + rng.normal(0, 0.012, frames))
    aim = ANCHOR + rng.normal(0, 0.010, 3) + rng.normal(0, 0.005, (frames, 3))
    return np.concatenate([np.stack([yaw, pitch, roll, radius], -1), aim], -1)


def cameras(poses: Float[np.ndarray, "t 7"]) -> Float[np.ndarray, "t 25"]:
    """EG3D's 25 numbers of every pose."""
    return np.stack([camera(*pose[:4], pose[4:]) for pose in poses])


def glide(moments: Float[np.ndarray, "k n"], frames: int, every: int) -> Float[np.ndarray, "t n"]:
    """A movement through moments that are `every` frames apart, slow at each of them."""
    place = np.arange(frames) / every
    before = np.minimum(place.astype(int), max(len(moments) - 2, 0))
    after = np.minimum(before + 1, len(moments) - 1)
    share = (0.5 - 0.5 * np.cos(np.pi * (place - before)))[:, None].astype(moments.dtype)
    return moments[before] * (1 - share) + moments[after] * share


def camera(
    yaw_deg: float, pitch_deg: float, roll_deg: float, radius: float, aim: np.ndarray
) -> Float[np.ndarray, "25"]:
    """A camera at `radius` from the origin's distance to `aim`, seen from yaw and pitch."""
    yaw, pitch, roll = np.deg2rad([yaw_deg, pitch_deg, roll_deg])
    outward = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.cross([0.0, 1.0, 0.0], outward)
    right /= np.linalg.norm(right)
    up = np.cross(outward, right)
    right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, -up, -outward], -1)
    pose[:3, 3] = aim + (radius - ANCHOR[2]) * outward
    intrinsics = np.array([[FOCAL, 0, 0.5], [0, FOCAL, 0.5], [0, 0, 1]])
    return np.concatenate([pose.ravel(), intrinsics.ravel()]).astype("f4")
