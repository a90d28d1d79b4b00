"""The stages of training: each makes a train.stage.Stage of its settings."""
