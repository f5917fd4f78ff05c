"""Networks up to one of their end points, for features and for custom heads.

The variables that an end point needs are found in the network's graph, so no network has to declare
them. The layers after the end point are traced with zeros as their variables; nothing uses their
results, and TensorFlow removes them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from nets.stand_in import StandIn
from nets.variants import NetFunction, default_image_size

# The network's output without a classifier, which is the classifier's input.
FEATURES = 'features'


def up_to(function: NetFunction, end_point: str) -> NetFunction:
  """Truncates a network's function after an end point.

  Args:
    function: `function(images, num_classes, *, is_training) -> (logits, end_points)`.
    end_point: one of its end points, or `FEATURES`, its classifier's input.

  Returns:
    `function(images, num_classes, *, is_training) -> (features, {})`, which creates only the
    variables that the end point depends on. It raises a ValueError if there is no such end
    point.
  """
  find = functools.cache(functools.partial(_needed_variables, function, end_point))

  @default_image_size(function.default_image_size)
  def features(images: tf.Tensor, num_classes: int | None, *, is_training: bool):
    num_classes = None if end_point == FEATURES else num_classes
    needed = find(num_classes, image_shape=tuple(images.shape[1:]))

    def get(getter, name: str, *, shape, dtype, **arguments):
      if name in needed:
        return getter(name, shape=shape, dtype=dtype, **arguments)
      return StandIn(tf.zeros(shape, dtype))

    with _variables_from(get):
      outputs = _all_end_points(function, images, num_classes, is_training=is_training)
    return outputs[end_point], {}

  return features


def shapes(function: Callable, num_classes: int | None,
           image_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
  """Lists a network's end points in the order of its layers.

  Args:
    function: see `up_to`; call it under the network's arg scope.
    num_classes: number of classes; None omits the classifier and adds `FEATURES`.
    image_shape: [height, width, channels].

  Returns:
    `{end point: shape of one example's value}`.
  """
  outputs, _ = _scratch_trace(function, num_classes, image_shape)
  return {name: tuple(value.shape[1:]) for name, value in outputs.items()}


def resolve(name: str, known: Sequence[str]) -> str:
  """Finds the end point that a short or traditional name refers to.

  Args:
    name: an end point; the last part of one, such as `fc7` for `vgg_16/fc7`; or `relu6`, Caffe's
      name of the activated `fc6` (a layer's end point includes its activation).
    known: the network's end points.

  Raises:
    ValueError: if no or more than one end point matches.
  """
  def ends(wanted: str) -> list[str]:
    return [end for end in known if end == wanted] or [
        end for end in known if end.endswith(f'/{wanted}')]

  found = ends(name) or ends(re.sub(r'(^|/)relu(\d+(?:_\d+)?)$', r'\1fc\2', name)) \
      or ends(re.sub(r'(^|/)relu(\d+(?:_\d+)?)$', r'\1conv\2', name))
  if len(found) != 1:
    raise ValueError(f'Expected an end point of the network: {", ".join(known)}. '
                     f'Received: {name!r}' + (f', which could be {", ".join(found)}.' if found
                                              else '.'))
  return found[0]


def _needed_variables(function: Callable, end_point: str, num_classes: int | None, *,
                      image_shape: tuple[int, ...]) -> frozenset[str]:
  """Finds the variables that an end point depends on in inference."""
  outputs, variables = _scratch_trace(function, num_classes, image_shape)
  if end_point not in outputs:
    resolve(end_point, tuple(outputs))
    raise ValueError(f'Expected the full name of an end point. Received: {end_point!r}.')
  seen, waiting = set(), [outputs[end_point].op]
  while waiting:
    op = waiting.pop()
    if op.name not in seen:
      seen.add(op.name)
      waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
  return frozenset(name for name, value in variables.items() if value.op.name in seen)


def _scratch_trace(function: Callable, num_classes: int | None, image_shape: Sequence[int]
                   ) -> tuple[Mapping[str, tf.Tensor], Mapping[str, tf.Tensor]]:
  """Traces inference in a new graph; returns the end points and the variables."""
  variables = {}

  def get(getter, name: str, *, shape, dtype, **unused):
    del getter, unused  # The default getter of get_variable, and its other arguments.
    if name not in variables:
      variables[name] = tf.compat.v1.placeholder(dtype, shape)
    return variables[name]

  with tf.Graph().as_default(), _variables_from(get):
    images = tf.compat.v1.placeholder(tf.float32, [1, *image_shape])
    outputs = _all_end_points(function, images, num_classes, is_training=False)
  return outputs, variables


def _all_end_points(function: Callable, images: tf.Tensor, num_classes: int | None, *,
                    is_training: bool) -> dict[str, tf.Tensor]:
  output, end_points = function(images, num_classes, is_training=is_training)
  return end_points if num_classes else {**end_points, FEATURES: output}


def _variables_from(get: Callable):
  return tf.compat.v1.variable_scope(tf.compat.v1.get_variable_scope(), custom_getter=get,
                                     auxiliary_name_scope=False)
