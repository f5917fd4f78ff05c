"""Random numbers per example: uniform, independent and reproducible."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from nets import noise

MASK = 0xFFFFFFFF


def mix(h):
  """MurmurHash3's 32-bit finaliser, in Python's own integers."""
  h ^= h >> 16
  h = h * 0x85EBCA6B & MASK
  h ^= h >> 13
  h = h * 0xC2B2AE35 & MASK
  return h ^ h >> 16


def fold(key, value):
  key = mix((key ^ (value & MASK)) + 0x9E3779B9 & MASK)
  return mix((key ^ (value >> 32 & MASK)) + 0x7F4A7C15 & MASK)


def reference(seed, step, example, count, layer):
  """The numbers of one example, one by one."""
  keys = [fold(fold(fold(start, seed), step), example) for start in (0x2545F491, 0x6C078965)]
  first, second = (fold(key, zlib.crc32(layer.encode())) for key in keys)
  return [(mix(mix(first + i * 0x9E3779B9 & MASK) ^ second) >> 8) * 2.0**-24
          for i in range(count)]


@pytest.mark.parametrize(('seed', 'step', 'example'), [
  (0, 0, 0), (1, 2, 3), (-5, 2**31, 2**40 + 7), (2**32 - 1, 10**6, -1)])
def test_equals_the_hash_in_plain_python(seed, step, example):
  keys = noise.example_keys(seed, tf.constant(step, tf.int64), [example])
  numbers = noise.uniform(keys, [3, 5], 'net/dropout')
  assert numbers.shape == [1, 3, 5]
  np.testing.assert_array_equal(
    numbers.numpy().ravel(), np.float32(reference(seed, step, example, 15, 'net/dropout')))


@pytest.mark.parametrize('jit_compile', [False, True])
def test_graph_and_xla_draw_the_same(jit_compile):
  def draw(step):
    return noise.uniform(noise.example_keys(3, step, [4, 5]), [100], 'a')
  compiled = tf.function(draw, jit_compile=jit_compile)
  step = tf.constant(9, tf.int64)
  np.testing.assert_array_equal(compiled(step), draw(step))


def draws(*, seed=0, step=0, ids=range(200), layer='layer', count=1000):
  return noise.uniform(noise.example_keys(seed, step, list(ids)), [count], layer).numpy()


def test_is_uniform_over_every_axis():
  numbers = draws()
  assert numbers.min() >= 0
  assert numbers.max() < 1
  ranges = [numbers.ravel(), numbers[:, 0], numbers[0], draws(ids=[7], count=100_000).ravel(),
            np.array([draws(step=step, ids=[1], count=1)[0, 0] for step in range(300)])]
  for values in ranges:
    assert scipy.stats.kstest(values, 'uniform').pvalue > 0.001


def test_neighbours_are_uncorrelated():
  numbers = draws()

  def correlation(a, b):
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) * np.sqrt(a.size)

  # In units of the standard deviation expected by chance.
  pairs = [(numbers[:, :-1], numbers[:, 1:]), (numbers[:, :-2], numbers[:, 2:]),
           (numbers[:-1], numbers[1:]), (numbers, draws(step=1)), (numbers, draws(seed=1)),
           (numbers, draws(layer='layer2'))]
  for a, b in pairs:
    assert correlation(a, b) < 4
    assert correlation((a < 0.5).astype(float), (b < 0.5).astype(float)) < 4


def test_position_in_the_batch_does_not_matter():
  np.testing.assert_array_equal(draws(ids=[5, 6, 7])[2], draws(ids=[7])[0])


@pytest.mark.parametrize('other', [
  {'seed': 1}, {'step': 1}, {'ids': range(200, 400)}, {'layer': 'other'},
  {'ids': range(2**32, 2**32 + 200)}])
def test_changes_with_each_input(other):
  assert (draws() == draws(**other)).mean() < 1e-3
