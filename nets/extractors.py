"""Feature extractors: networks up to one of their end points."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import tensorflow as tf

from nets import end_points, layers, network
from nets.record import Net


def list_end_points(net: Net, *, num_classes: int | None = None) -> dict[str, tuple[int, ...]]:
  """Lists a network's end points in the order of its layers; its classifier's input comes last.

  Args:
    net: the network's record.
    num_classes: number of classes; None omits the classifier.

  Returns:
    `{end point: shape of one example's value}`.
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
  """Finds the end point that a short or traditional name refers to.

  Args:
    net: the network's record.
    end_point: see `end_points.resolve`; empty means the network's `codes`.
    num_classes: number of classes; None omits the classifier.

  Raises:
    ValueError: if there is no such end point; the error lists the known ones.
  """
  wanted = end_point or net.codes
  if not needs_classifier(net, wanted):  # It is a full name.
    return wanted
  return end_points.resolve(wanted, tuple(list_end_points(net, num_classes=num_classes)))


def needs_classifier(net: Net, end_point: str) -> bool:
  """Returns whether a network has an end point only together with its classifier.

  Args:
    net: the network's record.
    end_point: its full name; see `find_end_point`.
  """
  return end_point != end_points.FEATURES and end_point not in list_end_points(net)


def build_extractor(net: Net, end_point: str, *, image_shape: Sequence[int],
                    num_classes: int | None = None,
                    dtype: tf.DType = tf.float32) -> network.Network:
  """Builds a network up to one of its end points, which it returns instead of logits.

  Args:
    net: the network's record.
    end_point: its full name; see `find_end_point`.
    image_shape: [height, width, channels].
    num_classes: number of classes, for end points that depend on it.
    dtype: dtype in which layers compute.

  Raises:
    ValueError: if there is no such end point.
  """
  return network.Network(end_points.up_to(net.function, end_point), net.arg_scope,
                         image_shape=image_shape, num_classes=num_classes, dtype=dtype)
