"""Figure 13: avatars of one photo, driven by others, seen from the sides, and their geometry.

Run: ./avatar python -m experiments.figure13 --out out/figure13  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import REENACTMENT, Experiment, Part

EXPERIMENT = Experiment(
    "figure13",
    "Figure 13: avatars of one photo, driven by others, seen from the sides, and their geometry",
    (Part("cross", "cross_identity", REENACTMENT),),
    ("ours",),
    views=True,
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
