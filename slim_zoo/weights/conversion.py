"""Converting weights of any format to a TF-Slim checkpoint, from the command line to the file."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from datasets import folder
from files import converted_images, progress
from nets import nets_factory, scopes
from nets.network import Network
from preprocessing.transform import Transform
from slim_zoo.config import settle
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.model import Geometry
from slim_zoo.config.programs import Convert
from slim_zoo.training import checkpoints, metadata
from slim_zoo.weights import batch_norm_estimation, checkpoint_files, opening, restore, transforms

_BATCH = 50


def convert(parsed: Parsed[Convert]) -> int:
  """Converts one file; returns an exit code."""
  config = parsed.config
  path, output_dir = config.weights.checkpoint_path, config.output.output_dir
  if not path or not output_dir:
    raise ValueError('Expected: --checkpoint_path and --output_dir. Received: '
                     f'--checkpoint_path={path or ""} --output_dir={output_dir or ""}.')
  _refuse_other_checkpoints(output_dir)
  weights, known = opening.open_weights(path, model_name=config.weights.model_name,
                                        channel_order=config.weights.checkpoint_channel_order)
  name = settle.settle(parsed, opening.as_options(known), source=weights.path,
                       names=['model_name']).weights.model_name
  if name is None:
    raise ValueError(f'{weights.path} does not state its network. Expected: --model_name. '
                     'Received: none.')
  net = nets_factory.get_net(name)
  num_classes = opening.num_outputs(weights, name)
  size = config.output.image_size or known.get('image_size') or net.image_size
  channels = 1 if config.output.use_grayscale else known.get('channels') or net.channels
  network = nets_factory.build_network(name, image_shape=[size, size, channels],
                                       num_classes=num_classes or net.classes)
  exclude = scopes.split(config.weights.checkpoint_exclude_scopes)
  report = opening.plan(weights, name, network.variables, exclude=exclude,
                        use_averages=config.weights.use_moving_averages,
                        change_channels=config.weights.convert_input_channels)
  print(report.table(restored=False), end='')
  restore.check(report, exclude=exclude, head=net.head)
  restore.apply(report, weights.source, network.variables)
  opening.warn_of_unused(weights, report)
  preprocessing = known.get('preprocessing_name') or net.preprocessing
  transform = transforms.settle(known, preprocessing, Geometry())
  if config.output.reestimate_from:
    _reestimate(network, transform, photos=config.output.reestimate_from, size=size,
                channels=channels)
  facts = {'model_name': name, 'image_size': size, 'channels': channels,
           'preprocessing_name': preprocessing, 'transform': transform.to_json(),
           'num_classes': num_classes,
           'converted_from': weights.path, 'versions': metadata.versions(),
           **{key: known[key] for key in ('class_names',) if key in known},
           **({'flags': {'multi_label': True}} if opening.as_options(known).get('multi_label')
              else {})}
  values = {key: network.variables[key] for key in report.names(restore.RESTORED)}
  prefix = checkpoints.save(output_dir, 0, {**values, 'global_step': tf.constant(0, tf.int64)},
                            metadata=facts, max_to_keep=1)
  pathlib.Path(output_dir, 'restored.txt').write_text(report.table(), encoding='utf-8',
                                                      errors='backslashreplace')
  print(f'Wrote {prefix}: {name}, {num_classes or "no"} classes, {size}×{size}, '
        f'{preprocessing} preprocessing.')
  print(f'Images: {transform.describe(size)}.')
  return 0


def _refuse_other_checkpoints(output_dir: str) -> None:
  """Checks that writing would not remove checkpoints that this program did not create."""
  there = checkpoint_files.latest(output_dir, missing_ok=True)
  if there and 'converted_from' not in checkpoint_files.read_metadata(there):
    raise ValueError(f'--output_dir: expected a directory without checkpoints. Received: '
                     f'{output_dir}, which has {there}. Choose another directory.')


def _reestimate(network: Network, transform: Transform, *, photos: str, size: int,
                channels: int) -> None:
  """Sets the mean and variance of batch norm to those of its inputs on photos."""
  files = converted_images.readable(folder.image_files(photos)[0]).paths

  def batches() -> Iterator[tf.Tensor]:
    for start in progress.show(range(0, len(files), _BATCH), -(-len(files) // _BATCH),
                               unit='batch'):
      yield tf.stack([transform(tf.io.read_file(os.fsencode(path)), size, size, channels=channels)
                      for path in files[start:start + _BATCH]])

  left = batch_norm_estimation.re_estimate(network, batches())
  print(f'Measured batch norm on {len(files)} photos of {photos}.'
        + (f' {len(left)} layers without gamma keep their variance.' if left else ''))
