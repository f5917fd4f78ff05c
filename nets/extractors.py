"""Networks up to one of their end points, by their records: for features."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import tensorflow as tf

from nets import end_points, layers, network
from nets.record import Net


def list_end_points(net: Net, *, num_classes: int | None = None) -> dict[str, tuple[int, ...]]:
  """Lists a network's end points in the order of its layers, and what its classifier takes last.

  Args:
    net: the network's record.
    num_classes: width of the logits; None leaves out the classifier.

  Returns:
    The shape of one example's value by the name of the end point.
  """
  found: dict[str, tuple[int, ...]] = {}
  for classes in dict.fromkeys([num_classes, None]):
    found |= _shapes(net, classes)
  return found


@functools.cache
def _shapes(net: Net, num_classes: int | None) -> Mapping[str, tuple[int, ...]]:
  """Traces a network once, with or without its classifier."""
  with layers.arg_scope(net.arg_scope(weight_decay=0.0)):
    return end_points.shapes(net.function, num_classes,
                             [net.image_size, net.image_size, net.channels])


def find_end_point(net: Net, end_point: str, *, num_classes: int | None = None) -> str:
  """Finds the end point that a short or classic name means.

  Args:
    net: the network's record.
    end_point: see `end_points.resolve`; empty means the network's `codes`.
    num_classes: width of the logits; None leaves out the classifier.

  Raises:
    ValueError: if there is none, with those that there are.
  """
  wanted = end_point or net.codes
  if not needs_classifier(net, wanted):  # It is a whole name.
    return wanted
  return end_points.resolve(wanted, tuple(list_end_points(net, num_classes=num_classes)))


def needs_classifier(net: Net, end_point: str) -> bool:
  """Tells whether a network has an end point only together with a classifier of its own.

  Args:
    net: the network's record.
    end_point: by its whole name; see `find_end_point`.
  """
  return end_point != end_points.FEATURES and end_point not in list_end_points(net)


def build_extractor(net: Net, end_point: str, *, image_shape: Sequence[int],
                    num_classes: int | None = None,
                    dtype: tf.DType = tf.float32) -> network.Network:
  """Builds a network up to one of its end points, which it gives in place of logits.

  Args:
    net: the network's record.
    end_point: by its whole name; see `find_end_point`.
    image_shape: [height, width, channels].
    num_classes: width of the logits, for end points that depend on it.
    dtype: the type that layers compute in.

  Raises:
    ValueError: if there is no such end point.
  """
  return network.Network(end_points.up_to(net.function, end_point), net.arg_scope,
                         image_shape=image_shape, num_classes=num_classes, dtype=dtype)
