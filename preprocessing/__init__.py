"""Decoding of image files and the recipes that turn an image into a network's input."""
