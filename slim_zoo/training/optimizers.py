"""TF-Slim's seven optimizers, AdamW and LAMB, and the names of their slots in checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from files.errors import unknown_name
from slim_zoo.config.training import OptimizerSettings as Settings

_v1 = tf.compat.v1.train


class _AdamW(tf.compat.v1.train.AdamOptimizer):
  """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

  Before each update, weights shrink by the factor 1 - learning rate * weight decay. Vectors, which
  are biases and normalizations, do so only with `decay_vectors`.
  """

  _NAME = 'AdamW'

  def __init__(self, rate, settings: Settings, weight_decay: float):
    super().__init__(rate, settings.adam_beta1, settings.adam_beta2, _epsilon(settings, 1e-8),
                     name=self._NAME)
    self._weight_decay = weight_decay
    self._decay_vectors = settings.decay_vectors

  def _decay_of(self, var) -> float:
    return self._weight_decay if var.shape.rank > 1 or self._decay_vectors else 0.0

  def _resource_apply_dense(self, grad, var):
    if self._decay_of(var):
      with tf.control_dependencies([var.assign_sub(self._lr_t * self._weight_decay * var)]):
        return super()._resource_apply_dense(grad, var)
    return super()._resource_apply_dense(grad, var)


class _Lamb(_AdamW):
  """LAMB (You et al. 2020, arXiv:1904.00962, algorithm 2), with Adam's correction of the moments.

  The update of each variable, weight decay included, gets the norm of the variable. As in timm,
  variables without weight decay are not scaled if others have it.
  """

  _NAME = 'Lamb'

  def _resource_apply_dense(self, grad, var):
    first, second = self.get_slot(var, 'm'), self.get_slot(var, 'v')
    powers = (tf.convert_to_tensor(power) for power in self._get_beta_accumulators())
    first_power, second_power = powers
    m = first.assign(self._beta1_t * first + (1 - self._beta1_t) * grad, read_value=True)
    v = second.assign(self._beta2_t * second + (1 - self._beta2_t) * grad * grad, read_value=True)
    decay = self._decay_of(var)
    update = ((m / (1 - first_power)) / (tf.sqrt(v / (1 - second_power)) + self._epsilon_t)
              + decay * var)
    if decay or not self._weight_decay:
      weights, size = tf.norm(tf.convert_to_tensor(var)), tf.norm(update)
      update *= tf.where((weights > 0) & (size > 0), weights / tf.maximum(size, 1e-30), 1.0)
    return var.assign_sub(self._lr_t * update)


def _epsilon(settings: Settings, default: float = 1.0) -> float:
  return default if settings.opt_epsilon is None else settings.opt_epsilon


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """One kind of optimizer.

  Attributes:
    create: creates it from a learning rate (anything that converts to a scalar tensor) and
      settings; and from the weight decay, if it is decoupled.
    decouples_decay: whether it decays weights itself, so that the loss must not.
    slots: names of the slots of each variable, in the order in which TensorFlow 1 numbers them in
      checkpoints: `weights/Adam`, `weights/Adam_1`.
    slot_name: their name in checkpoints.
    has_beta_powers: whether its state includes `beta1_power` and `beta2_power`.
  """
  create: Callable[..., tf.compat.v1.train.Optimizer]
  slot_name: str = ''
  slots: tuple[str, ...] = ()
  has_beta_powers: bool = False
  decouples_decay: bool = False

  def make(self, rate: object, settings: Settings, weight_decay: float
           ) -> tf.compat.v1.train.Optimizer:
    """Creates it; see `create`."""
    return (self.create(rate, settings, weight_decay) if self.decouples_decay else
            self.create(rate, settings))


OPTIMIZERS = {
    'adadelta': Optimizer(
        lambda rate, s: _v1.AdadeltaOptimizer(rate, s.adadelta_rho, _epsilon(s)),
        'Adadelta', ('accum', 'accum_update')),
    'adagrad': Optimizer(
        lambda rate, s: _v1.AdagradOptimizer(rate, s.adagrad_initial_accumulator_value),
        'Adagrad', ('accumulator',)),
    'adam': Optimizer(
        lambda rate, s: _v1.AdamOptimizer(rate, s.adam_beta1, s.adam_beta2, _epsilon(s)),
        'Adam', ('m', 'v'), has_beta_powers=True),
    'adamw': Optimizer(_AdamW, 'AdamW', ('m', 'v'), has_beta_powers=True, decouples_decay=True),
    'ftrl': Optimizer(
        lambda rate, s: _v1.FtrlOptimizer(
            rate, s.ftrl_learning_rate_power, s.ftrl_initial_accumulator_value,
            s.ftrl_l1, s.ftrl_l2),
        'Ftrl', ('accum', 'linear')),
    'lamb': Optimizer(_Lamb, 'Lamb', ('m', 'v'), has_beta_powers=True, decouples_decay=True),
    'momentum': Optimizer(
        lambda rate, s: _v1.MomentumOptimizer(rate, s.momentum, use_nesterov=s.nesterov),
        'Momentum', ('momentum',)),
    'rmsprop': Optimizer(
        lambda rate, s: _v1.RMSPropOptimizer(
            rate, s.rmsprop_decay, s.rmsprop_momentum, _epsilon(s)),
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
