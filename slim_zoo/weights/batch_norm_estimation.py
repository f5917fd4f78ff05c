"""Estimating the statistics of folded batch norm from images.

Folding multiplies a layer's kernel by batch norm's factor and adds batch norm's offset to its
biases. After restoring such weights, batch norm has mean 0 and variance 1 - epsilon and is the
identity. In inference this is the same network. In training it is not, because the batch's own mean
and variance are used, which can be anything in folded layers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from nets.network import Network

_OPERATOR = 'FusedBatchNormV3'


class _Moments:
  """Running mean and variance of each channel over batches."""

  def __init__(self):
    self.count = 0
    self.mean: np.ndarray = np.zeros(())
    self._squares: np.ndarray = np.zeros(())

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
    """The unbiased variance, which moving averages track."""
    return self._squares / max(self.count - 1, 1)


def re_estimate(network: Network, batches: Iterable[tf.Tensor]) -> list[str]:
  """Sets every batch norm's statistics to those of its inputs, without changing the outputs.

  In inference a batch norm computes `y = a·x + c`. With the measured mean and variance it computes
  the same if `gamma = a·sqrt(variance + epsilon)` and `beta = c + a·mean`. No layer's inputs
  change, so one pass over the images is enough for all layers.

  Without `gamma`, as in Inception, only the current variance, 1 - epsilon after folding, preserves
  the outputs. The batches' own variance is then about 1, because the original batch norm made it
  so. Therefore the variance is kept, and only `moving_mean` and `beta` are set.

  Args:
    network: the network, with restored variables.
    batches: float32 [batch, height, width, channels], preprocessed as in evaluation.

  Returns:
    The scopes without `gamma`, whose variance was kept.

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
    _set(network, scope, moments[scope], epsilon=epsilons[scope])
  return [scope for scope in measured if f'{scope}/gamma' not in network.variables]


def _set(network: Network, scope: str, moments: _Moments, *, epsilon: float) -> None:
  """Sets the mean and variance of one batch norm, and compensates for the change."""
  def value(name: str, default: float) -> np.ndarray | float:
    variable = network.variables.get(f'{scope}/{name}')
    return default if variable is None else variable.numpy().astype(np.float64)

  gamma, beta = value('gamma', 1), value('beta', 0)
  mean, variance = value('moving_mean', 0), value('moving_variance', 1)
  factor = gamma / np.sqrt(variance + epsilon)
  new: dict[str, np.ndarray] = {'moving_mean': moments.mean,
                                'beta': beta + factor * (moments.mean - mean)}
  if f'{scope}/gamma' in network.variables:
    new['gamma'] = factor * np.sqrt(moments.variance + epsilon)
    new['moving_variance'] = moments.variance
  for name, array in new.items():
    network.variables[f'{scope}/{name}'].assign(array.astype(np.float32))
