"""HDTF: clips of talking faces."""

from tfds_builders.frame_records import ReleasedBuilder


class Builder(ReleasedBuilder):
    """Frame records of HDTF."""

    DESCRIPTION = "HDTF: 362 videos of talking people, 15.8 hours in all, cropped and tracked."
    HOMEPAGE = "https://github.com/MRzzm/HDTF"
    CITATION = """@inproceedings{zhang2021flow,
  title={Flow-Guided One-Shot Talking Face Generation with a High-Resolution Audio-Visual Dataset},
  author={Zhang, Zhimeng and Li, Lincheng and Ding, Yu and Fan, Changjie},
  booktitle={CVPR},
  year={2021}
}"""
