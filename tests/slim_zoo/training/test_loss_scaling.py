"""Training in float16: the loss is scaled, and steps that overflow change nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import layers, network
from slim_zoo.training import distribution, loss_scaling, optimizers, schedules, trainer

_BATCH = 8


def _small(images, num_classes, *, is_training):
  del is_training  # It has no layers that depend on it.
  with tf.compat.v1.variable_scope('small'):
    net = layers.conv2d(images, 4, 3, stride=2, scope='conv')
    return layers.fully_connected(layers.flatten(net), num_classes, activation_fn=None,
                                  scope='logits'), {}


def _broken(images, num_classes, *, is_training):
  """Its gradients are NaN, although its logits are finite."""
  logits, end_points = _small(images, num_classes, is_training=is_training)
  return logits + tf.sqrt(tf.nn.relu(-tf.abs(logits))), end_points


def _no_arguments(weight_decay):
  del weight_decay
  with layers.arg_scope([]) as scope:
    return scope


def _train(steps, *, replicas=1, scale=None, resumed=None, dtype=tf.float16, scales_loss=True,
           with_gradients=False, function=_small, **arguments):
  """Trains a small network for some steps; returns the trainer and its last steps."""
  strategy = distribution.create_strategy(replicas, clone_on_cpu=True)
  with strategy.scope():
    made = trainer.Trainer(
        network.Network(function, _no_arguments, image_shape=[8, 8, 1], num_classes=5,
                        is_training=True, dtype=dtype),
        optimizer='momentum', settings=optimizers.Settings(),
        schedule=schedules.Schedule('fixed', 0.01, decay_steps=1), batch_size=_BATCH,
        scales_loss=scales_loss, **arguments)
  for name, value in (resumed or {}).items():
    made.state()[name].assign(value)
  if scale:
    made.state()['loss_scale'].assign(scale)
  random = np.random.default_rng(0)
  count = 3 * _BATCH
  examples = {'image': random.normal(size=[count, 8, 8, 1]).astype('f4'),
              'label': random.integers(0, 5, count).astype('i4'),
              'weight': np.ones(count, 'f4'), 'id': random.integers(0, 2**62, count)}
  dataset = tf.data.Dataset.from_tensor_slices(examples).batch(
      _BATCH // replicas // made.batches_per_step, drop_remainder=True).repeat().skip(
          made.step * replicas * made.batches_per_step)
  batches = iter(strategy.distribute_datasets_from_function(lambda _: dataset))
  return made, made.run(batches, steps, with_gradients=with_gradients)


def _values(made):
  return {name: variable.read_value().numpy() for name, variable in made.state().items()}


@pytest.mark.parametrize(('replicas', 'batches'), [(1, 1), (2, 1), (1, 2)])
def test_steps_that_overflow_change_nothing_but_the_scale(replicas, batches):
  arguments = {'replicas': replicas, 'batches_per_step': batches, 'moving_average_decay': 0.9}
  before = _values(_train(0, **arguments)[0])
  made, measured = _train(2, scale=2.0 ** 60, with_gradients=True, **arguments)
  after = _values(made)
  changed = {name for name, value in before.items() if value.tobytes() != after[name].tobytes()}
  assert changed == {'loss_scale', 'global_step'}
  assert (after['loss_scale'], after['global_step'], before['loss_scale']) == (
    2.0 ** 58, 2, loss_scaling.FIRST_SCALE)
  assert np.isfinite(measured.objective).all() and measured.learning_rate[-1] == np.float32(0.01)
  assert not any(gradient.any() for gradient in measured.gradients.values())
  good, _ = _train(1, resumed=after | {'loss_scale': 1024.0}, **arguments)
  assert _values(good)['small/logits/weights'].tobytes() != after['small/logits/weights'].tobytes()


def test_broken_gradients_are_noticed():
  made, measured = _train(3, scale=4.0, function=_broken)
  assert np.isfinite(measured.objective).tolist() == [True, True, False]
  assert _values(made)['loss_scale'] == 1


def test_small_gradients_survive():
  """Class weights make gradients that are 0 in float16, whose smallest number is 6e-8."""
  arguments = {'with_gradients': True, 'class_weights': [1e-6] * 5}
  expected, scaled, unscaled = (
      _train(1, dtype=dtype, scales_loss=scales, **arguments)[1].gradients['small/conv/weights']
      for dtype, scales in ((tf.float32, False), (tf.float16, True), (tf.float16, False)))

  def cosine(found):
    return np.sum(found * expected) / max(np.linalg.norm(found) * np.linalg.norm(expected), 1e-30)

  print(f'\nwith scaling {cosine(scaled):.5f}, without {cosine(unscaled):.5f}')
  assert cosine(scaled) > 0.999 and cosine(unscaled) < 0.9


def test_resumed_run_has_the_same_bits():
  whole = _values(_train(4, scale=2.0 ** 30)[0])
  half = _values(_train(2, scale=2.0 ** 30)[0])
  for name, value in _values(_train(2, resumed=half)[0]).items():
    assert value.tobytes() == whole[name].tobytes(), name
  assert whole['loss_scale'] == 2.0 ** 26


def test_scale_is_that_of_keras(monkeypatch):
  monkeypatch.setattr(loss_scaling, '_PATIENCE', 3)
  theirs = keras.optimizers.LossScaleOptimizer(
      keras.optimizers.SGD(), initial_scale=loss_scaling.FIRST_SCALE, dynamic_growth_steps=3)
  variable = keras.Variable(1.0)
  theirs.build([variable])
  scale, good = tf.constant(loss_scaling.FIRST_SCALE), tf.constant(0, tf.int64)
  for is_finite in np.random.default_rng(0).random(40) < 0.8:
    theirs.apply([tf.constant(1.0 if is_finite else np.inf)], [variable])
    scale, good = loss_scaling.next_scale(scale, good, tf.constant(is_finite))
    assert (float(scale), int(good)) == (
      float(theirs.dynamic_scale), int(theirs.step_counter)), is_finite
  assert float(loss_scaling.next_scale(tf.constant(1.0), good, tf.constant(False))[0]) == 1.0
