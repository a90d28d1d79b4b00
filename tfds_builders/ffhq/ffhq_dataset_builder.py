"""FFHQ: photos of faces."""

from tfds_builders.frame_records import ReleasedBuilder


class Builder(ReleasedBuilder):
    """Frame records of FFHQ; every photo is a clip of its own."""

    PHOTOS = True
    DESCRIPTION = "FFHQ: 70,000 photos of faces from Flickr, cropped and tracked."
    HOMEPAGE = "https://github.com/NVlabs/ffhq-dataset"
    CITATION = """@inproceedings{karras2019style,
  title={A Style-Based Generator Architecture for Generative Adversarial Networks},
  author={Karras, Tero and Laine, Samuli and Aila, Timo},
  booktitle={CVPR},
  year={2019}
}"""
