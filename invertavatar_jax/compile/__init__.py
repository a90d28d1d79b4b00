"""Compiles the program for accelerators that are not there, and says what it would cost."""
