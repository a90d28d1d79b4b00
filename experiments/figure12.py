"""Figure 12: error over the number of source frames, drawn in random order.

Run: ./avatar python -m experiments.figure12 --out out/figure12  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import LPIPS, PLAIN, Experiment, Part

EXPERIMENT = Experiment(
    "figure12",
    "Figure 12: error over the number of source frames, drawn in random order",
    (Part("vfhq", "frames_curve_unordered", LPIPS, PLAIN),),
    ("ours", "att_fusion", "conv_fusion", "one_shot_averaged"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
