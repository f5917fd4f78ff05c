"""Mixup and CutMix: pixels and labels against NumPy, shares against SciPy's distributions."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from slim_zoo.training.mixing import NO_MIXING, Mixing, _beta

_SIZE, _CLASSES = (24, 32), 5


def _batch(count=8):
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
  edges = np.linspace(0, 1, 11)  # Below an alpha of 1, many shares are rounded to 1.
  counts, _ = np.histogram(_beta(alpha, tf.constant([3, 7]), 2000).numpy(), edges)
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
  weights = np.array([1, 0, 1, 1, 1, 1, 1, 1], np.float32)
  images, targets, mixed, new = _mix(5, weights, **alphas)
  for example in (1, 6):  # Partners of each other.
    np.testing.assert_array_equal(mixed[example], images[example])
    np.testing.assert_array_equal(new[example], targets[example])
  assert not np.array_equal(mixed[0], images[0])


def test_function_of_the_seed():
  first, again, other = (_mix(seed, mixup_alpha=0.4)[2] for seed in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first, other)
  assert not NO_MIXING.is_on and Mixing(cutmix_alpha=1.0).is_on


@pytest.mark.parametrize('alphas', [{'mixup_alpha': 0.4}, {'cutmix_alpha': 1.0},
                                    {'mixup_alpha': 0.4, 'cutmix_alpha': 1.0}])
@pytest.mark.parametrize('parts', [2, 4])
def test_divided_batch_is_mixed_like_a_whole_one(alphas, parts):
  images, targets = _batch(32)
  weights = (np.arange(32) % 7 != 3).astype(np.float32)

  def mix(part, count):
    rows = slice(part * 32 // count, (part + 1) * 32 // count)
    return Mixing(**alphas)(*map(tf.constant, (images[rows], targets[rows])),
                            weights=tf.constant(weights[rows]), seed=tf.constant([4, 3]),
                            place=tf.constant(part), places=count)

  whole = mix(0, 1)
  divided = zip(*(mix(part, parts) for part in range(parts)), strict=True)
  for expected, found in zip(whole, divided, strict=True):
    np.testing.assert_array_equal(expected, np.concatenate(found))
  groups = [(images[first:first + 8], whole[0].numpy()[first:first + 8])
            for first in range(0, 32, 8)]
  assert len({round(float(_share(*group).mean()), 4) for group in groups}) == 4


@pytest.mark.parametrize(('count', 'partner'), [(5, 4), (6, 1), (12, 3), (24, 7)])
def test_batches_of_other_sizes(count, partner):
  images, targets = _batch(count)
  mixed, _ = Mixing(cutmix_alpha=1.0)(tf.constant(images), tf.constant(targets),
                                      weights=tf.ones([count]), seed=tf.constant([1, 3]))
  is_own, is_partners = (np.isclose(mixed[0], image).all(-1) for image in images[[0, partner]])
  assert (is_own | is_partners).all() and not is_own.all()
