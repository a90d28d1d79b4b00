"""Makes frame records of HDTF.

Run: python -m tfds_builders.hdtf --data LAYOUT --preset paper --out DIR
"""

import sys

from tfds_builders.command import main
from tfds_builders.hdtf.hdtf_dataset_builder import Builder

if __name__ == "__main__":
    sys.exit(main(Builder))
