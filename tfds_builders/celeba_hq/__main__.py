"""Makes frame records of CelebA-HQ.

Run: python -m tfds_builders.celeba_hq --data LAYOUT --preset paper --out DIR
"""

import sys

from tfds_builders.celeba_hq.celeba_hq_dataset_builder import Builder
from tfds_builders.command import main

if __name__ == "__main__":
    sys.exit(main(Builder))
