"""The recipe of Caffe's AlexNet (`bvlc_alexnet`).

Images of any shape were stored at 256 x 256, resized by OpenCV's bilinear `resize`. Crops of 227
are taken from them, mirrored in training, in BGR, and the mean colour is subtracted
(https://github.com/BVLC/caffe, `models/bvlc_alexnet` and `examples/imagenet`).
"""

from __future__ import annotations

from preprocessing import decoding, image_ops, resizing
from preprocessing.transform import SQUEEZE, Transform

TRANSFORM = Transform(resize_mode=SQUEEZE, crop_fraction=227 / 256, channel_order='bgr',
                      interpolation='bilinear_no_antialias', mean=(124.0, 117.0, 104.0))

# The random decisions about an image, each with its own seed.
_CROP_Y, _CROP_X, _FLIP = range(3)


def random_crop(image, height, width, *, channels=3, seed):
  """Resizes without keeping the aspect ratio, and crops at random.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels. The crop is 227 / 256 of each resized side.
    channels: 3, or 1 for grey.
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels] in [0, 255].
  """
  resize = resizing.INTERPOLATIONS[TRANSFORM.interpolation]
  pixels = decoding.pixels_of(
      decoding.open_image(image, channels, dct_method=resize.dct_method))
  pixels = resize.resize(pixels, *(TRANSFORM.resized(size) for size in (height, width)))
  return image_ops.random_crop(pixels, height, width,
                               y_seed=image_ops.decision_seed(seed, _CROP_Y),
                               x_seed=image_ops.decision_seed(seed, _CROP_X))


def flip(image, seed):
  """Mirrors at random: float32 [height, width, channels]."""
  return image_ops.random_flip(image, image_ops.decision_seed(seed, _FLIP))
