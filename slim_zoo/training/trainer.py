"""The training step: a network, an optimizer and their state, on one or several replicas."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from datasets import seeds
from nets import noise
from nets.network import Network
from slim_zoo.training import loss_scaling, losses, optimizers
from slim_zoo.training.clipping import NO_CLIPPING, Clipping
from slim_zoo.training.distillation import Distillation
from slim_zoo.training.mixing import NO_MIXING, Mixing
from slim_zoo.training.schedules import Schedule
from slim_zoo.weights.reader import AVERAGE_SUFFIX

STEP_NAME = 'global_step'


@dataclasses.dataclass(frozen=True)
class Steps:
  """Measurements of consecutive steps; arrays are float64 [steps].

  Attributes:
    loss: mean loss of the examples without class weights. It is comparable with validation's with
      `--loss=softmax` or several labels, without mixed images and a teacher.
    objective: the minimised value, with class weights, auxiliary heads and weight decay.
    accuracy: share of the examples whose most likely class was correct, with dropout; of mixed
      images, that with the larger share; of images with several labels, any of theirs, so that
      those without a label count as wrong.
    learning_rate: learning rate of each step, before multipliers.
    gradients: `{name: gradient}` of the last step, if requested.
  """
  loss: np.ndarray
  objective: np.ndarray
  accuracy: np.ndarray
  learning_rate: np.ndarray
  gradients: dict[str, np.ndarray]


class _CurrentRate:
  """A learning rate that is computed where it is used.

  TensorFlow's optimizers would call a function, except for FTRL, which converts its argument to a
  tensor; all of them convert this object.
  """

  def __init__(self, rate: Callable[[], tf.Tensor], factor: float):
    self._rate = rate
    self._factor = factor

  def __tf_tensor__(self, dtype=None, name=None) -> tf.Tensor:
    return self._factor * self._rate()


@dataclasses.dataclass(frozen=True)
class _Group:
  """Variables that share a learning rate, by name, and their own optimizer."""
  variables: dict[str, tf.Variable]
  optimizer: tf.compat.v1.train.Optimizer


class Trainer:
  """Trains a network; its whole state is `state()`.

  The loss of each example is divided by the number of examples in the step, and the weight decay by
  the number of batches in it, so that the sum over replicas and batches equals what a single
  replica would compute for all examples at once.
  """

  def __init__(self, network: Network, *, optimizer: str, settings: optimizers.Settings,
               schedule: Schedule, batch_size: int, seed: int = 0,
               loss: losses.Loss = losses.SOFTMAX, mixing: Mixing = NO_MIXING,
               distillation: Distillation | None = None,
               weight_decay: float = 0.0, clipping: Clipping = NO_CLIPPING,
               batches_per_step: int = 1, moving_average_decay: float | None = None,
               moving_average_interval: int = 1, scales_loss: bool = False, xla: bool = False,
               multipliers: Mapping[str, float] | None = None,
               class_weights: Sequence[float] | None = None):
    """Creates the optimizers' variables; call it inside the strategy's scope.

    Args:
      network: the network, built for training.
      optimizer: a name in `optimizers.OPTIMIZERS`.
      settings: settings of the optimizer.
      schedule: the learning rate by step.
      batch_size: examples per step, over all replicas.
      seed: seed of the dropout masks, which also depend on the step and the example; and of the
        mixing, which depends on the step and the place in its batch.
      loss: of each example.
      mixing: of the images.
      distillation: what a teacher adds to the loss of the classifier.
      weight_decay: of optimizers that decay weights themselves.
      clipping: of the sum of the gradients over all replicas.
      batches_per_step: number of batches whose gradients are added up for a step; `batch_size`
        counts the examples of all of them.
      moving_average_decay: keeps a moving average of every variable, with this decay or
        (1 + step) / (10 + step) if that is less, as TF-Slim does; None for no averages.
      moving_average_interval: steps between updates of these averages.
      scales_loss: whether the loss is scaled, for layers that compute in float16. A step whose
        gradients overflow counts, and changes only the scale and batch norm's averages.
      xla: whether XLA compiles the forward and backward pass.
      multipliers: factors of the variables' learning rates, by name; 1 for variables that are not
        listed. The variables of each factor have their own optimizer.
      class_weights: factors of the examples' losses, auxiliary ones included, by label:
        [num_classes]. An example's weight does not depend on the others in its batch.
    """
    self.network = network
    self._strategy = tf.distribute.get_strategy()
    self._schedule = schedule
    self._batch_size = batch_size
    self._seed = seed
    self._loss, self._mixing, self._distillation = loss, mixing, distillation
    self._decay = moving_average_decay
    self._average_interval = moving_average_interval
    self._clipping = clipping
    self.batches_per_step = batches_per_step
    self._step = self._local_variable(0, tf.int64, tf.VariableAggregation.ONLY_FIRST_REPLICA)
    self._rate_scale = None if schedule.decay_type != 'plateau' else self._local_variable(
        1.0, tf.float32, tf.VariableAggregation.ONLY_FIRST_REPLICA)
    self._loss_scale = loss_scaling.LossScale(self._local_variable) if scales_loss else None
    self._averages = {} if moving_average_decay is None else {
        name: self._local_variable(variable.read_value(), tf.float32, tf.VariableAggregation.MEAN)
        for name, variable in network.variables.items()}
    self._class_weights = class_weights
    # Zero between steps, so that they are no part of the state.
    self._sums = [self._local_variable(tf.zeros(variable.shape), tf.float32,
                                       tf.VariableAggregation.SUM)
                  for variable in self._trained().values()] if batches_per_step > 1 else []
    kind = optimizers.get_optimizer(optimizer)
    self._groups = [
        _Group(variables, kind.make(_CurrentRate(self._rate, factor), settings, weight_decay))
        for factor, variables in self._by_factor(multipliers or {}).items()]
    self._differentiate = self._loss_and_gradients
    if not network.sync_batch_norm:  # Replicas cannot exchange anything in a function of their own.
      # Not inlined, so that it is optimized as a unit: a step that also returns its gradients must
      # give the same bits as one that does not.
      self._differentiate = tf.function(self._loss_and_gradients, autograph=False, jit_compile=xla,
                                        **({} if xla else {'experimental_attributes':
                                                           {'_noinline': True}}))
    self._optimizer_state: dict[str, tf.Variable] = {}
    for number, group in enumerate(self._groups):
      self._optimizer_state |= self._create_slots(kind, group, number)
    # Written as a graph: converting Python would take longer than tracing a small network.
    self._run = tf.function(self._run_steps, autograph=False)

  def _local_variable(self, value, dtype, aggregation) -> tf.Variable:
    """Creates a variable that each replica updates on its own, all in the same way."""
    return tf.Variable(value, dtype=dtype, trainable=False, aggregation=aggregation,
                       synchronization=tf.VariableSynchronization.ON_READ)

  def _by_factor(self, multipliers: Mapping[str, float]) -> dict[float, dict[str, tf.Variable]]:
    """Groups the trained variables by their multiplier, in order of first appearance."""
    groups: dict[float, dict[str, tf.Variable]] = {}
    for name, variable in self._trained().items():
      groups.setdefault(float(multipliers.get(name, 1)), {})[name] = variable
    return groups

  def _create_slots(self, kind: optimizers.Optimizer, group: _Group,
                    number: int) -> dict[str, tf.Variable]:
    """Traces an update with zero gradients, without running it; this creates the slots."""
    created = {}

    def remember(next_creator, **kwargs):
      variable = next_creator(**kwargs)
      created[str(kwargs.get('name'))] = variable
      return variable

    def apply():
      group.optimizer.apply_gradients([(tf.zeros(v.shape), v) for v in group.variables.values()])

    with tf.variable_creator_scope(remember):
      tf.function(lambda: self._strategy.run(apply), autograph=False).get_concrete_function()
    return optimizers.state(kind, group.optimizer, variables=group.variables, created=created,
                            number=number)

  def _trained(self) -> dict[str, tf.Variable]:
    return {name: self.network.variables[name] for name in self.network.trainable}

  def _rate(self) -> tf.Tensor:
    """Returns the learning rate of the current step, before multipliers."""
    rate = self._schedule(tf.convert_to_tensor(self._step))
    return rate * tf.convert_to_tensor(self._rate_scale) if self._rate_scale is not None else rate

  @property
  def rate_scale(self) -> float:
    """Factor of the schedule's rates; no part of the state, because the loop knows it."""
    return 1.0 if self._rate_scale is None else float(self._rate_scale.read_value())

  @rate_scale.setter
  def rate_scale(self, value: float) -> None:
    if self._rate_scale is None:
      raise ValueError(f'Expected the schedule plateau. Received: {self._schedule.decay_type}.')
    self._rate_scale.assign(value)

  @property
  def step(self) -> int:
    """Number of completed steps."""
    return int(self._step.read_value())

  def state(self) -> dict[str, tf.Variable]:
    """Returns everything that is saved in a checkpoint, under TF-Slim's names."""
    averages = {name + AVERAGE_SUFFIX: v for name, v in self._averages.items()}
    return {**self.network.variables, **self._optimizer_state, **averages, STEP_NAME: self._step,
            **(self._loss_scale.variables() if self._loss_scale else {})}

  def start_averages(self) -> None:
    """Sets the moving averages to the variables, after a warm start."""
    for name, average in self._averages.items():
      average.assign(self.network.variables[name].read_value())

  def synchronize(self) -> None:
    """Sets each replica's own variables to the mean over all replicas, as in a resumed run.

    Batch norm's averages differ between replicas; evaluation must not depend on which one is read.
    """
    if self._strategy.num_replicas_in_sync > 1:
      for variable in (*self.network.variables.values(), *self._averages.values()):
        if variable.synchronization == tf.VariableSynchronization.ON_READ:
          variable.assign(variable.read_value())

  @contextlib.contextmanager
  def averaged(self) -> Iterator[None]:
    """Replaces the variables by the moving averages, if there are any, inside a `with` block."""
    self.synchronize()
    kept = {name: self.network.variables[name].read_value() for name in self._averages}
    for name, average in self._averages.items():
      self.network.variables[name].assign(average.read_value())
    try:
      yield
    finally:
      for name, value in kept.items():
        self.network.variables[name].assign(value)

  def run(self, batches: Iterator, num_steps: int, *, with_gradients: bool = False) -> Steps:
    """Runs some steps.

    Args:
      batches: iterator over batches (`datasets.input_pipeline`), distributed if there are
        several replicas; each step takes `batches_per_step`.
      num_steps: number of steps.
      with_gradients: whether to return the last step's gradients.
    """
    rows, gradients = self._run(batches, tf.constant(num_steps), with_gradients)
    rows = rows.numpy().astype(np.float64)
    weight = np.maximum(rows[:, 1], 1e-30)
    names = self.network.trainable if with_gradients else ()
    return Steps(loss=rows[:, 0] / weight, objective=rows[:, 3], accuracy=rows[:, 2] / weight,
                 learning_rate=rows[:, 4] / self._strategy.num_replicas_in_sync,
                 gradients={n: g.numpy() for n, g in zip(names, gradients, strict=True)})

  def _run_steps(self, batches, num_steps, with_gradients):
    def step(index, rows, gradients):
      row, local = self._step_of(batches)
      if with_gradients:
        gradients = [self._sum(gradient) for gradient in local]
      return index + 1, rows.write(index, row), gradients

    rows = tf.TensorArray(tf.float32, num_steps, element_shape=[5])
    gradients = [tf.zeros(v.shape) for v in self._trained().values()] if with_gradients else []
    _, rows, gradients = tf.while_loop(lambda index, *_: index < num_steps, step,
                                       (0, rows, gradients))
    return rows.stack(), gradients

  def _sum(self, value) -> tf.Tensor:
    return self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)

  def _step_of(self, batches):
    """Makes one step; returns its row of measurements, and the gradients of each replica."""
    if self._loss_scale:
      return self._scaled_step_of(batches, self._loss_scale)
    if self.batches_per_step == 1:
      row, gradients = self._strategy.run(self._replica_step, args=(batches.get_next(),))
      return self._sum(row), gradients

    row = self._add_batches(batches)
    rate, gradients = self._strategy.run(self._apply_sums)
    return tf.concat([row, [self._sum(rate)]], axis=0), gradients

  def _add_batches(self, batches) -> tf.Tensor:
    """Adds up the gradients of a step's batches; returns their measurements."""
    def add(number, row):
      found = self._strategy.run(self._add_gradients, args=(batches.get_next(), number))
      return number + 1, row + self._sum(found)

    return tf.while_loop(lambda number, _: number < self.batches_per_step, add,
                         (0, tf.zeros([4])))[1]

  def _scaled_step_of(self, batches, scale: loss_scaling.LossScale):
    """Makes one step with a scaled loss, which is applied only if no gradient has overflowed."""
    if self.batches_per_step == 1:
      row, gradients = self._strategy.run(self._measure, args=(batches.get_next(), 0))
      row = self._sum(row)
    else:
      row = self._add_batches(batches)
      gradients = self._strategy.run(self._take_sums)
    overflows = self._sum(self._strategy.run(
        lambda found: 1.0 - tf.cast(loss_scaling.are_finite(found), tf.float32), args=(gradients,)))
    is_finite, now = overflows == 0, self._sum(self._strategy.run(scale)) / (
        self._strategy.num_replicas_in_sync)

    def apply():
      return self._sum(self._strategy.run(self._apply, args=(gradients,)))

    rate = tf.cond(is_finite, apply, lambda: self._sum(self._strategy.run(self._skip)))
    self._strategy.run(scale.update, args=(is_finite,))
    # With a scale of 1 the gradients have not overflowed but are broken, which the loop notices.
    is_broken = ~is_finite & (now <= 1)
    row = tf.where([False, False, False, is_broken], float('nan'), row)
    return tf.concat([row, [rate]], axis=0), self._strategy.run(
        lambda found: [tf.where(is_finite, gradient, 0.0) for gradient in found],
        args=(gradients,))

  def _take_sums(self) -> list[tf.Tensor]:
    gradients = [tf.convert_to_tensor(total) for total in self._sums]
    with tf.control_dependencies(gradients):
      for total in self._sums:
        total.assign(tf.zeros(total.shape))
    return gradients

  def _skip(self) -> tf.Tensor:
    """Counts a step that changes nothing; returns its learning rate."""
    rate = self._rate()
    self._step.assign_add(1)
    return rate

  def _replica_step(self, batch):
    row, gradients = self._measure(batch, 0)
    rate = self._apply(gradients)
    return tf.concat([row, [rate]], axis=0), gradients

  def _measure(self, batch, number):
    """Returns measurements and gradients of a batch, the one of this number in its step."""
    step, replicas = tf.convert_to_tensor(self._step), self._strategy.num_replicas_in_sync
    # With several workers, TensorFlow forgets the size of the batches.
    size = self._batch_size // (replicas * self.batches_per_step)
    batch = tf.nest.map_structure(
        lambda value: tf.ensure_shape(value, [size, *value.shape[1:]]), batch)
    images, labels, weights = batch['image'], batch['label'], batch['weight']
    # What precedes the network is not compiled by XLA, which lacks some of these operations.
    targets = labels
    if self._mixing.is_on:
      if labels.shape.rank == 1:
        targets = tf.one_hot(labels, self.network.num_classes)
      images, targets = self._mixing(
          images, targets, weights=weights, place=number * replicas + _replica(),
          places=self.batches_per_step * replicas,
          seed=seeds.derive(seeds.MIXING, self._seed, step))
    taught = self._distillation.teacher(images) if self._distillation else None
    scale = self._loss_scale() if self._loss_scale else None
    return self._differentiate(images, targets, weights=weights, ids=batch['id'], step=step,
                               taught=taught, scale=scale)

  def _add_gradients(self, batch, number):
    row, gradients = self._measure(batch, number)
    for total, gradient in zip(self._sums, gradients, strict=True):
      total.assign_add(gradient)
    return row

  def _apply_sums(self):
    gradients = self._take_sums()
    return self._apply(gradients), gradients

  def _apply(self, gradients: list[tf.Tensor]) -> tf.Tensor:
    """Updates everything with the gradients of a replica; returns the learning rate."""
    step, rate = tf.convert_to_tensor(self._step), self._rate()
    by_name = dict(zip(self._trained(), self._clipped(gradients), strict=True))
    for group in self._groups:
      group.optimizer.apply_gradients([(by_name[n], v) for n, v in group.variables.items()])
    self._step.assign_add(1)
    if self._averages:
      self._update_averages(tf.cast(step + 1, tf.float32))
    return rate

  def _update_averages(self, made: tf.Tensor) -> None:
    """Updates the moving averages after that many steps, if it is their turn."""
    decay = tf.minimum(self._decay, (1 + made) / (10 + made))
    if self._average_interval > 1:
      decay = tf.where(tf.math.floormod(made, self._average_interval) == 0, decay, 1.0)
    for name, average in self._averages.items():
      value = tf.convert_to_tensor(self.network.variables[name])
      average.assign_sub((1 - decay) * (average - value))

  def _clipped(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Clips a replica's part of the gradients, by their sum over the replicas."""
    if not self._clipping.is_on:
      return gradients
    count = self._strategy.num_replicas_in_sync
    if count > 1:
      gradients = tf.distribute.get_replica_context().all_reduce(
          tf.distribute.ReduceOp.SUM, gradients)
    clipped = self._clipping(gradients, self._trained())
    return [gradient / count for gradient in clipped]  # The optimizers sum them again.

  def _loss_and_gradients(self, images, targets, *, weights, ids, step, taught, scale):
    keys = noise.example_keys(self._seed, step, ids)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      trained = self._trained()
      tape.watch(list(trained.values()))
      logits, end_points = self.network(images, is_training=True, keys=keys, step=step)
      by_example = self._loss(logits, targets)
      if self._distillation:
        by_example = self._distillation(by_example, logits, taught)
      loss = tf.reduce_sum(weights * by_example)
      importance = self._importance(weights, targets, logits.shape[-1])
      objective = loss if importance is weights else tf.reduce_sum(importance * by_example)
      if 'AuxLogits' in end_points:
        objective += losses.AUXILIARY_WEIGHT * tf.reduce_sum(
            importance * self._loss(end_points['AuxLogits'], targets))
      objective = objective / self._batch_size + (
          self.network.regularization_loss()
          / (self._strategy.num_replicas_in_sync * self.batches_per_step))
      minimized = objective if scale is None else scale * objective
    gradients = tape.gradient(minimized, list(trained.values()))
    idle = [name for name, gradient in zip(trained, gradients, strict=True) if gradient is None]
    if idle:
      raise ValueError(f'The loss does not depend on {", ".join(idle)}; leave them out of '
                       '--trainable_scopes.')
    if scale is not None:
      gradients = [gradient / scale for gradient in gradients]
    row = tf.stack([loss, tf.reduce_sum(weights),
                    tf.reduce_sum(weights * _are_right(logits, targets)), objective])
    return row, gradients

  def _importance(self, weights: tf.Tensor, targets: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Multiplies the examples' weights by their classes'; without any, returns the same tensor."""
    if self._class_weights is None:
      return weights
    if len(self._class_weights) != num_classes:
      raise ValueError(f'--class_weights: expected one for each of the {num_classes} classes. '
                       f'Received: {len(self._class_weights)}.')
    of_classes = tf.constant(self._class_weights, tf.float32)
    return weights * (tf.gather(of_classes, targets) if targets.shape.rank == 1 else
                      tf.linalg.matvec(targets, of_classes))


def _are_right(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
  """Returns 1 where the most likely class is right, or has the largest share; float32 [batch]."""
  best = tf.argmax(logits, 1, output_type=tf.int32)
  if targets.shape.rank == 1:
    return tf.cast(best == targets, tf.float32)
  share = tf.gather(targets, best, batch_dims=1)
  return tf.cast((share > 0) & (share == tf.reduce_max(targets, 1)), tf.float32)


def _replica() -> tf.Tensor:
  """Returns the number of the current replica."""
  return tf.convert_to_tensor(tf.distribute.get_replica_context().replica_id_in_sync_group)
