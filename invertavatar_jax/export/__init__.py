"""Writes and reads files: videos, pictures, avatars, tracks and reports."""
