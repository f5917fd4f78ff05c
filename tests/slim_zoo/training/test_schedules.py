"""Learning rate schedules against TensorFlow's own, and beyond the steps float32 can count."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from slim_zoo.config.training import Duration, Optimization
from slim_zoo.training import from_config, schedules
from slim_zoo.training.length import Length
from slim_zoo.training.schedules import Schedule

v1 = tf.compat.v1.train
_STEPS = [*range(40), 99, 100, 101, 199, 200, 201, 999, 5000, 123_456, 2**24 - 1]


def _expected(schedule: Schedule, step: int) -> float:
  """The rate as TF-Slim's `train_image_classifier.py` builds it from TensorFlow's functions."""
  step, s = tf.constant(step, tf.int64), schedule
  if s.decay_type == 'exponential':
    rate = v1.exponential_decay(s.learning_rate, step, s.decay_steps, s.decay_factor,
                                staircase=True)()
  elif s.decay_type == 'polynomial':
    rate = v1.polynomial_decay(s.learning_rate, step, s.decay_steps, s.end_learning_rate,
                               power=1.0, cycle=False)()
  else:
    rate = tf.constant(s.learning_rate)
  if s.warmup_steps:
    rate = tf.minimum(s.learning_rate * tf.cast(step, tf.float32) / s.warmup_steps, rate)
  return float(rate)


@pytest.mark.parametrize('warmup_steps', [0, 1, 25])
@pytest.mark.parametrize('schedule', [
  Schedule('fixed', 0.01),
  Schedule('exponential', 0.01),
  Schedule('exponential', 0.01, decay_steps=10, decay_factor=0.5),
  Schedule('exponential', 3.0, decay_steps=7, decay_factor=1.0),
  Schedule('polynomial', 0.01, decay_steps=100),
  Schedule('polynomial', 0.01, decay_steps=100, end_learning_rate=0.0),
  Schedule('polynomial', 0.001, decay_steps=9, end_learning_rate=0.1),  # An increase.
])
def test_equals_tensorflow(schedule, warmup_steps):
  schedule = dataclasses.replace(schedule, warmup_steps=warmup_steps)
  rates = [float(schedule(tf.constant(step, tf.int64))) for step in _STEPS]
  expected = [_expected(schedule, step) for step in _STEPS]
  # TensorFlow's use powers that float32 cannot represent.
  np.testing.assert_allclose(rates, expected, rtol=2e-6, atol=1e-30)


@pytest.mark.parametrize('warmup_steps', [0, 1, 25])
def test_cosine_equals_keras(warmup_steps):
  schedule = Schedule('cosine', 0.3, decay_steps=201, warmup_steps=warmup_steps)
  expected = keras.optimizers.schedules.CosineDecay(
    0.0 if warmup_steps else 0.3, 201 - warmup_steps, warmup_target=0.3 if warmup_steps else None,
    warmup_steps=warmup_steps)
  rates = [float(schedule(tf.constant(step, tf.int64))) for step in _STEPS]
  np.testing.assert_allclose(rates, [float(expected(step)) for step in _STEPS], atol=1e-7)
  assert rates[_STEPS.index(201)] == 0 and max(rates) == np.float32(0.3)


@pytest.mark.parametrize('kind', ['exponential', 'polynomial'])
def test_steps_beyond_float32_precision(kind):
  first = 2**24 + 1
  schedule = Schedule(kind, 1.0, decay_steps=1 if kind == 'exponential' else 2**25,
                      decay_factor=1 - 2**-20, end_learning_rate=0.0)
  rates = [float(schedule(tf.constant(first + step))) for step in range(2)]
  expected = [(1 - 2**-20)**(first + step) if kind == 'exponential'
              else 1 - (first + step) / 2**25 for step in range(2)]
  np.testing.assert_allclose(rates, np.float32(expected), rtol=1e-7)
  assert rates[0] > rates[1]


def test_works_in_a_function_and_is_a_float32_scalar():
  rate = tf.function(Schedule('exponential', 0.5, warmup_steps=10))(tf.constant(5, tf.int64))
  assert rate.dtype == tf.float32
  assert rate.shape == []
  assert float(rate) == 0.25


def test_unknown_decay():
  with pytest.raises(ValueError, match="'exponental'.* exponential"):
    Schedule('exponental', 0.1)


@pytest.mark.parametrize('cycles', [1, 2, 4])
@pytest.mark.parametrize('warmup_steps', [0, 8])
def test_restarts_equal_keras(cycles, warmup_steps):
  schedule = Schedule('cosine', 0.3, decay_steps=200 + warmup_steps, warmup_steps=warmup_steps,
                      cycles=cycles)
  expected = keras.optimizers.schedules.CosineDecayRestarts(0.3, 200 // cycles, t_mul=1.0)
  steps = range(200)
  rates = [float(schedule(tf.constant(step + warmup_steps, tf.int64))) for step in steps]
  np.testing.assert_allclose(rates, [float(expected(step)) for step in steps], atol=1e-6)
  assert float(schedule(tf.constant(200 + warmup_steps))) == 0


def test_multi_step_equals_keras():
  schedule = Schedule('multi_step', 0.1, decay_factor=0.1, milestones=(30, 60, 80))
  expected = keras.optimizers.schedules.PiecewiseConstantDecay(
    [29, 59, 79], [0.1, 0.01, 0.001, 0.0001])  # Keras changes after its boundaries.
  steps = range(100)
  rates = [float(schedule(tf.constant(step, tf.int64))) for step in steps]
  np.testing.assert_allclose(rates, [float(expected(step)) for step in steps], rtol=1e-6)


def test_one_cycle_equals_pytorch():
  schedule = Schedule('one_cycle', 0.1, decay_steps=50, warmup_steps=10)
  # torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=50), at these steps.
  expected = {
    0: 0.004, 7: 0.052, 14: 0.1, 15: 0.09979871550490317, 30: 0.05671183644422961, 49: 4e-07}
  for step, rate in expected.items():
    assert float(schedule(tf.constant(step, tf.int64))) == pytest.approx(rate, rel=1e-5), step


@pytest.mark.parametrize(('schedule', 'end', 'expected'), [
  (Schedule('fixed', 0.01), None, ['fixed, 0.01.']),
  (Schedule('exponential', 0.01, decay_steps=20), 40,
   ['exponential, 0.01, times 0.94 every 2 epochs; 0.0094 in the last of 40 steps, 4 epochs.']),
  (Schedule('cosine', 0.1, decay_steps=40, warmup_steps=5), 40,
   ['cosine, 0.1 after a warm-up of 0.5 epochs;', 'in the last of 40 steps, 4 epochs.']),
  (Schedule('multi_step', 1.0, decay_factor=0.1, milestones=(20, 30)), 40,
   ['multi_step, 1, times 0.1 after 2, 3 epochs; 0.01 in the last']),
  (Schedule('polynomial', 0.1, decay_steps=20), None, ['falls to 0.0001 in 2 epochs.'])])
def test_description(schedule, end, expected):
  text = schedules.describe(schedule, end, 10.0)
  assert all(part in text for part in expected), text


@pytest.mark.parametrize(('scaling', 'rate'), [('none', 0.1), ('linear', 0.4), ('sqrt', 0.2)])
def test_rate_for_four_replicas(scaling, rate):
  config = Optimization(learning_rate=0.1, scale_learning_rate=scaling, warmup_epochs=2)
  found = from_config.make_schedule(config, Duration(), Length(1000, 10, 4))
  assert found.learning_rate == pytest.approx(rate)
  assert found.warmup_steps == 50  # Of 40 examples each.
