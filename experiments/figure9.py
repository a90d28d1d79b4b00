"""Figure 9: avatars of several frames beside those of one, and of averages.

Run: ./avatar python -m experiments.figure9 --out out/figure9  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import LPIPS, PLAIN, Experiment, Part

EXPERIMENT = Experiment(
    "figure9",
    "Figure 9: avatars of several frames beside those of one, and of averages",
    (Part("vfhq", "few_shot", LPIPS, PLAIN),),
    ("ours", "one_shot", "one_shot_averaged", "textured_mesh", "otavatar"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
