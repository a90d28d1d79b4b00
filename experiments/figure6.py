"""Figure 6: error over the number of source frames, evenly picked.

Run: ./avatar python -m experiments.figure6 --out out/figure6  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import LPIPS, PLAIN, Experiment, Part

EXPERIMENT = Experiment(
    "figure6",
    "Figure 6: error over the number of source frames, evenly picked",
    (Part("vfhq", "frames_curve", LPIPS, PLAIN),),
    ("ours", "one_shot", "one_shot_averaged", "conv_fusion", "att_fusion", "textured_mesh"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
