"""Converters of well-known datasets, and of local folders, to TF-Slim's TFRecord files."""
