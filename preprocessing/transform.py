"""How an image becomes a network's input in evaluation, as data.

Geometry and normalization belong to a set of weights: a published file or a checkpoint's metadata
has a `Transform`, and evaluation, prediction, feature extraction and exports all apply it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from preprocessing import decoding, image_ops, resizing

SHORTER_SIDE, SQUEEZE, LETTERBOX, CROP_OR_PAD = (
    'shorter_side', 'squeeze', 'letterbox', 'crop_or_pad')
_CROP_RULES = ('crop_fraction', 'resized_side', 'crop_padding')
PUBLISHED_SIZE = 224  # What `resized_side` is used with in publications.
_GREY = (127.5, 127.5, 127.5)

Colour = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Transform:
  """How an image becomes a network's input.

  An image is resized, its centre is cropped, and its values are normalized. Exactly one of
  `crop_fraction`, `resized_side` and `crop_padding` is set for the modes 'shorter_side' and
  'squeeze', and none for the others, which have no crop.

  Attributes:
    resize_mode: 'shorter_side' keeps the aspect ratio, and the crop is as wide as high in the
      image; 'squeeze' resizes both sides independently; 'letterbox' fits the whole image into the
      result and fills the rest with the mean colour; 'crop_or_pad' does not resize.
    crop_fraction: size of the result / size to which the image is resized, in (0, 1].
    resized_side: size to which the image is resized, in pixels, whatever the size of the result; if
      the result does not fit, it is resized in proportion to a result of 224.
    crop_padding: size to which the image is resized minus size of the result, in pixels.
    crops_first: whether the crop is taken before resizing, which only uses the crop's own pixels.
    interpolation: a name in `resizing.INTERPOLATIONS`.
    channel_order: 'rgb' or 'bgr'.
    mean, scale: the result is (value - mean) / scale for values in [0, 255]; red, green and blue.
      Grey images use the luma of both. Both are None to give each image mean 0 and deviation 1.

  Raises:
    ValueError: if a value is invalid, or the attributes contradict each other.
  """
  _: dataclasses.KW_ONLY
  resize_mode: str = SHORTER_SIDE
  crop_fraction: float | None = None
  resized_side: int | None = None
  crop_padding: int | None = None
  crops_first: bool = False
  interpolation: str = 'bilinear'
  channel_order: str = 'rgb'
  mean: Colour | None = (0.0, 0.0, 0.0)
  scale: Colour | None = (1.0, 1.0, 1.0)

  def __post_init__(self):
    names = ', '.join
    _check('resize_mode', self.resize_mode, self.resize_mode in _MODES, expected=names(_MODES))
    _check('interpolation', self.interpolation, self.interpolation in resizing.INTERPOLATIONS,
           expected=names(resizing.INTERPOLATIONS))
    _check('channel_order', self.channel_order, self.channel_order in ('rgb', 'bgr'),
           expected='rgb or bgr')
    rules = {name: getattr(self, name) for name in _CROP_RULES if getattr(self, name) is not None}
    count = int(self.resize_mode in (SHORTER_SIDE, SQUEEZE))
    _check('the crop', rules, len(rules) == count,
           expected=f'{count} of {names(_CROP_RULES)} with resize_mode={self.resize_mode}')
    for name, value in rules.items():
      most = 1 if name == 'crop_fraction' else 10_000
      _check(name, value, _is_number(value) and 0 < value <= most,
             expected=f'a number above 0, and at most {most}')
    _check('mean and scale', (self.mean, self.scale), (self.mean is None) == (self.scale is None),
           expected='both or neither')
    for colour in (self.mean, self.scale):
      _check('mean and scale', colour, colour is None or (isinstance(colour, tuple)
             and len(colour) == 3 and all(map(_is_number, colour))), expected='three numbers each')
    _check('scale', self.scale, self.scale is None or 0 not in self.scale,
           expected='numbers other than 0')

  def __call__(self, image, height, width, *, channels=3):
    """Prepares one image.

    Args:
      image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
      height, width: size of the result, in pixels.
      channels: 3, or 1 for grey.

    Returns:
      float32 [height, width, channels].
    """
    return self.normalize(self.pixels(image, height, width, channels=channels))

  @property
  def dct_method(self) -> str:
    """How JPEGs are decoded; see `decoding.open_image`."""
    return resizing.INTERPOLATIONS[self.interpolation].dct_method

  def pixels(self, image, height, width, *, channels=3):
    """Resizes and crops one image; like a call, but returns values in [0, 255], RGB."""
    image = decoding.open_image(image, channels, dct_method=self.dct_method)
    image = _MODES[self.resize_mode](self, image, (height, width))
    return tf.ensure_shape(image, [height, width, channels])

  def normalize(self, image):
    """Normalizes values.

    Args:
      image: float32 [height, width, channels] in [0, 255], RGB or grey.

    Returns:
      float32 [height, width, channels].
    """
    if self.mean is None or self.scale is None:
      return tf.image.per_image_standardization(image)
    image = image_ops.normalize(image, self.mean, self.scale)
    return tf.reverse(image, [2]) if self.channel_order == 'bgr' else image

  def denormalize(self, images):
    """Reverses `normalize`, to show what a network sees.

    Args:
      images: float32 [n, height, width, channels], normalized.

    Returns:
      float32 of the same shape, RGB or grey, in [0, 255]; if each image was normalized by its own
      mean and deviation, which are lost, its smallest value becomes 0 and its largest 255.
    """
    if self.mean is None or self.scale is None:
      low, high = (reduce(images, axis=[1, 2, 3], keepdims=True)
                   for reduce in (tf.reduce_min, tf.reduce_max))
      return 255 * tf.math.divide_no_nan(images - low, high - low)
    if self.channel_order == 'bgr':
      images = tf.reverse(images, [3])
    mean, scale = (image_ops.luma_of(colour, images.shape[3]) for colour in (self.mean, self.scale))
    return images * scale + mean

  def resized(self, size: int) -> int:
    """Returns the size to which an image is resized for a result of a given size, in pixels."""
    if self.crop_fraction is not None:
      return round(size / self.crop_fraction)
    if self.crop_padding is not None:
      return size + self.crop_padding
    if self.resized_side is None:
      return size
    fits = size <= self.resized_side
    return self.resized_side if fits else round(size * self.resized_side / PUBLISHED_SIZE)

  def override(self, *, resize_mode: str | None = None, crop_fraction: float | None = None,
               interpolation: str | None = None) -> Transform:
    """Replaces what is given.

    Args:
      resize_mode, crop_fraction, interpolation: see the attributes. A crop fraction replaces the
        other rules for the crop. The whole image is used where the old mode has no crop.

    Raises:
      ValueError: if a fraction is given for a mode that has no crop.
    """
    mode = resize_mode or self.resize_mode
    changes: dict[str, Any] = {'resize_mode': mode,
                               'interpolation': interpolation or self.interpolation}
    has_crop = mode in (SHORTER_SIDE, SQUEEZE)
    if crop_fraction is not None and not has_crop:
      raise ValueError(f'--crop_fraction: expected none, because images are not cropped with '
                       f'--resize_mode={mode}. Received: {crop_fraction}. Leave it out.')
    if crop_fraction is not None or mode != self.resize_mode:
      keeps = has_crop and crop_fraction is None
      rules = {name: getattr(self, name) if keeps else None for name in _CROP_RULES}
      if has_crop and not any(rules.values()):
        rules['crop_fraction'] = crop_fraction or 1.0
      changes |= rules
    return dataclasses.replace(self, **changes)

  def describe(self, size: int) -> str:
    """Says what is done to an image, for a result of `size` × `size` pixels."""
    how, resized = f', {self.interpolation}', self.resized(size)
    whole = 'both sides' if self.resize_mode == SQUEEZE else 'shorter side'
    if self.resize_mode == CROP_OR_PAD:
      steps = f'central {size}×{size} crop or zero padding, not resized'
    elif self.resize_mode == LETTERBOX:
      steps = f'fitted into {size}×{size}{how}, padded with the mean colour'
    elif self.crops_first:
      shape = ' of each side' if self.resize_mode == SQUEEZE else ' of the shorter side, square'
      steps = f'central {size / resized:.4g}{shape}, resized to {size}×{size}{how}'
    else:
      crop = '' if self.resize_mode == SQUEEZE and resized == size else (
          f', central {size}×{size} crop')
      steps = f'{whole} resized to {resized}{how}{crop}'
    return f'{steps}; {self.values()}'

  def values(self) -> str:
    """Gives the formula for `value` in [0, 255], after the order of the channels."""
    order = self.channel_order.upper()
    if self.mean is None or self.scale is None:
      return f'{order}: (value - mean) / deviation, over all values of the image'
    mean, scale = (_short(colour[::-1] if self.channel_order == 'bgr' else colour)
                   for colour in (self.mean, self.scale))
    shifted = 'value' if mean == '0' else f'value - {mean}'
    if scale == '1':
      return f'{order}: {shifted}'
    return f'{order}: {shifted if mean == "0" else f"({shifted})"} / {scale}'

  def to_json(self) -> dict[str, Any]:
    """Returns what `json.dumps` accepts and `from_json` reads."""
    return {name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()}


def from_json(value: Any) -> Transform:
  """Makes a transform of what `Transform.to_json` returned.

  Raises:
    ValueError: if it is something else.
  """
  names = {field.name for field in dataclasses.fields(Transform)}
  _check('a transform', value, isinstance(value, Mapping) and {*value} <= names,
         expected=f'an object with {", ".join(sorted(names))}')
  attributes: dict[str, Any] = {name: tuple(entry) if isinstance(entry, list) else entry
                                for name, entry in value.items()}
  try:
    return Transform(**attributes)
  except TypeError as error:
    raise ValueError(f'Expected a transform. Received: {value!r:.200}.') from error


def _check(name: str, value: Any, is_good: bool, *, expected: str) -> None:
  if not is_good:
    raise ValueError(f'{name}: expected {expected}. Received: {value!r:.200}.')


def _is_number(value: Any) -> bool:
  return type(value) in (int, float) and value == value and abs(value) < float('inf')


def _short(colour: Colour) -> str:
  """Writes a colour as one number if all three are equal."""
  numbers = [f'{value:g}' for value in colour]
  return numbers[0] if len(set(numbers)) == 1 else f'({", ".join(numbers)})'


def _shorter_side(transform: Transform, image, sizes: tuple[int, int]):
  """Keeps the aspect ratio."""
  resize = resizing.INTERPOLATIONS[transform.interpolation]
  if transform.crops_first:
    outer = [size / transform.crop_fraction if transform.crop_fraction
             else float(transform.resized(size)) for size in sizes]
    box = fitting_box(decoding.shape_of(image), sizes, outer)
    return resize.resize(decoding.crop(image, box), *sizes)
  pixels = decoding.pixels_of(image)
  whole = resize.scaled(decoding.shape_of(pixels), transform.resized(max(sizes)))
  return resize.central_crop(resize.resize(pixels, *whole), *sizes)


def _squeeze(transform: Transform, image, sizes: tuple[int, int]):
  """Resizes both sides independently."""
  resize = resizing.INTERPOLATIONS[transform.interpolation]
  if transform.crops_first:
    fractions = [transform.crop_fraction or size / transform.resized(size) for size in sizes]
    box = central_box(decoding.shape_of(image), fractions)
    return resize.resize(decoding.crop(image, box), *sizes)
  whole = [transform.resized(size) for size in sizes]
  return resize.central_crop(resize.resize(decoding.pixels_of(image), *whole), *sizes)


def _letterbox(transform: Transform, image, sizes: tuple[int, int]):
  """Fits the whole image into the result."""
  pixels = decoding.pixels_of(image)
  shape = tf.cast(tf.stack(decoding.shape_of(pixels)), tf.float32)
  scale = tf.reduce_min(tf.constant(sizes, tf.float32) / shape)
  fitted = tf.unstack(tf.clip_by_value(tf.cast(tf.round(shape * scale), tf.int32), 1, sizes))
  y, x = ((size - side) // 2 for size, side in zip(sizes, fitted, strict=True))
  fill = image_ops.luma_of(transform.mean or _GREY, pixels.shape[2])
  pixels = resizing.INTERPOLATIONS[transform.interpolation].resize(pixels, *fitted)
  # `pad_to_bounding_box` pads with zeros.
  return fill + tf.image.pad_to_bounding_box(pixels - fill, y, x, *sizes)


def _crop_or_pad(transform: Transform, image, sizes: tuple[int, int]):
  """Does not resize."""
  del transform
  return tf.cast(image_ops.central_crop_or_pad(image, *sizes), tf.float32)


_MODES = {SHORTER_SIDE: _shorter_side, SQUEEZE: _squeeze, LETTERBOX: _letterbox,
          CROP_OR_PAD: _crop_or_pad}


def central_box(shape, fractions):
  """The box of `tf.image.central_crop`, with a fraction for each side.

  Args:
    shape: (height, width) of the image, int32 scalars.
    fractions: fraction of the height and of the width that is kept, in (0, 1].

  Returns:
    (y, x, height, width), int32 scalars.
  """
  def start(side, fraction):
    side = tf.cast(side, tf.float64)
    return tf.cast((side - side * fraction) / 2, tf.int32)

  y, x = map(start, shape, fractions)
  return y, x, shape[0] - 2 * y, shape[1] - 2 * x


def fitting_box(shape, sizes, outer):
  """The central box that becomes the result if the image is resized to cover `outer`.

  Args:
    shape: (height, width) of the image, int32 scalars.
    sizes: height and width of the result, in pixels.
    outer: height and width that the resized image would have to cover, floats.

  Returns:
    (y, x, height, width), int32 scalars, rounded as EfficientNet's own implementation does.
  """
  # Only products: in graphs, TensorFlow replaces a division by a constant, which rounds otherwise.
  whole = tf.cast(tf.stack(shape), tf.float32)
  sides = [tf.maximum(tf.cast(tf.reduce_min(
      whole * tf.constant([size / side for side in outer], tf.float32)), tf.int32), 1)
           for size in sizes]
  # Rounding up must not lead out of an image of one pixel.
  y, x = (tf.minimum((in_side - side + 1) // 2, in_side - side)
          for in_side, side in zip(shape, sides, strict=True))
  return y, x, sides[0], sides[1]
