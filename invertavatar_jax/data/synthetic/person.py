"""Who a synthetic person is: shape of the head and the traits that painting follows."""

from importlib import resources
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from invertavatar_jax.data.synthetic import noise

# sRGB of skin from light to dark, and of hair; measured by eye on portraits.
SKIN = noise.linear([[0.93, 0.79, 0.71], [0.88, 0.71, 0.60], [0.79, 0.60, 0.47],
                     [0.66, 0.47, 0.35], [0.50, 0.34, 0.25], [0.34, 0.23, 0.17]])  # fmt: skip
SKIN_OF = {"african": (0.76, 0.14), "asian": (0.30, 0.12), "caucasian": (0.17, 0.12)}
HAIR = noise.linear([[0.07, 0.06, 0.055], [0.15, 0.11, 0.085], [0.26, 0.18, 0.12],
                     [0.40, 0.28, 0.17], [0.62, 0.48, 0.31], [0.46, 0.22, 0.11]])  # fmt: skip
HAIR_OF = {
    "african": (0.75, 0.2, 0.05, 0, 0, 0),
    "asian": (0.7, 0.2, 0.1, 0, 0, 0),
    "caucasian": (0.1, 0.22, 0.25, 0.2, 0.15, 0.08),
}
IRIS = noise.linear([[0.20, 0.12, 0.07], [0.33, 0.20, 0.10], [0.36, 0.34, 0.18],
                     [0.33, 0.45, 0.58], [0.42, 0.48, 0.50]])  # fmt: skip


class Person(NamedTuple):
    """Traits in [0, 1] unless said otherwise; colours in linear light."""

    identity: Float[np.ndarray, " k"]
    male: bool
    age: float  # 0 is about 20 years, 1 is about 75
    curl: float
    skin: Float[np.ndarray, "3"]
    hair: Float[np.ndarray, "3"]
    iris: Float[np.ndarray, "3"]


def load_group_means() -> dict[str, np.ndarray]:
    """Mean identity coefficients of sexes, ages and ethnicities in the bundled head model."""
    asset = resources.files("invertavatar_jax") / "assets/head_makehuman.npz"
    with asset.open("rb") as file, np.load(file) as data:
        names = [str(name) for name in data["group_names"]]
        return dict(zip(names, data["group_identity"], strict=True))


def sample_person(
    rng: np.random.Generator, components: int, means: dict[str, np.ndarray]
) -> Person:
    """Draws sex, age and ethnicity, then a face that goes with them, then colours."""
    male, age = bool(rng.random() < 0.5), float(rng.beta(1.1, 1.6))
    races = dict(zip(SKIN_OF, rng.dirichlet([0.35, 0.35, 0.5]), strict=True))
    shares = {"male": 1.0 * male, "female": 1.0 * (not male), "old": age, "young": 1 - age, **races}
    typical = sum(share * means[group] for group, share in shares.items())
    own = rng.normal(0, 0.75, components).clip(-1.9, 1.9)
    grey = rng.random() < 0.9 * max(age - 0.35, 0) + 0.02
    main = max(races, key=races.get)
    tone = sum(races[r] * rng.normal(*SKIN_OF[r]) for r in races)
    hair = HAIR[rng.choice(len(HAIR), p=np.array(HAIR_OF[main]) / sum(HAIR_OF[main]))]
    silver = noise.linear([0.72, 0.71, 0.69]) * rng.uniform(0.35, 1.0)
    share = rng.uniform(0.4, 1.0) if grey else 0.0
    brown = races["african"] + races["asian"] > 0.35
    return Person(
        identity=(0.8 * typical[:components] + own).astype("f4"),
        male=male,
        age=age,
        curl=float(np.clip(races["african"] * 1.1 + rng.beta(0.6, 2.0), 0, 1)),
        skin=_skin(rng, tone),
        hair=(hair * np.exp(rng.normal(0, 0.2)) * (1 - share) + silver * share).astype("f4"),
        iris=IRIS[rng.integers(0, 2 if brown else 5)] * np.exp(rng.normal(0, 0.2)),
    )


def _skin(rng: np.random.Generator, tone: float) -> np.ndarray:
    place = np.clip(tone, 0.0, 1.0) * (len(SKIN) - 1)
    colour = np.array([np.interp(place, range(len(SKIN)), SKIN[:, c]) for c in range(3)])
    hue = np.array([rng.normal(0, 0.03), 0.0, rng.normal(0, 0.06)])  # towards pink, or olive
    return (colour * np.exp(hue + rng.normal(0, 0.05))).astype("f4")
