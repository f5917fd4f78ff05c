"""The flags that say how weights are read, and the reading by them; the scripts share both."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from absl import flags

from nets import nets_factory, outline, scopes
from slim_zoo.weights import restore, sources

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags, for the script that calls it."""
  flags.DEFINE_bool('use_moving_averages', None, 'Whether to take the moving averages of a '
                    'checkpoint; by default where it has any.')
  flags.DEFINE_enum('checkpoint_channel_order', None, ['rgb', 'bgr'], 'Order of the channels that '
                    'the first layer of --checkpoint_path expects, for files that do not tell it.')
  flags.DEFINE_bool('convert_input_channels', False, 'Whether to fit the first layer of '
                    '--checkpoint_path to images of other channels, by summing or repeating.')


def open_weights(path: str) -> tuple[sources.Weights, dict[str, Any]]:
  """Opens weights of any format.

  Args:
    path: what --checkpoint_path takes.

  Returns:
    The weights, and what is known about them: the metadata of a checkpoint, or what their format
    and the list of published files tell.

  Raises:
    ValueError: if they cannot be read, or --model_name is needed and not set.
    OSError: if they do not exist or may not be read.
  """
  weights = sources.open_weights(path, channel_order=FLAGS.checkpoint_channel_order)
  if weights.format is None:
    return weights, dict(weights.metadata)
  name = FLAGS.model_name if FLAGS['model_name'].present else weights.metadata.get('model_name')
  if name is None:
    raise ValueError(f'{path} is {weights.format.name}, which does not tell its network. Expected: '
                     '--model_name. Received: none.')
  saved = weights.facts(name, _variables_of(name))
  if 'note' in saved:
    print(f'Note: {saved["note"]}')
  return weights, saved


@functools.cache
def _variables_of(name: str) -> dict[str, tuple[int, ...]]:
  """The shapes of a network's variables, in inference, for the data that it was made for."""
  net = nets_factory.get_net(name)
  traced = outline.trace(name, net.classes,
                         image_shape=[net.image_size, net.image_size, net.channels])
  return {**traced.trainable, **traced.others}


def num_outputs(weights: sources.Weights, name: str) -> int | None:
  """Counts the classes of weights for a network; None if they have no classifier."""
  ours, head = _variables_of(name), nets_factory.get_net(name).head[0]
  report = restore.plan(weights.source, ours, weights.takes(name, ours))
  widths = {row.fitted_shape[-1] for row in report.rows
            if row.fitted_shape and scopes.matches(row.name, head)}
  return max(widths, default=None)


def plan(weights: sources.Weights, name: str, variables: Mapping[str, tf.Variable], *,
         exclude: Sequence[str] = (), use_averages: bool | None = None) -> restore.Report:
  """Decides where each variable of a network comes from.

  Args:
    weights: from `open_weights`.
    name: of the network.
    variables: of the network.
    exclude: scopes that are not restored.
    use_averages: where --use_moving_averages does not say it.

  Raises:
    ValueError: if there are no moving averages that are asked for, or a scope matches nothing.
  """
  if FLAGS.use_moving_averages is not None:
    if use_averages and not FLAGS.use_moving_averages:
      raise ValueError('--use_moving_averages=false contradicts --moving_average_decay. Expected '
                       'one of them.')
    use_averages = FLAGS.use_moving_averages
  wanted = {key: tuple(variable.shape) for key, variable in variables.items()}
  return restore.plan(weights.source, wanted,
                      weights.takes(name, wanted, use_averages=use_averages), exclude=exclude,
                      change_channels=FLAGS.convert_input_channels)


def warn_of_unused(weights: sources.Weights, report: restore.Report) -> None:
  """Warns of a foreign file that has more than the network, when all of the network is found."""
  warning = restore.describe_unused(report) if weights.format is not None else ''
  if warning:
    print(warning)


def as_flags(saved: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what is known about weights under the names of the training's flags.

  Where a head starts is told by the whole name: older checkpoints have what the user wrote.
  """
  names = {'model_name': 'model_name', 'preprocessing_name': 'preprocessing_name',
           'image_size': 'train_image_size'}
  found = {flag: saved[key] for key, flag in names.items() if key in saved}
  if saved.get('channels') == 1:
    found['use_grayscale'] = True
  found |= saved.get('flags', {})
  if found.get('head') and 'model_name' in found:
    found['head_from'] = nets_factory.find_head_from(found['model_name'], found.get('head_from'))
  return found
