"""Cameras against the golden case camera_utils; its notes give h, v, the target and r."""

import pytest

from invertavatar_jax.fit import camera
from tests.parity.golden import Case

NAMES = ("lookat0", "lookat1", "lookat2")


def angles(case: Case, name: str) -> tuple[float, float]:
    note = case.meta["outputs"][name]["note"]  # "h=1.2, v=1.4, lookat (0,0,.2), r 2.7"
    h, v = (float(part.split("=")[1]) for part in note.split(", ")[:2])
    return h, v


@pytest.fixture
def case() -> Case:
    return Case("camera_utils")


def test_every_output_of_the_case_is_reproduced(case):
    for name in NAMES:
        h, v = angles(case, name)
        case.check(name, camera.eg3d_orbit(h, v, (0.0, 0.0, 0.2), 2.7)[None])
    case.check("fov18.837", camera.intrinsics_of_view(18.837))
    case.done()
