"""Opening the user's weights, and deciding what to restore from them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from nets import nets_factory, outline, scopes
from slim_zoo.weights import restore, sources


def open_weights(path: str, *, model_name: str | None = None, channel_order: str | None = None
                 ) -> tuple[sources.Weights, dict[str, Any]]:
  """Opens weights of any format.

  Args:
    path: see `sources.open_weights`.
    model_name: the network, if given by the user.
    channel_order: see `sources.open_weights`.

  Returns:
    The weights, and what is known about them: the metadata of a checkpoint, or facts from their
    format and the list of published files.

  Raises:
    ValueError: if they cannot be read, or their network is neither known nor given.
    OSError: if they do not exist or cannot be read.
  """
  weights = sources.open_weights(path, channel_order=channel_order)
  name = model_name or weights.metadata.get('model_name')
  if weights.format is not None and name is None:
    raise ValueError(f'{path} is {weights.format.name}, which does not state its network. '
                     'Expected: --model_name. Received: none.')
  return weights, facts_of(weights, name)


def facts_of(weights: sources.Weights, model_name: str | None) -> dict[str, Any]:
  """Returns what is known about weights, and prints what there is to note about them.

  Args:
    weights: from `sources.open_weights`.
    model_name: the network; only a name-based checkpoint needs none.
  """
  if weights.format is None or model_name is None:
    return dict(weights.metadata)
  known = weights.facts(model_name, shapes_of(model_name))
  if 'note' in known:
    print(f'Note: {known["note"]}')
  return known


@functools.cache
def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
  """Returns the shapes of a network's variables, as published for inference."""
  net = nets_factory.get_net(name)
  traced = outline.trace(name, net.classes,
                         image_shape=[net.image_size, net.image_size, net.channels])
  return {**traced.trainable, **traced.others}


def num_outputs(weights: sources.Weights, name: str) -> int | None:
  """Returns the number of classes of weights for a network; None without a classifier."""
  ours, head = shapes_of(name), nets_factory.get_net(name).head[0]
  report = restore.plan(weights.source, ours, weights.takes(name, ours))
  widths = {row.fitted_shape[-1] for row in report.rows
            if row.fitted_shape and scopes.matches(row.name, head)}
  return max(widths, default=None)


def plan(weights: sources.Weights, name: str, variables: Mapping[str, tf.Variable], *,
         exclude: Sequence[str] = (), use_averages: bool | None = None,
         change_channels: bool = False) -> restore.Report:
  """Decides where each variable of a network comes from.

  Args:
    weights: from `open_weights`.
    name: the network's name.
    variables: the network's variables.
    exclude: scopes that are not restored.
    use_averages: whether to use moving averages; None uses them if there are any.
    change_channels: whether to fit the first layer to images with other channels.

  Raises:
    ValueError: if requested moving averages are missing, or a scope matches nothing.
  """
  wanted = {key: tuple(variable.shape) for key, variable in variables.items()}
  return restore.plan(weights.source, wanted,
                      weights.takes(name, wanted, use_averages=use_averages), exclude=exclude,
                      change_channels=change_channels)


def warn_of_unused(weights: sources.Weights, report: restore.Report) -> None:
  """Warns if a foreign file has more than the network, although all of the network is found."""
  warning = restore.describe_unused(report) if weights.format is not None else ''
  if warning:
    print(warning)


def as_options(known: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what is known about weights, by the names of the training options.

  The end point where a head starts gets its full name; older checkpoints have it as the user typed
  it.
  """
  names = {'model_name': 'model_name', 'preprocessing_name': 'preprocessing_name',
           'image_size': 'train_image_size'}
  found = {option: known[key] for key, option in names.items() if key in known}
  if known.get('channels') == 1:
    found['use_grayscale'] = True
  found |= known.get('flags', {})
  if found.get('head') and 'model_name' in found:
    found['head_from'] = nets_factory.find_head_from(found['model_name'], found.get('head_from'))
  return found
