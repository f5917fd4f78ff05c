"""Policies of augmentation: what is drawn, with the magnitudes and frequencies of torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance
from scipy import stats

from preprocessing import image_ops, policies

_NAMES = ('identity', 'shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate', 'brightness',
          'color', 'contrast', 'sharpness', 'posterize', 'solarize', 'autocontrast', 'equalize')
_SIGNED = _NAMES[1:10]


def test_magnitudes_of_rand_augment():
  operations = policies._usual(31, 224)
  assert tuple(operations) == _NAMES
  assert tuple(name for name, one in operations.items() if one.is_signed) == _SIGNED
  # torchvision.transforms.RandAugment()._augmentation_space(31, (224, 224)), at magnitude 9.
  at_9 = {name: one.magnitudes[9] for name, one in operations.items()
          if one.magnitudes is not None}
  np.testing.assert_allclose(
    [at_9[name] for name in _NAMES[1:12]],
    [0.09, 0.09, 30.4532, 30.4532, 9, 0.27, 0.27, 0.27, 0.27, 7, 178.5], rtol=1e-5)


def test_magnitudes_of_trivial_augment():
  operations = policies._operations(31, shear=0.99, translation=32, rotation=135, factor=0.99,
                                    lost_bits=6)
  np.testing.assert_allclose([operations[name].magnitudes[-1] for name in _NAMES[1:12]],
                             [0.99, 0.99, 32, 32, 135, 0.99, 0.99, 0.99, 0.99, 2, 0])
  assert [int(bits) for bits in operations['posterize'].magnitudes[::5]] == [8, 7, 6, 5, 4, 3, 2]


def test_policy_of_auto_augment():
  policy = policies.imagenet_policy()
  assert len(policy) == 25 and {len(pair) for pair in policy} == {2}
  assert policy[3] == [('posterize', 0.6, 7), ('posterize', 0.6, 6)]
  assert policy[-1] == [('equalize', 0.8, 0), ('equalize', 0.6, 0)]
  assert len({str(pair) for pair in policy}) == 20  # The paper lists five of them twice.


@pytest.fixture
def drawn(monkeypatch):
  """Draws many times: `drawn(policy)` returns the (operation, magnitude, sign) of each step."""
  def draw(policy, count=3000):
    steps = []

    def apply(image, operations, *, which, magnitude, seed):
      sign = image_ops.uniform_integer(seed, 0, 1)
      steps.append(tf.stack([tf.cast(value, tf.int32) for value in (which, magnitude, sign)]))
      return image

    monkeypatch.setattr(policies, '_apply', apply)

    def one(number):
      steps.clear()
      policy(tf.zeros([4, 4, 3], tf.int32), tf.stack([number, 5]))
      return tf.stack(steps)

    numbers = tf.range(count)
    return tf.function(lambda: tf.map_fn(one, numbers, fn_output_signature=tf.int32),
                       autograph=False)().numpy()

  return draw


def _p_value(values, shares):
  counts = np.bincount(values, minlength=len(shares))
  return stats.chisquare(counts, np.asarray(shares) * len(values)).pvalue


@pytest.mark.parametrize(('policy', 'num_steps', 'num_magnitudes'), [
  (policies.rand_augment, 2, 0), (policies.trivial_augment, 1, 31)])
def test_draws_are_uniform(drawn, policy, num_steps, num_magnitudes):
  steps = drawn(policy)
  assert steps.shape[1] == num_steps
  for step in range(num_steps):
    which, magnitude, sign = steps[:, step].T
    assert _p_value(which, np.full(14, 1 / 14)) > 0.001
    assert _p_value(sign, [0.5, 0.5]) > 0.001
    if num_magnitudes:
      assert _p_value(magnitude, np.full(31, 1 / 31)) > 0.001
    else:
      assert set(magnitude) == {9}
  if num_steps == 2:  # Independent.
    table = np.zeros([14, 14])
    np.add.at(table, (steps[:, 0, 0], steps[:, 1, 0]), 1)
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_draws_of_auto_augment(drawn):
  steps = drawn(policies.auto_augment, 5000)
  names = [*_NAMES, 'invert']
  for number in range(2):
    expected = np.zeros(len(names))
    for pair in policies.imagenet_policy():
      name, probability, _ = pair[number]
      expected[names.index(name)] += probability / 25
      expected[0] += (1 - probability) / 25
    which = steps[:, number, 0]
    assert (np.bincount(which, minlength=15)[expected == 0] == 0).all()
    used = np.flatnonzero(expected)
    assert _p_value(np.searchsorted(used, which), expected[used]) > 0.001


@pytest.mark.parametrize('policy', [policies.rand_augment, policies.trivial_augment,
                                    policies.auto_augment])
@pytest.mark.parametrize('channels', [1, 3])
def test_every_operation_runs(photo, policy, channels):
  image = tf.constant(photo[..., :channels], tf.int32)
  function = tf.function(policy, autograph=False)
  results = [function(image, tf.constant([i, 7])).numpy() for i in range(60)]
  assert all(result.shape == image.shape and result.min() >= 0 and result.max() <= 255
             for result in results)
  assert len({result.tobytes() for result in results}) > 20
  np.testing.assert_array_equal(results[3], function(image, tf.constant([3, 7])))


def test_jitter(photo):
  image, orders = tf.constant(photo, tf.int32), set()
  enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
  for i in range(12):
    seed = tf.constant([i, 1])
    order = tf.random.experimental.stateless_shuffle(tf.range(3), image_ops.decision_seed(seed, 0))
    factors = tf.random.stateless_uniform([3], image_ops.decision_seed(seed, 1), 0.6, 1.4).numpy()
    orders.add(tuple(order.numpy()))
    expected = Image.fromarray(photo)
    for number in order.numpy():
      expected = enhance[number](expected).enhance(float(factors[number]))
    np.testing.assert_array_equal(policies.jitter(image, seed, 0.4), np.asarray(expected))
  assert len(orders) > 3


def test_erasing():
  image = tf.ones([60, 90, 3])
  function = tf.function(lambda seed: policies.erase(image, seed, 0.6), autograph=False)
  erased = np.array([function(tf.constant([i, 2])).numpy()[..., 0] == 0 for i in range(400)])
  shares = erased.mean((1, 2))
  assert abs((shares > 0).mean() - 0.6) < 0.07
  some = shares[shares > 0]
  assert 0.015 < some.min() < 0.04 and 0.3 < some.max() < 0.34
  assert abs(some.mean() - 0.175) < 0.02  # Uniform in [0.02, 0.33].
  rows, columns = erased.any(2).sum(1), erased.any(1).sum(1)
  np.testing.assert_array_equal(rows * columns, erased.sum((1, 2)))  # Rectangles.
  ratio = (rows / np.maximum(columns, 1))[shares > 0]
  assert 0.25 < ratio.min() < 0.4 and 2.5 < ratio.max() < 3.7
  assert erased.any(0).mean() > 0.99  # Anywhere.
