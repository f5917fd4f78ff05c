"""Comparing pretrained networks on a dataset, by linear classifiers on their features."""
