"""One split as input of a network: facts about its images and classes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from datasets import bad_images, dataset_factory
from preprocessing.preprocessing_factory import get_recipe
from slim_zoo.features.inputs import FeatureInputs
from slim_zoo.training import losses
from slim_zoo.training.inputs import Inputs


def test_images_are_not_checked_if_none_was_read(monkeypatch):
  asked = []

  def explain(dataset, decode, error, *, left_out):
    asked.append(left_out)
    return 'an image is broken'

  monkeypatch.setattr(bad_images, 'explain_failure', explain)
  data = dataset_factory.get_dataset('digits', 'validation')
  bad, error = data.examples.names[:2], tf.errors.InvalidArgumentError(None, None, 'shapes differ')

  images = Inputs(data, list(range(10)), bad, preprocessing_name='lenet',
                  transform=get_recipe('lenet').transform, image_size=28, channels=1,
                  num_parallel_calls=1)
  features = FeatureInputs(data, list(range(10)), bad, arrays=[np.zeros([data.num_examples, 1])])
  assert str(images.explain(error)) == 'an image is broken'
  assert features.explain(error) is error
  assert asked == [bad]


def test_class_counts_include_only_usable_examples():
  data = dataset_factory.get_dataset('digits', 'train')
  labels, names = data.labels, np.array(data.examples.names)
  # All fives except three are bad; label 9 has no output, and the others are in reverse order.
  inputs = Inputs(data, [*range(8, -1, -1), -1], tuple(names[labels == 5][:-3]),
                  preprocessing_name='lenet', transform=get_recipe('lenet').transform,
                  image_size=28, channels=1, num_parallel_calls=1)
  expected = [np.sum(labels == 8 - output) for output in range(10)]
  expected[3], expected[9] = 3, 0
  counts = inputs.class_counts(10)
  assert counts.tolist() == expected
  weighted = losses.balanced_class_weights(counts) * counts
  np.testing.assert_allclose(weighted[:9], weighted[0])
