"""Training: state, steps, stages, checkpoints and the loop."""
