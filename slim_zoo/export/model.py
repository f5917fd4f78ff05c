"""The content of an export: a network in inference, and the preprocessing of its images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from nets.network import Network
from preprocessing.transform import Transform

LOGITS, PROBABILITIES = 'logits', 'probabilities'


@dataclasses.dataclass(frozen=True)
class Model:
  """A network with what is needed to use it.

  Attributes:
    network: computes in float32.
    image_size: height and width, in pixels.
    channels: 1 or 3.
    preprocessing_name: a name in `PREPROCESSING`.
    transform: how images are prepared.
    activation: from logits to probabilities.
    class_names: one name per output, `labels.UNNAMED` if it is not known.
    name: the network's in `NETS`, for targets that look for the same network elsewhere.
    calibration: opens training images and yields them prepared, float32 [n, height, width,
      channels], for targets that measure the range of each layer; None if there are none.
  """
  network: Network
  image_size: int
  channels: int
  preprocessing_name: str
  transform: Transform
  activation: Callable[..., tf.Tensor] = tf.nn.softmax
  class_names: Sequence[str] = ()
  name: str = ''
  calibration: Callable[[], Iterator[np.ndarray]] | None = None

  @property
  def image_shape(self) -> list[int]:
    """[height, width, channels]."""
    return [self.image_size, self.image_size, self.channels]

  def values(self) -> dict[str, np.ndarray]:
    """Reads the network's variables."""
    return {name: variable.numpy() for name, variable in self.network.variables.items()}

  def outputs(self, images: tf.Tensor,
              values: Mapping[str, np.ndarray] | None = None) -> dict[str, tf.Tensor]:
    """Applies the network.

    Args:
      images: float32 [batch, height, width, channels], preprocessed.
      values: from `values`, to use constants with the variables' names instead of the variables.

    Returns:
      The logits and probabilities, float32 [batch, num_classes], by their names.
    """
    constants = values and {name: tf.constant(value, name=name) for name, value in values.items()}
    logits, _ = self.network(images, is_training=False, variables=constants)
    return {LOGITS: tf.identity(logits, name=LOGITS),
            PROBABILITIES: self.activation(logits, name=PROBABILITIES)}

  def logits(self, images: np.ndarray) -> np.ndarray:
    """Applies the network to prepared images, float32 [batch, height, width, channels]."""
    return self._compiled(tf.constant(images)).numpy()

  @functools.cached_property
  def _compiled(self) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(lambda images: self.outputs(images)[LOGITS], autograph=False,
                       input_signature=[tf.TensorSpec([None, *self.image_shape])])

  def prepare(self, files: np.ndarray) -> np.ndarray:
    """Preprocesses image files, bytes [batch], as `preprocess` does, but many of them faster."""
    return self._compiled_preprocess(tf.constant(files, tf.string)).numpy()

  @functools.cached_property
  def _compiled_preprocess(self) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(self.preprocess, autograph=False,
                       input_signature=[tf.TensorSpec([None], tf.string)])

  def preprocess(self, images: tf.Tensor) -> tf.Tensor:
    """Preprocesses images as an evaluation does.

    Args:
      images: string [batch], image files, or uint8 [batch, any height, any width, channels].

    Returns:
      float32 [batch, height, width, channels].
    """
    return tf.map_fn(
        lambda image: self.transform(image, *self.image_shape[:2], channels=self.channels), images,
        fn_output_signature=tf.TensorSpec(self.image_shape))
