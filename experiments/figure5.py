"""Figure 5: a stream of eight frames, after four and after all.

Run: ./avatar python -m experiments.figure5 --out out/figure5  [--smoke]
"""

import sys

from experiments.evaluation import driver
from experiments.evaluation.experiment import LPIPS, PLAIN, Experiment, Part

EXPERIMENT = Experiment(
    "figure5",
    "Figure 5: a stream of eight frames, after four and after all",
    (Part("stream", "stream", LPIPS, PLAIN),),
    ("ours", "conv_fusion"),
    every_count=True,
)

if __name__ == "__main__":
    sys.exit(driver.main(EXPERIMENT))
