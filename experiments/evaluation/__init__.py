"""Who is reconstructed from what, driven by what, and scored how: the paper's section 4."""
