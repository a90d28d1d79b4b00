"""The stages of training: each makes a train.stage.Stage of its settings."""

STAGES = ("gan", "latent", "oneshot", "fewshot", "supervised")
