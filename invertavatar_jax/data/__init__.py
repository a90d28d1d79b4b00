"""Training data: sources on disk and the pipelines that read them."""
