"""Figures of merit: what a result is worth, beside what cheap methods give."""
