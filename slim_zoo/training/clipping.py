"""Clipping of gradients: by the norm of all, or by that of each unit's weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from nets import scopes

# Weights count as at least this large, or zeros would never learn.
_SMALLEST_NORM = 1e-3


@dataclasses.dataclass(frozen=True)
class Clipping:
  """Limits of gradients.

  Attributes:
    norm: largest norm of all gradients together; None for none.
    adaptive_factor: largest norm of the gradient of a unit's weights divided by that of the weights
      (Brock et al. 2021, https://arxiv.org/abs/2102.06171, section 4); None for none. A unit is an
      output channel; a vector, such as biases, is one unit.
    head: scopes of the classifiers, whose weights the paper does not clip in this way.
  """
  norm: float | None = None
  adaptive_factor: float | None = None
  head: Sequence[str] = ()

  @property
  def is_on(self) -> bool:
    """Whether there is a limit."""
    return self.norm is not None or self.adaptive_factor is not None

  def __call__(self, gradients: Sequence[tf.Tensor], variables: Mapping[str, tf.Variable]
               ) -> Sequence[tf.Tensor]:
    """Clips gradients; those of each unit first.

    Args:
      gradients: one per variable.
      variables: the variables by name.
    """
    if self.adaptive_factor is not None:
      gradients = [
          gradient if scopes.matches_any(name, self.head)
          else _clip_units(gradient, tf.convert_to_tensor(variable), factor=self.adaptive_factor,
                           is_depthwise=name.endswith('depthwise_weights'))
          for gradient, (name, variable) in zip(gradients, variables.items(), strict=True)]
    if self.norm is not None:
      gradients, _ = tf.clip_by_global_norm(gradients, self.norm)
    return gradients


def _clip_units(gradient: tf.Tensor, weights: tf.Tensor, *, factor: float,
                is_depthwise: bool) -> tf.Tensor:
  """Scales down the gradients of units whose norm is too large.

  Args:
    gradient, weights: [..., outputs]; [height, width, inputs, multiplier] if depthwise; or [n].
    factor: see `Clipping`.
    is_depthwise: whether each input channel has outputs of its own.
  """
  rank = weights.shape.rank
  axes = [0, 1] if is_depthwise else list(range(max(rank - 1, 1)))

  def norm(values: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(values * values, axis=axes, keepdims=True))

  limit = tf.maximum(norm(weights), _SMALLEST_NORM) * factor
  found = norm(gradient)
  return tf.where(found > limit, gradient * (limit / tf.maximum(found, 1e-6)), gradient)


NO_CLIPPING = Clipping()
