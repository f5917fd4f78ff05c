"""Mixup and CutMix: pixels and labels against NumPy, shares against SciPy's distributions."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from slim_zoo.training.mixing import NO_MIXING, Mixing, _beta

_SIZE, _CLASSES = (24, 32), 5


def _batch(count=6):
  rng = np.random.default_rng(0)
  images = rng.normal(size=[count, *_SIZE, 3]).astype(np.float32)
  targets = np.eye(_CLASSES, dtype=np.float32)[rng.integers(0, _CLASSES, count)]
  return images, targets


def _mix(seed, weights=None, **alphas):
  images, targets = _batch()
  weights = np.ones(len(images), np.float32) if weights is None else weights
  mixed, new = Mixing(**alphas)(tf.constant(images), tf.constant(targets),
                                weights=tf.constant(weights), seed=tf.constant([seed, 3]))
  return images, targets, mixed.numpy(), new.numpy()


def _share(images, mixed, example=0):
  """The share of the example's own image in each pixel, [height, width]."""
  own, other = images[example], images[::-1][example]
  return ((mixed[example] - other) / (own - other)).mean(-1)


@pytest.mark.parametrize('seed', range(4))
def test_mixup(seed):
  images, targets, mixed, new = _mix(seed, mixup_alpha=0.4)
  share = _share(images, mixed).mean()
  np.testing.assert_allclose(mixed, share * images + (1 - share) * images[::-1], atol=1e-5)
  np.testing.assert_allclose(new, share * targets + (1 - share) * targets[::-1], atol=1e-5)


@pytest.mark.parametrize('seed', range(6))
def test_cutmix(seed):
  images, targets, mixed, new = _mix(seed, cutmix_alpha=1.0)
  own = np.isclose(_share(images, mixed), 1, atol=1e-3)
  inside = ~own
  assert inside.sum() == inside.any(1).sum() * inside.any(0).sum()  # A rectangle.
  np.testing.assert_array_equal(mixed, np.where(inside[None, :, :, None], images[::-1], images))
  share = own.mean()
  np.testing.assert_allclose(new, share * targets + (1 - share) * targets[::-1], atol=1e-6)


@pytest.mark.parametrize('alpha', [0.1, 0.4, 1.0, 3.0])
def test_shares_follow_the_beta_distribution(alpha):
  draw = tf.function(lambda: tf.map_fn(lambda i: _beta(alpha, tf.stack([i, 7])), tf.range(2000),
                                       fn_output_signature=tf.float32), autograph=False)
  edges = np.linspace(0, 1, 11)  # Below an alpha of 1, many shares are rounded to 1.
  counts, _ = np.histogram(draw().numpy(), edges)
  expected = np.diff(stats.beta(alpha, alpha).cdf(edges)) * 2000
  assert stats.chisquare(counts, expected).pvalue > 0.001


def test_both_switch():
  kinds = []
  for seed in range(60):
    images, _, mixed, _ = _mix(seed, mixup_alpha=1.0, cutmix_alpha=1.0)
    share = _share(images, mixed)
    kinds.append(share.std() < 1e-3 and 1e-3 < share.mean() < 1 - 1e-3)
  assert 15 < sum(kinds) < 45


@pytest.mark.parametrize('alphas', [{'mixup_alpha': 1.0}, {'cutmix_alpha': 1.0}])
def test_bad_images_are_not_mixed_in(alphas):
  weights = np.array([1, 0, 1, 1, 1, 1], np.float32)
  images, targets, mixed, new = _mix(5, weights, **alphas)
  for example in (1, 4):  # Partners of each other.
    np.testing.assert_array_equal(mixed[example], images[example])
    np.testing.assert_array_equal(new[example], targets[example])
  assert not np.array_equal(mixed[0], images[0])


def test_function_of_the_seed():
  first, again, other = (_mix(seed, mixup_alpha=0.4)[2] for seed in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first, other)
  assert not NO_MIXING.is_on and Mixing(cutmix_alpha=1.0).is_on
