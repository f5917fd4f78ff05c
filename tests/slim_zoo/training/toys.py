"""Small networks for tests of the training step, and a function that trains them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from nets import layers, nets_factory, network
from slim_zoo.training import distribution, losses, optimizers, schedules, trainer

BATCH = 8
SETTINGS = optimizers.Settings(opt_epsilon=1e-3)
SCHEDULE = schedules.Schedule('exponential', 0.05, decay_steps=2)
# One for each class of the networks here.
CLASS_WEIGHTS = (0.5, 3.0, 1.0, 0.0, 2.5)


def _toy(images, num_classes, *, is_training, scope='toy'):
  """A net with batch norm and an auxiliary head."""
  with tf.compat.v1.variable_scope(scope), layers.arg_scope(
      [layers.batch_norm], is_training=is_training, scale=True, decay=0.9):
    net = layers.conv2d(images, 4, 3, normalizer_fn=layers.batch_norm, scope='conv1')
    net = layers.conv2d(net, 6, 3, stride=2, normalizer_fn=layers.batch_norm, scope='conv2')
    net = tf.reduce_mean(net, [1, 2])
    end_points = {}
    if is_training:
      end_points['AuxLogits'] = layers.fully_connected(net, num_classes, activation_fn=None,
                                                       scope='aux')
    logits = layers.fully_connected(net, num_classes, activation_fn=None, scope='logits')
  return logits, end_points


def _toy_arg_scope(weight_decay=0.0):
  with layers.arg_scope([layers.conv2d, layers.fully_connected],
                        weights_regularizer=layers.l2_regularizer(weight_decay)) as scope:
    return scope


def toy_network(**arguments):
  return network.Network(_toy, _toy_arg_scope, image_shape=[8, 8, 3], num_classes=5,
                         weight_decay=0.01, is_training=True, **arguments)


def partly_frozen_toy_network(**arguments):
  return toy_network(trainable_scopes=['toy/conv2', 'toy/logits', 'toy/aux'], **arguments)


def lenet(**arguments):
  return nets_factory.build_network('lenet', image_shape=[28, 28, 1], num_classes=5,
                                    weight_decay=0.01, is_training=True, **arguments)


def _smooth(images, num_classes, *, is_training, scope='smooth'):
  with tf.compat.v1.variable_scope(scope):
    net = layers.conv2d(images, 6, 5, stride=2, activation_fn=tf.tanh, scope='conv1')
    net = layers.fully_connected(layers.flatten(net), 32, activation_fn=tf.tanh, scope='fc2')
    net = layers.dropout(net, 0.5, is_training=is_training, scope='dropout2')
    return layers.fully_connected(net, num_classes, activation_fn=None, scope='fc3'), {}


def smooth_network(**arguments):
  """A network with dropout and without kinks, at which rounding changes gradients by much."""
  return network.Network(_smooth, _toy_arg_scope, image_shape=[28, 28, 1], num_classes=5,
                         weight_decay=0.01, is_training=True, **arguments)


SHAPES = {lenet: [28, 28, 1], smooth_network: [28, 28, 1], toy_network: [8, 8, 3],
          partly_frozen_toy_network: [8, 8, 3]}


def examples(shape, batches=3):
  random = np.random.default_rng(0)
  count = BATCH * batches
  return {'image': random.normal(size=[count, *shape]).astype(np.float32),
          'label': random.integers(0, 5, count).astype(np.int32),
          'weight': (np.arange(count) % 7 != 3).astype(np.float32),
          'id': random.integers(0, 2**62, count)}


def train(build, steps, *, replicas=1, optimizer='momentum', xla=False, average=None,
           with_gradients=False, calls=1, resumed=None, **arguments):
  strategy = distribution.create_strategy(replicas, clone_on_cpu=True)
  with strategy.scope():
    made = trainer.Trainer(
        build(), optimizer=optimizer, settings=SETTINGS, schedule=SCHEDULE, batch_size=BATCH,
        loss=losses.Loss(label_smoothing=0.1), moving_average_decay=average, xla=xla, **arguments)
  for name, value in (resumed or {}).items():
    made.state()[name].assign(value)
  dataset = tf.data.Dataset.from_tensor_slices(examples(SHAPES[build])).batch(
      BATCH // replicas // made.batches_per_step, drop_remainder=True).repeat().skip(
          made.step * replicas * made.batches_per_step)
  batches = iter(strategy.distribute_datasets_from_function(lambda _: dataset))
  measured = [made.run(batches, steps // calls, with_gradients=with_gradients)
              for _ in range(calls)]
  return made, measured[-1]


def values(made):
  return {name: variable.read_value().numpy() for name, variable in made.state().items()}
