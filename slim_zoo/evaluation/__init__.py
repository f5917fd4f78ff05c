"""Evaluation: measuring a network on every example of a split, once."""
