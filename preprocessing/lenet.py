"""The recipe of LeNet, for digits; not random. Follows TF-Slim's `lenet_preprocessing`."""

from __future__ import annotations

from preprocessing.transform import CROP_OR_PAD, Transform

TRANSFORM = Transform(resize_mode=CROP_OR_PAD, interpolation='bilinear_tf1',
                      mean=(128.0, 128.0, 128.0), scale=(128.0, 128.0, 128.0))
