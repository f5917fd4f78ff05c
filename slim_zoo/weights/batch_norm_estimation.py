"""Giving batch norm that was folded away its statistics back, measured on images.

Folding multiplies a layer's kernel by what batch norm multiplied by, and adds to its biases what
batch norm added. Restored from that, batch norm has mean 0 and variance 1 - epsilon and changes
nothing. In inference that is the same network. In training it is not: there the batch's own mean
and variance count, and those of the folded layers are anything.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from nets.network import Network

_OPERATOR = 'FusedBatchNormV3'


class _Moments:
  """Mean and variance of the numbers in each channel, of batches one after the other."""

  def __init__(self):
    self.count, self.mean, self._squares = 0, 0.0, 0.0

  def add(self, count: int, mean: np.ndarray, variance: np.ndarray) -> None:
    """Adds a batch (Chan et al. 1979, http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773)."""
    mean, variance = mean.astype(np.float64), variance.astype(np.float64)
    total = self.count + count
    distance = mean - self.mean
    self.mean = self.mean + distance * count / total
    self._squares = self._squares + variance * count + distance ** 2 * self.count * count / total
    self.count = total

  @property
  def variance(self) -> np.ndarray:
    """The unbiased variance, which moving averages follow."""
    return self._squares / max(self.count - 1, 1)


def re_estimate(network: Network, batches: Iterable[tf.Tensor]) -> list[str]:
  """Sets every batch norm's statistics to those of its inputs; what the network computes stays.

  `y = a·x + c` is what a batch norm does in inference. With the measured mean and variance it does
  the same if `gamma = a·sqrt(variance + epsilon)` and `beta = c + a·mean`. So one pass over the
  images is enough for all layers: none sees other inputs than before.

  Without `gamma`, as in Inception, there is only one variance with which it does the same, the one
  that it has: 1 - epsilon after folding, where the batches' own is to be expected about 1, for
  batch norm made it so before it was folded. It is left, and `moving_mean` and `beta` are set.

  Args:
    network: restored.
    batches: float32 [batch, height, width, channels], preprocessed as in evaluation.

  Returns:
    The scopes of those without `gamma`, whose variance was left.

  Raises:
    ValueError: if there are no images.
  """
  scopes = [name.rpartition('/')[0] for name in network.variables
            if name.endswith('/moving_variance')]
  epsilons: dict[str, float] = {}
  moments = {scope: _Moments() for scope in scopes}

  @tf.function(autograph=False)
  def measure(images):
    network(images, is_training=False)
    found = {}
    for operator in tf.compat.v1.get_default_graph().get_operations():
      if operator.type == _OPERATOR:
        scope = operator.name.rpartition('/')[0]
        inputs = operator.inputs[0]  # [batch, height, width, channels]
        epsilons[scope] = operator.get_attr('epsilon')
        mean, variance = tf.nn.moments(tf.cast(inputs, tf.float32), [0, 1, 2])
        found[scope] = tf.size(inputs) // tf.size(mean), mean, variance
    return found

  for images in batches:
    for scope, (count, mean, variance) in measure(tf.convert_to_tensor(images)).items():
      if scope not in moments:
        raise RuntimeError(f'A batch norm computes in the scope {scope!r}, which has no variables.')
      moments[scope].add(int(count), mean.numpy(), variance.numpy())
  if scopes and not any(moment.count for moment in moments.values()):
    raise ValueError('Expected images to measure the mean and variance of each layer on. '
                     'Received: none.')
  measured = [scope for scope in scopes if moments[scope].count]  # Without auxiliary heads.
  for scope in measured:
    _set(network, scope, moments[scope], epsilons[scope])
  return [scope for scope in measured if f'{scope}/gamma' not in network.variables]


def _set(network: Network, scope: str, moments: _Moments, epsilon: float) -> None:
  """Sets the mean and variance of one batch norm, and what makes up for that."""
  def value(name: str, default: float) -> np.ndarray | float:
    variable = network.variables.get(f'{scope}/{name}')
    return default if variable is None else variable.numpy().astype(np.float64)

  gamma, beta = value('gamma', 1), value('beta', 0)
  mean, variance = value('moving_mean', 0), value('moving_variance', 1)
  factor = gamma / np.sqrt(variance + epsilon)
  new = {'moving_mean': moments.mean, 'beta': beta + factor * (moments.mean - mean)}
  if f'{scope}/gamma' in network.variables:
    new['gamma'] = factor * np.sqrt(moments.variance + epsilon)
    new['moving_variance'] = moments.variance
  for name, array in new.items():
    network.variables[f'{scope}/{name}'].assign(array.astype(np.float32))
