"""VFHQ: clips of faces."""

from tfds_builders.frame_records import ReleasedBuilder


class Builder(ReleasedBuilder):
    """Frame records of VFHQ."""

    DESCRIPTION = "VFHQ: some 16,000 clips of people in interviews, cropped and tracked."
    HOMEPAGE = "https://liangbinxie.github.io/projects/vfhq/"
    CITATION = """@inproceedings{xie2022vfhq,
  title={{VFHQ}: A High-Quality Dataset and Benchmark for Video Face Super-Resolution},
  author={Xie, Liangbin and Wang, Xintao and Zhang, Honglun and Dong, Chao and Shan, Ying},
  booktitle={CVPR Workshops},
  year={2022}
}"""
