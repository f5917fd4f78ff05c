"""Teachers of a distillation: trained networks that take the images of another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from nets.network import Network
from preprocessing import image_ops
from preprocessing.transform import Transform
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.programs import Predict
from slim_zoo.evaluation import classifier
from slim_zoo.training.metadata import ModelFacts


@dataclasses.dataclass(frozen=True)
class Teacher:
  """A trained network that takes the images of another.

  Attributes:
    network: the network.
    outputs: for each of the student's outputs, that of the teacher.
    image_size: height and width of the teacher's images.
    transform: how the teacher's images are prepared; only the normalization counts.
    of_student: the same of the student's.
  """
  network: Network
  outputs: Sequence[int]
  image_size: int
  transform: Transform
  of_student: Transform

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Returns logits for a student's images, [batch, num_classes]."""
    if (self.transform.mean, self.transform.scale, self.transform.channel_order) != (
        self.of_student.mean, self.of_student.scale, self.of_student.channel_order):
      images = _normalized(_pixels(images, self.of_student), self.transform)
    if images.shape[1:3] != [self.image_size, self.image_size]:
      images = tf.image.resize(images, [self.image_size, self.image_size], antialias=True)
    logits, _ = self.network(images, is_training=False)
    return tf.gather(tf.stop_gradient(logits), self.outputs, axis=1)


def open_teacher(path: str, facts: ModelFacts) -> Teacher:
  """Opens a teacher, under the strategy's scope.

  Args:
    path: its checkpoint, weights, or `zoo:` name.
    facts: about the student.

  Raises:
    ValueError: if it does not know the student's classes, or its images cannot be made from the
      student's.
  """
  try:
    _, found = classifier.restore_classifier(
        Parsed(Predict()).with_given(checkpoint_path=path), None)
  except ValueError as error:
    raise ValueError(f'--teacher_path={path}: expected weights that state their network, with the '
                     'classifier of the zoo: a run, or published weights. Received: others. '
                     f'({error})') from error
  if found.has_several_labels:
    raise ValueError(f'--teacher_path={path}: expected a network for images with one label. '
                     'Received: one that was trained with --multi_label.')
  places = {name: place for place, name in enumerate(found.class_names)}
  missing = [name for name in facts.class_names if name not in places]
  if missing:
    raise ValueError(f'--teacher_path={path}: expected a network with the classes of the data. '
                     f'Received: one without {", ".join(map(repr, missing[:5]))}'
                     f'{", …" if len(missing) > 5 else ""}. Fine-tune it on these classes first.')
  if found.channels != facts.channels:
    raise ValueError(f'--teacher_path={path}: expected a network for images of {facts.channels} '
                     f'channels. Received: one for {found.channels}.')
  if (found.transform.mean is None) != (facts.transform.mean is None):
    raise ValueError(f'--teacher_path={path}: expected the normalization of the images that are '
                     'trained on, or one that is the same for all images. Received: one that '
                     'differs between images, for the teacher or the student alone.')
  return Teacher(found.network, [places[name] for name in facts.class_names], found.image_size,
                 found.transform, facts.transform)


def _constants(transform: Transform, channels: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mean and scale of a normalization, float32 [channels]."""
  if transform.mean is None or transform.scale is None:
    raise TypeError('Expected a normalization that is the same for all images. Received: none.')
  scale = (np.ones([channels], np.float32) if transform.scale == (1.0, 1.0, 1.0) else
           image_ops.luma_of(transform.scale, channels))
  return image_ops.luma_of(transform.mean, channels), scale


def _pixels(images: tf.Tensor, transform: Transform) -> tf.Tensor:
  """Takes a normalization back."""
  mean, scale = _constants(transform, images.shape[-1])
  if transform.channel_order == 'bgr':
    images = tf.reverse(images, [-1])
  return images * scale + mean


def _normalized(pixels: tf.Tensor, transform: Transform) -> tf.Tensor:
  """Normalizes a batch of pixels in [0, 255]."""
  mean, scale = _constants(transform, pixels.shape[-1])
  images = (pixels - mean) / scale
  return tf.reverse(images, [-1]) if transform.channel_order == 'bgr' else images
