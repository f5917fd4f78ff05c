"""Converts weights of any format to a TF-Slim checkpoint, with its metadata beside it.

    python convert_weights.py --checkpoint_path=resnet18-f37072fd.pth --model_name=resnet_v1_18 \
      --output_dir=resnet18

TF-Slim's programs and ours read the result, `resnet18/model.ckpt-0`.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import command_line  # Before TensorFlow: it quiets it.

# isort: split
import tensorflow as tf
from absl import flags

import checkpoint_flags
import path_flags
from datasets import folder
from nets import nets_factory, scopes
from preprocessing import preprocessing_factory
from slim_zoo.training import checkpoints, metadata
from slim_zoo.weights import batch_norm_estimation, checkpoint_files, restore

FLAGS = flags.FLAGS

checkpoint_flags.define_flags()

path_flags.define_path('checkpoint_path', None, 'The weights, of any format, or zoo:<name>.')
flags.DEFINE_string('model_name', None, 'Name of the network; needed where the weights do not '
                    'tell it.')
flags.DEFINE_string('checkpoint_exclude_scopes', None, 'Scopes that are not converted, separated '
                    'by commas.')
path_flags.define_path('output_dir', None, 'Where the checkpoint goes.', is_written=True)
flags.DEFINE_integer('image_size', None, 'Height and width that the weights are used with; by '
                     "default what they tell, or the network's.", lower_bound=1)
flags.DEFINE_bool('use_grayscale', False, 'Whether the result is for grey images, of one channel; '
                  'see --convert_input_channels.')
path_flags.define_path('reestimate_from', None, 'Folder of photos to measure the mean and '
                       "variance of batch norm's inputs on, for weights into which it is folded.")
_BATCH = 50


def main() -> int:
  """Converts one file."""
  for name in ('checkpoint_path', 'output_dir'):
    if not FLAGS[name].value:
      raise ValueError(f'--{name}: expected a path. Received: none.')
  _refuse_other_checkpoints(FLAGS.output_dir)
  weights, saved = checkpoint_flags.open_weights(FLAGS.checkpoint_path)
  name = command_line.settle(['model_name'], checkpoint_flags.as_flags(saved),
                             source=weights.path)['model_name']
  if name is None:
    raise ValueError(f'{weights.path} does not tell its network. Expected: --model_name. '
                     'Received: none.')
  net = nets_factory.get_net(name)
  num_classes = checkpoint_flags.num_outputs(weights, name)
  size = FLAGS.image_size or saved.get('image_size') or net.image_size
  channels = 1 if FLAGS.use_grayscale else saved.get('channels') or net.channels
  network = nets_factory.build_network(name, image_shape=[size, size, channels],
                                       num_classes=num_classes or net.classes)
  exclude = scopes.split(FLAGS.checkpoint_exclude_scopes)
  report = checkpoint_flags.plan(weights, name, network.variables, exclude=exclude)
  print(report.table(), end='')
  restore.check(report, exclude=exclude, head=net.head)
  restore.apply(report, weights.source, network.variables)
  checkpoint_flags.warn_of_unused(weights, report)
  preprocessing = saved.get('preprocessing_name') or net.preprocessing
  if FLAGS.reestimate_from:
    _reestimate(network, preprocessing, size, channels)
  facts = {'model_name': name, 'image_size': size, 'channels': channels,
           'preprocessing_name': preprocessing, 'num_classes': num_classes,
           'converted_from': weights.path, 'versions': metadata.versions()}
  if 'class_names' in saved:
    facts['class_names'] = saved['class_names']
  values = {key: network.variables[key] for key in report.names(restore.RESTORED)}
  prefix = checkpoints.save(FLAGS.output_dir, 0,
                            {**values, 'global_step': tf.constant(0, tf.int64)}, facts,
                            max_to_keep=1)
  (pathlib.Path(FLAGS.output_dir) / 'restored.txt').write_text(report.table(), encoding='utf-8',
                                                             errors='backslashreplace')
  print(f'Wrote {prefix}: {name}, {num_classes or "no"} classes, {size}×{size}, '
        f'{preprocessing} preprocessing.')
  return 0


def _refuse_other_checkpoints(output_dir: str) -> None:
  """Stops where writing would remove checkpoints that were not made by this program."""
  there = checkpoint_files.latest(output_dir, missing_ok=True)
  if there and 'converted_from' not in checkpoint_files.read_metadata(there):
    raise ValueError(f'--output_dir: expected a folder without checkpoints. Received: '
                     f'{output_dir}, which has {there}. Name another folder.')


def _reestimate(network, preprocessing: str, size: int, channels: int) -> None:
  """Gives batch norm the mean and variance of its inputs on photos."""
  files = folder.image_files(FLAGS.reestimate_from)
  preprocess = preprocessing_factory.get_preprocessing(preprocessing, channels=channels)

  def batches() -> Iterator[tf.Tensor]:
    for start in command_line.show_progress(range(0, len(files), _BATCH),
                                            -(-len(files) // _BATCH)):
      yield tf.stack([preprocess(tf.io.read_file(os.fsencode(path)), size, size)
                      for path in files[start:start + _BATCH]])

  left = batch_norm_estimation.re_estimate(network, batches())
  print(f'Measured batch norm on {len(files)} photos of {FLAGS.reestimate_from}.'
        + (f' {len(left)} layers have no gamma, and keep their variance.' if left else ''))


if __name__ == '__main__':
  command_line.run(main)
