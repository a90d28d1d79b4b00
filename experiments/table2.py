"""Table 2: avatars of one photo, driven by the same person and by others.

Run: ./avatar python -m experiments.table2 --out out/table2  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import (
    OURS_ALONE,
    RECONSTRUCTION,
    REENACTMENT,
    Experiment,
    Part,
)

EXPERIMENT = Experiment(
    "table2",
    "Table 2: avatars of one photo, driven by the same person and by others",
    (
        Part("hdtf_self", "self_reenactment", RECONSTRUCTION, OURS_ALONE),
        Part("hdtf_cross", "cross_identity", REENACTMENT),
        Part("celeba_cross", "celeba_cross", REENACTMENT),
    ),
    ("ours", "our_pti", "textured_mesh", "otavatar", "next3d_pti", "styleheat", "rome"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
