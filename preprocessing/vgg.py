"""The recipe of VGG and ResNet V1, and that of Keras' ResNet.

Follows TF-Slim's `vgg_preprocessing` (https://arxiv.org/abs/1409.1556, section 3). Keras' ResNets
are the weights of their authors, who used Caffe, BGR and nearly the same mean
(`keras.applications.imagenet_utils.preprocess_input`, mode 'caffe').
"""

from __future__ import annotations

from preprocessing import decoding, image_ops, resizing
from preprocessing.transform import PUBLISHED_SIZE, Transform

TRANSFORM = Transform(resized_side=256, interpolation='bilinear_tf1', mean=(123.68, 116.78, 103.94))
KERAS_RESNET = Transform(crop_fraction=224 / 256, channel_order='bgr',
                         mean=(123.68, 116.779, 103.939))
_RESIZE_SIDE_MAX = 512

# The random decisions about an image, each with its own seed.
_SIDE, _CROP_Y, _CROP_X, _FLIP = range(4)


def random_crop(image, height, width, *, channels=3, seed):
  """Resizes the shorter side to 256 to 512 pixels, and crops at random.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels. If the crop does not fit into 256 pixels, both
      ends of the range are scaled in proportion (TF-Slim raises an error).
    channels: 3, or 1 for grey.
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels] in [0, 255].
  """
  size = max(height, width)
  low = TRANSFORM.resized(size)
  high = _RESIZE_SIDE_MAX if low == TRANSFORM.resized_side else round(
      size * _RESIZE_SIDE_MAX / PUBLISHED_SIZE)
  side = image_ops.uniform_integer(image_ops.decision_seed(seed, _SIDE), low, high)
  pixels = decoding.pixels_of(decoding.open_image(image, channels))
  resize = resizing.INTERPOLATIONS[TRANSFORM.interpolation]
  pixels = resize.resize(pixels, *resize.scaled(decoding.shape_of(pixels), side))
  return image_ops.random_crop(pixels, height, width,
                               y_seed=image_ops.decision_seed(seed, _CROP_Y),
                               x_seed=image_ops.decision_seed(seed, _CROP_X))


def flip(image, seed):
  """Flips at random: float32 [height, width, channels]."""
  return image_ops.random_flip(image, image_ops.decision_seed(seed, _FLIP))
