"""CelebA-HQ: photos of faces."""

from tfds_builders.frame_records import ReleasedBuilder


class Builder(ReleasedBuilder):
    """Frame records of CelebA-HQ; every photo is a clip of its own."""

    PHOTOS = True
    DESCRIPTION = "CelebA-HQ: 30,000 photos of faces of CelebA, cropped and tracked."
    HOMEPAGE = "https://github.com/tkarras/progressive_growing_of_gans"
    CITATION = """@inproceedings{karras2018progressive,
  title={Progressive Growing of {GAN}s for Improved Quality, Stability, and Variation},
  author={Karras, Tero and Aila, Timo and Laine, Samuli and Lehtinen, Jaakko},
  booktitle={ICLR},
  year={2018}
}"""
