"""The Python API: list networks, build one, load weights of any kind, preprocess and predict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from datasets import labels
from nets import nets_factory
from nets.network import Network
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.option import expand
from slim_zoo.config.programs import Predict
from slim_zoo.evaluation import classifier
from slim_zoo.weights import opening, restore

_BATCH = 32


def list_networks(pattern: str = '*') -> list[str]:
  """Returns the names of networks that match a pattern with shell wildcards."""
  return nets_factory.list_nets(pattern)


def build_network(name: str, *, num_classes: int | None = None, image_size: int | None = None,
                  channels: int | None = None, is_training: bool = False) -> Network:
  """Builds a network with initial values.

  Args:
    name: the network, such as 'resnet_v1_50'.
    num_classes: number of classes; by default that of the published weights.
    image_size: height and width; by default the network's.
    channels: of the images, 1 or 3; by default the network's.
    is_training: whether to create what only training needs, such as auxiliary heads.

  Returns:
    `network(images, is_training=False) -> (logits, end_points)`, with `network.variables`.

  Raises:
    ValueError: if there is no network of this name, or the images are too small for it.
  """
  net = nets_factory.get_net(name)
  size = image_size or net.image_size
  return nets_factory.build_network(
      name, image_shape=[size, size, channels or net.channels],
      num_classes=num_classes or net.classes, is_training=is_training)


def load_weights(network: Network, name: str, path: str | os.PathLike, *,
                 exclude: Sequence[str] = (), channel_order: str | None = None) -> restore.Report:
  """Restores a network's variables from weights of any supported kind.

  Args:
    network: from `build_network`.
    name: its name.
    path: a checkpoint, a directory of checkpoints, a file of another format, or 'zoo:<name>'.
    exclude: scopes that keep their values, such as ['resnet_v1_50/logits'].
    channel_order: 'rgb' or 'bgr', what the first layer expects, for files that do not tell.

  Returns:
    What happened to each variable; `print(report.table())` shows it.

  Raises:
    ValueError: if a variable that is not excluded is missing or does not fit.
    OSError: if the weights cannot be read.
  """
  weights, _ = opening.open_weights(_path(path), model_name=name, channel_order=channel_order)
  report = opening.plan(weights, name, network.variables, exclude=exclude)
  restore.check(report, exclude=exclude, head=nets_factory.get_net(name).head)
  restore.apply(report, weights.source, network.variables)
  return report


def load(path: str | os.PathLike, *, model_name: str | None = None, head: str | None = None,
         labels_path: str | os.PathLike | None = None, image_size: int | None = None,
         channel_order: str | None = None) -> Model:
  """Loads a trained network with all that is needed to use it.

  Args:
    path: a checkpoint, a directory of checkpoints, a file of another format, or 'zoo:<name>'.
    model_name: the network, for weights that do not tell it.
    head: the Python function that it was trained with as its head, 'my_file.py:head'; it is run.
    labels_path: a text file with one 'number:name' per line, for weights that do not know their
      classes.
    image_size: height and width; by default as in training, or the network's.
    channel_order: 'rgb' or 'bgr', what the first layer expects, for files that do not tell.

  Raises:
    ValueError: if the weights have no classifier, or an argument contradicts them.
    OSError: if they cannot be read.
  """
  values = {'model_name': model_name, 'head': head, 'checkpoint_channel_order': channel_order,
            'labels_path': None if labels_path is None else _path(labels_path)}
  given = {name: value for name, value in values.items() if value is not None}
  parsed = Parsed(Predict()).with_given(checkpoint_path=_path(path), **given)
  return Model(classifier.restore_classifier(parsed, image_size)[1])


def _path(path: str | os.PathLike) -> str:
  return expand(os.fspath(path))


class Model:
  """A trained network with its classes and its preprocessing.

  Attributes:
    network: the network.
    name: the network's name.
    class_names: one name per output.
    image_size: height and width of its images, in pixels.
    channels: of its images.
    preprocessing_name: a name in `preprocessing_factory.PREPROCESSING`.
    transform: how its images are prepared.
  """

  def __init__(self, found: classifier.Classifier):
    self.network, self.name = found.network, found.model_name
    self.class_names = labels.distinct_names(found.class_names)
    self.image_size, self.channels = found.image_size, found.channels
    self.preprocessing_name = found.preprocessing_name
    self.transform = found.transform
    self._activation = found.activation
    self._forward = tf.function(lambda images: self.network(images, is_training=False)[0],
                                autograph=False, reduce_retracing=True)

  def __repr__(self) -> str:
    return f'<{self.name}: {len(self.class_names)} classes, {self.image_size}×{self.image_size}>'

  def __call__(self, images: Any) -> tf.Tensor:
    """Applies the network to preprocessed images.

    Args:
      images: float32 [n, height, width, channels], from `preprocess`.

    Returns:
      Logits, float32 [n, classes].
    """
    return self._forward(tf.convert_to_tensor(images, tf.float32))

  def preprocess(self, images: Sequence[Any]) -> tf.Tensor:
    """Prepares images as an evaluation does.

    Args:
      images: paths of image files, or uint8 arrays [height, width, channels] of any sizes.

    Returns:
      float32 [n, image_size, image_size, channels].

    Raises:
      ValueError: if a file cannot be decoded.
      OSError: if a file cannot be read.
    """
    return tf.stack([self._prepare(image) for image in _listed(images)])

  def predict(self, images: Sequence[Any], *, top_k: int = 5) -> list[list[tuple[str, float]]]:
    """Predicts the most likely classes of images.

    Args:
      images: see `preprocess`.
      top_k: number of classes per image.

    Returns:
      For each image a list of (class name, probability), the most likely first.
    """
    found: list[list[tuple[str, float]]] = []
    for batch in _batches(_listed(images)):
      probabilities = self._activation(self(self.preprocess(batch)))
      values, classes = tf.math.top_k(probabilities, min(top_k, len(self.class_names)))
      found += [[(self.class_names[label], value) for value, label in zip(*row, strict=True)]
                for row in zip(values.numpy().tolist(), classes.numpy().tolist(), strict=True)]
    return found

  def _prepare(self, image: Any) -> tf.Tensor:
    """Prepares one image."""
    if not isinstance(image, str | os.PathLike):
      return self._transformed(np.asarray(image))
    with open(_path(image), 'rb') as file:
      content = file.read()
    try:
      return self._transformed(tf.constant(content))
    except tf.errors.InvalidArgumentError as error:
      raise ValueError(f'{image} cannot be decoded: {error.message}') from error

  def _transformed(self, image: Any) -> tf.Tensor:
    return self.transform(image, self.image_size, self.image_size, channels=self.channels)


def _listed(images: Sequence[Any]) -> Sequence[Any]:
  """Returns images, if they are several."""
  if isinstance(images, str | bytes | os.PathLike):
    raise ValueError(f'Expected: a list of images, such as [{os.fspath(images)!r}]. Received: one '
                     'path.')
  return images


def _batches(images: Sequence[Any]) -> Iterator[Sequence[Any]]:
  for start in range(0, len(images), _BATCH):
    yield images[start:start + _BATCH]
