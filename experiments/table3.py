"""Table 3: avatars of several frames, scored on later ones.

Run: ./avatar python -m experiments.table3 --out out/table3  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import OURS_ALONE, RECONSTRUCTION, Experiment, Part

EXPERIMENT = Experiment(
    "table3",
    "Table 3: avatars of several frames, scored on later ones",
    (Part("vfhq", "few_shot", RECONSTRUCTION, OURS_ALONE),),
    ("ours", "one_shot", "one_shot_averaged", "textured_mesh", "otavatar"),
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
