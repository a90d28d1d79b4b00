"""Synthetic heads: people whose mesh, camera and expression are known exactly."""
