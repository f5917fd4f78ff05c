"""Weights: reading checkpoints and restoring networks from them, with a report."""
