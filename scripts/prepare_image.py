"""Prepares a photo for an exported model, as an evaluation does.

    python scripts/prepare_image.py exported.tflite.json photo.jpg photo.npy

An example to copy into programs that use an export: it needs TensorFlow, Pillow and the file that
describes the export (`model.json`, or `<export>.json`), but nothing else of this project. The
result is float32 [1, height, width, channels], or int8 if the export takes int8.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import PIL.Image
import PIL.ImageOps
import tensorflow as tf

_LUMA = (0.2989, 0.5870, 0.1140)
_EXIF_ORIENTATION = 0x112


def prepare(path: str, about: dict) -> np.ndarray:
  """Prepares an image file.

  Args:
    path: a JPEG, or another file that Pillow reads with 8 bits per channel.
    about: the parsed description of the export.

  Returns:
    float32 or int8 [image_size, image_size, channels].
  """
  how, size, channels = about['transform'], about['image_size'], about['channels']
  pixels = _read(path, how['interpolation'], channels)
  return _quantized(_normalized(_fitted(pixels, how, size), how).numpy(), about['inputs'])


def _read(path: str, interpolation: str, channels: int) -> tf.Tensor:
  """Decodes an image, upright and without transparency: uint8 [height, width, channels]."""
  with PIL.Image.open(path) as image:
    if image.format == 'JPEG':
      # TensorFlow's default is faster than Pillow's way and differs from it by a few values.
      method = '' if interpolation == 'bilinear_tf1' else 'INTEGER_ACCURATE'
      pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method=method).numpy()
      pixels = _upright(pixels, image.getexif().get(_EXIF_ORIENTATION, 1))
    else:
      rgba = np.asarray(PIL.ImageOps.exif_transpose(image).convert('RGBA'), np.float32)
      share = rgba[..., 3:] / np.float32(255)
      pixels = np.round(rgba[..., :3] * share + 255 * (1 - share)).astype(np.uint8)
  return pixels if channels == 3 else tf.image.rgb_to_grayscale(pixels)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
  if orientation in (5, 6, 7, 8):
    pixels = pixels.transpose(1, 0, 2)
  if orientation in (3, 4, 7, 8):
    pixels = pixels[::-1]
  return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _fitted(pixels, how: dict, size: int) -> tf.Tensor:
  """Resizes and crops: float32 [size, size, channels] in [0, 255]."""
  height, width, channels = pixels.shape
  mode = how['resize_mode']
  if mode == 'crop_or_pad':
    return tf.cast(tf.image.resize_with_crop_or_pad(pixels, size, size), tf.float32)
  if mode == 'letterbox':
    scale = min(np.float32(size) / np.float32(side) for side in (height, width))
    inner = [int(np.clip(np.round(np.float32(side) * scale), 1, size)) for side in (height, width)]
    fill = _colour(how['mean'] or (127.5,) * 3, channels)
    resized = _resized(pixels, inner, how['interpolation'])
    y, x = ((size - side) // 2 for side in inner)
    return tf.image.pad_to_bounding_box(resized - fill, y, x, size, size) + fill
  whole = _resized_side(how, size)
  if how['crops_first']:
    fraction = how['crop_fraction'] or size / whole
    if mode == 'squeeze':
      y, x = (int((side - side * fraction) / 2) for side in (height, width))
      box = height - 2 * y, width - 2 * x
    else:
      ratio = np.float32(size / (size / how['crop_fraction'] if how['crop_fraction'] else whole))
      side = max(int(min(np.float32(height) * ratio, np.float32(width) * ratio)), 1)
      y, x = (min((length - side + 1) // 2, length - side) for length in (height, width))
      box = side, side
    return _resized(pixels[y:y + box[0], x:x + box[1]], [size, size], how['interpolation'])
  if mode == 'squeeze':
    target = [whole, whole]
  elif how['interpolation'] in ('bilinear', 'bicubic'):  # As torchvision rounds.
    target = [whole * side // min(height, width) for side in (height, width)]
  else:
    scale = np.float32(whole) / np.float32(min(height, width))
    target = [int(np.round(np.float32(side) * scale)) for side in (height, width)]
  return _central(_resized(pixels, target, how['interpolation']), size, how['interpolation'])


def _resized_side(how: dict, size: int) -> int:
  if how['crop_fraction'] is not None:
    return round(size / how['crop_fraction'])
  if how['crop_padding'] is not None:
    return size + how['crop_padding']
  side = how['resized_side']
  return side if size <= side else round(size * side / 224)


def _resized(pixels, target: list[int], interpolation: str) -> tf.Tensor:
  """Resizes to [height, width]."""
  pixels = tf.cast(pixels, tf.float32)
  if interpolation == 'bilinear_tf1':
    return tf.raw_ops.ResizeBilinear(images=pixels[tf.newaxis], size=target)[0]
  method = interpolation.removesuffix('_no_antialias')
  if method != interpolation:
    return tf.clip_by_value(tf.image.resize(pixels, target, method), 0, 255)
  # Pillow resizes one direction after the other, and rounds each time.
  for shape in ([pixels.shape[0], target[1]], target):
    pixels = tf.image.resize(pixels, shape, method, antialias=True)
    pixels = tf.clip_by_value(tf.floor(pixels + 0.5), 0, 255)
  return pixels


def _central(pixels: tf.Tensor, size: int, interpolation: str) -> tf.Tensor:
  halves = [(side - size) / 2 for side in pixels.shape[:2]]
  as_torchvision = interpolation in ('bilinear', 'bicubic')
  y, x = (round(half) if as_torchvision else int(half) for half in halves)
  return pixels[y:y + size, x:x + size]


def _normalized(pixels: tf.Tensor, how: dict) -> tf.Tensor:
  if how['mean'] is None:
    return tf.image.per_image_standardization(pixels)
  channels = pixels.shape[-1]
  pixels -= _colour(how['mean'], channels)
  if how['scale'] != [1, 1, 1]:  # The luma of this colour is not quite 1.
    pixels /= _colour(how['scale'], channels)
  return pixels[..., ::-1] if how['channel_order'] == 'bgr' else pixels


def _quantized(image: np.ndarray, inputs: dict) -> np.ndarray:
  """Rounds to the integers that the export takes, if it takes integers."""
  about = inputs.get('images', {})
  if 'scale' not in about:
    return image
  limits = np.iinfo(about['dtype'])
  integers = np.round(image / about['scale']) + about['zero_point']
  return np.clip(integers, limits.min, limits.max).astype(about['dtype'])


def _colour(colour, channels: int) -> np.ndarray:
  """A colour for an image: itself, or its luma for a grey one."""
  if channels == 1:
    colour = [sum(weight * value for weight, value in zip(_LUMA, colour, strict=True))]
  return np.asarray(colour, np.float32)


def main() -> None:
  """Prepares one photo."""
  if len(sys.argv) != 4:
    sys.exit('Usage: python prepare_image.py model.json photo.jpg photo.npy')
  with open(sys.argv[1], encoding='utf-8') as file:
    about = json.load(file)
  np.save(sys.argv[3], prepare(sys.argv[2], about)[np.newaxis])


if __name__ == '__main__':
  main()
