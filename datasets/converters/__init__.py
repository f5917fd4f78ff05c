"""Converters from well-known datasets and local folders to TF-Slim's TFRecord files."""
