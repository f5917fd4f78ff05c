"""The adapter between slim's networks and TensorFlow 2.

A slim network is a function that requests its variables while it is traced. `Network` handles these
requests with a `custom_getter`, keeps the variables by name, and is then frozen: every later trace,
in any replica or graph, gets the same variables, and an unknown name is an error instead of another
untrained variable.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nets import initial_values, layers, scopes


class Network:
  """A network with its variables.

  Attributes:
    variables: `{name: tf.Variable}` in the order of the layers, float32, named as in TF-Slim.
    trainable: names of the variables that are trained: within `trainable_scopes`, not frozen.
    sync_batch_norm: whether batch norm uses the batches of all replicas in training.
    image_shape: [height, width, channels] that it was traced with.
  """

  def __init__(self, function: Callable, arg_scope: Callable, *, image_shape: Sequence[int],
               num_classes: int | None, weight_decay: float = 0.0,
               trainable_scopes: Sequence[str] = (),
               is_frozen: Callable[[str], bool] | None = None, is_training: bool = False,
               batch_norm_decay: float | None = None, sync_batch_norm: bool = False,
               dropout_rate: float | None = None,
               drop_path_rate: float | None = None,
               dtype: tf.DType = tf.float32, seed: int = 0, is_restored: bool = False):
    """Creates the network's variables, on every replica of the current strategy.

    Args:
      function: `function(images, num_classes, is_training=…) -> (logits, end_points)`.
      arg_scope: `arg_scope(weight_decay=…)`, the arg scope that the function runs under.
      image_shape: [height, width, channels] to trace with.
      num_classes: number of classes; 0 or None returns features instead of logits.
      weight_decay: factor of the L2 regularizers.
      trainable_scopes: scopes that are trained; empty means everything. The moving averages of
        batch norm in other scopes stay unchanged.
      is_frozen: given a variable's name, returns whether it stays unchanged although it is in
        `trainable_scopes`; also applies to moving averages. None freezes nothing.
      is_training: whether to create variables that only training needs, such as auxiliary heads.
      batch_norm_decay: of batch norm's moving averages; None for the network's own.
      sync_batch_norm: whether batch norm uses the batches of all replicas in training.
      dropout_rate: of all its dropout layers; None for the network's own.
      drop_path_rate: share of the examples that drop a residual block at the end; the others are
        dropped less, in proportion to their depth; None for the network's own. Where nothing is
        trained, no blocks are dropped.
      dtype: dtype in which layers compute; the variables are float32.
      seed: each variable's initial value is a function of this and its name.
      is_restored: whether every variable will be restored; they are zeros until then, which takes
        no time.

    Raises:
      ValueError: if a scope of `trainable_scopes` matches no variable, or if all
        matching variables are frozen.
    """
    self.variables: dict[str, tf.Variable] = {}
    self._function = function
    self._arg_scope = arg_scope
    self._num_classes = num_classes
    self.image_shape = tuple(image_shape)
    self._weight_decay = weight_decay
    self._batch_norm_decay = batch_norm_decay
    self.sync_batch_norm = sync_batch_norm
    self._keep_prob = None if dropout_rate is None else 1 - dropout_rate
    self._drop_path_rate = drop_path_rate
    self._has_paths = False
    self._trainable_scopes = tuple(trainable_scopes)
    self._is_kept = is_frozen or (lambda name: False)
    self._dtype = dtype
    self._seed = seed
    self._is_restored = is_restored
    self._regularizers: dict[str, Callable] = {}
    self._is_frozen = False
    # Unlike `tf.function`, this traces once although there are new variables.
    tf.compat.v1.wrap_function(
        lambda images, keys, step: self(images, is_training=is_training, keys=keys, step=step)[0],
        [tf.TensorSpec([1, *image_shape], tf.float32), tf.TensorSpec([1, 2], tf.int64),
         tf.TensorSpec([], tf.int64)])
    self._is_frozen = True
    if drop_path_rate and is_training and not self._has_paths:
      raise ValueError('--drop_path_rate: expected a network with residual blocks that can be '
                       'dropped. Received: one without. Leave it out.')
    names = [name for name, v in self.variables.items() if v.trainable]
    if self._trainable_scopes:
      names = scopes.select(names, self._trainable_scopes, 'trainable_scopes')
    self.trainable = [name for name in names if not self._is_kept(name)]
    if names and not self.trainable:
      raise ValueError('Expected something to train. Received: learning rate multipliers of 0 for '
                       f'all of {", ".join(self._trainable_scopes) or "the network"}.')

  def __call__(self, images: tf.Tensor, *, is_training: bool, keys: tf.Tensor | None = None,
               step: tf.Tensor | None = None, variables: Mapping[str, Any] | None = None,
               fold: Callable[[str, Callable], tuple] | None = None):
    """Applies the network.

    Args:
      images: float32 [batch, height, width, channels], preprocessed.
      is_training: a Python bool.
      keys: int64 [batch, 2] from `nets.noise.example_keys`, for random layers in training.
      step: scalar integer, the number of completed steps, for layers that depend on it.
      variables: substitutes for the variables, to trace the network without its own.
      fold: for batch norm in inference; see `layers.batch_norm` and `folding.Folded`.

    Returns:
      Logits, float32 [batch, num_classes], and the end points, `{name: tensor}`.
    """
    getter = functools.partial(
        self._get, variables=self.variables if variables is None else variables)
    with tf.compat.v1.variable_scope(
        tf.compat.v1.get_variable_scope(), custom_getter=getter, auxiliary_name_scope=False), \
        layers.arg_scope(self._arg_scope(weight_decay=self._weight_decay)), \
        layers.arg_scope([layers.batch_norm], is_frozen=self._keeps_averages,
                         decay_of_run=self._batch_norm_decay,
                         is_synchronized=self.sync_batch_norm, fold=fold), \
        layers.arg_scope([layers.dropout], keep_prob_of_run=self._keep_prob), \
        layers.arg_scope([layers.drop_path], keep_prob_of_run=self._keep_path), \
        layers.arg_scope(layers.RANDOM, keys=keys), \
        layers.arg_scope([layers.scheduled_drop_path], step=step):
      logits, end_points = self._function(tf.cast(images, self._dtype), self._num_classes,
                                          is_training=is_training)
    end_points = {name: tf.cast(value, tf.float32) if name in _FLOAT32_END_POINTS else value
                  for name, value in end_points.items()}
    return tf.cast(logits, tf.float32), end_points

  @property
  def num_classes(self) -> int | None:
    """Number of its outputs; None or 0 for features."""
    return self._num_classes

  def regularization_loss(self, names: Sequence[str] | None = None) -> tf.Tensor:
    """Returns the sum of the variables' regularizers, by default of all; a float32 scalar."""
    wanted = set(self.variables if names is None else names)
    losses = [regularizer(tf.convert_to_tensor(self.variables[name]))
              for name, regularizer in self._regularizers.items() if name in wanted]
    return tf.add_n(losses) if losses else tf.zeros([])

  def batch_norm_memory(self) -> float:
    """Returns for how many steps batch norm's averages remember a batch, 1 / (1 - decay).

    Returns:
      0 if no averages are updated in training.
    """
    if all(self._keeps_averages(name.rpartition('/')[0]) for name in self.variables
           if name.endswith('/moving_mean')):
      return 0.0
    decay = self._batch_norm_decay
    if decay is None:
      with layers.arg_scope(self._arg_scope(weight_decay=0.0)):
        arguments = layers.current_arg_scope().get(layers.batch_norm, {})
      decay = arguments.get('decay', layers.BATCH_NORM_DECAY)
    return float('inf') if decay == 1 else 1 / (1 - decay)

  def _keeps_averages(self, scope: str) -> bool:
    return not any(self._is_trained(f'{scope}/{name}') for name in ('beta', 'gamma', 'moving_mean'))

  def _keep_path(self, scope: str, keep_prob: float, depth: float) -> float:
    """Returns the probability that a path is kept; see `layers.drop_path`."""
    self._has_paths = True
    beginning = f'{scope}/' if scope else ''
    if not any(self._is_trained(name) for name in self.variables if name.startswith(beginning)):
      return 1.0
    return keep_prob if self._drop_path_rate is None else 1 - self._drop_path_rate * depth

  def _is_trained(self, name: str) -> bool:
    return not self._is_kept(name) and (
        not self._trainable_scopes or scopes.matches_any(name, self._trainable_scopes))

  def _get(self, getter, name: str, *, variables, shape, dtype, initializer, regularizer=None,
           trainable: bool | None = True, **unused):
    """Handles a call of `tf.compat.v1.get_variable`."""
    del getter, unused  # The default getter of get_variable, and its other arguments.
    variable = variables.get(name)
    if variable is None:
      if self._is_frozen:
        raise ValueError(f'The network asked for a variable {name!r} that it did not have when '
                         f'it was built. It has: {", ".join(self.variables)}.')
      variable = self._create(name, shape, initializer=initializer,
                              trainable=trainable is not False)
      self.variables[name] = variable
      if regularizer is not None:
        self._regularizers[name] = regularizer
    elif list(variable.shape) != list(shape):
      raise ValueError(f'The variable {name!r} was built with shape {list(variable.shape)}. '
                       f'Received a request for {list(shape)}: the images have another size.')
    return variable if dtype == variable.dtype else tf.cast(variable, dtype)

  def _create(self, name: str, shape, *, initializer, trainable: bool) -> tf.Variable:
    # Batch norm's averages differ between replicas; reading them outside a replica takes the mean.
    kind = {} if trainable else {'synchronization': tf.VariableSynchronization.ON_READ,
                                 'aggregation': tf.VariableAggregation.MEAN}
    with tf.init_scope():
      value = np.zeros(shape, np.float32) if self._is_restored else initial_values.draw(
          name, shape, initializer, seed=self._seed)
      return tf.Variable(value,
                         name=name.replace('/', '_'), trainable=trainable, **kind)


_FLOAT32_END_POINTS = frozenset({'Logits', 'AuxLogits', 'Predictions'})
