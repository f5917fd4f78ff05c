"""TF-Slim's seven optimizers, and the names of their slots in its checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from files.errors import unknown_name
from slim_zoo.config.training import OptimizerSettings as Settings

_v1 = tf.compat.v1.train


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """One kind of optimizer.

  Attributes:
    create: creates it from a learning rate (anything that converts to a scalar tensor) and
      settings.
    slots: names of the slots of each variable, in the order in which TensorFlow 1 numbers them in
      checkpoints: `weights/Adam`, `weights/Adam_1`.
    slot_name: their name in checkpoints.
    has_beta_powers: whether its state includes `beta1_power` and `beta2_power`.
  """
  create: Callable[[object, Settings], tf.compat.v1.train.Optimizer]
  slot_name: str = ''
  slots: tuple[str, ...] = ()
  has_beta_powers: bool = False


OPTIMIZERS = {
    'adadelta': Optimizer(
        lambda rate, s: _v1.AdadeltaOptimizer(rate, s.adadelta_rho, s.opt_epsilon),
        'Adadelta', ('accum', 'accum_update')),
    'adagrad': Optimizer(
        lambda rate, s: _v1.AdagradOptimizer(rate, s.adagrad_initial_accumulator_value),
        'Adagrad', ('accumulator',)),
    'adam': Optimizer(
        lambda rate, s: _v1.AdamOptimizer(rate, s.adam_beta1, s.adam_beta2, s.opt_epsilon),
        'Adam', ('m', 'v'), has_beta_powers=True),
    'ftrl': Optimizer(
        lambda rate, s: _v1.FtrlOptimizer(
            rate, s.ftrl_learning_rate_power, s.ftrl_initial_accumulator_value,
            s.ftrl_l1, s.ftrl_l2),
        'Ftrl', ('accum', 'linear')),
    'momentum': Optimizer(
        lambda rate, s: _v1.MomentumOptimizer(rate, s.momentum), 'Momentum', ('momentum',)),
    'rmsprop': Optimizer(
        lambda rate, s: _v1.RMSPropOptimizer(
            rate, s.rmsprop_decay, s.rmsprop_momentum, s.opt_epsilon),
        'RMSProp', ('rms', 'momentum')),
    'sgd': Optimizer(lambda rate, s: _v1.GradientDescentOptimizer(rate)),
}


def get_optimizer(name: str) -> Optimizer:
  """Finds a kind of optimizer.

  Raises:
    ValueError: if the name is unknown; lists the known ones.
  """
  if name not in OPTIMIZERS:
    raise unknown_name('optimizer', name, OPTIMIZERS)
  return OPTIMIZERS[name]


def state(kind: Optimizer, optimizer: tf.compat.v1.train.Optimizer, *,
          variables: Mapping[str, tf.Variable], created: Mapping[str, tf.Variable],
          number: int = 0) -> dict[str, tf.Variable]:
  """Collects an optimizer's variables under TensorFlow 1's names, after its step was traced.

  Args:
    kind: the kind of `optimizer`.
    optimizer: the optimizer itself.
    variables: the variables that it trains, by name.
    created: the variables that the trace created, by name; with several replicas,
      `optimizer.variables()` does not list the beta powers.
    number: number of earlier optimizers of this kind in the graph; it numbers the beta powers.
  """
  found = {}
  for name, variable in variables.items():
    for index, slot in enumerate(kind.slots):
      suffix = kind.slot_name + (f'_{index}' if index else '')
      found[f'{name}/{suffix}'] = optimizer.get_slot(variable, slot)
  if kind.has_beta_powers:
    suffix = f'_{number}' if number else ''
    found |= {power + suffix: created[power] for power in ('beta1_power', 'beta2_power')}
  return found
