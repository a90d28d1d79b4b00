"""InvertAvatar in JAX: photos or a video in, an animatable 3D head avatar out."""

__version__ = "0.1.0"
