"""What becomes of an avatar over long clips, for every aggregator; see docs/long_sequences.md."""
