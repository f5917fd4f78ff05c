"""Evaluates a checkpoint: every example of a split once, top-1, top-5 and loss.

    python eval_image_classifier.py --checkpoint_path=run --dataset_name=folder \
      --dataset_dir=photos --dataset_split_name=validation

A checkpoint of this project needs no more: its metadata name the network and its classes.
"""

from __future__ import annotations

import math
import pathlib

import command_line  # Before TensorFlow: it quiets it.

# isort: split
import tensorflow as tf
from absl import flags

import checkpoint_flags
from datasets import dataset_factory, labels
from evaluation import report
from evaluation.evaluator import Evaluator, Measurement
from nets import nets_factory
from training import distribution
from training.inputs import Inputs, decoder
from weights import restore, sources

FLAGS = flags.FLAGS

checkpoint_flags.define_flags()

# What the checkpoint's metadata answer when the flag is not set.
flags.DEFINE_string('model_name', 'inception_v3', 'Name of the network.')
flags.DEFINE_string('preprocessing_name', None, 'Name of the preprocessing, or of a network whose '
                    'own is meant; by default that of --model_name.')
flags.DEFINE_integer('labels_offset', None, 'Subtracted from every label; by default 0, or what '
                     'joins ImageNet with its background class and without.')
flags.DEFINE_bool('use_grayscale', False, 'Whether to turn images to grey, one channel.')
flags.DEFINE_string('dataset_name', 'imagenet', 'Name of the dataset, or tfds/<name>.')
flags.DEFINE_string('dataset_dir', None, 'Where the data lie.')
flags.DEFINE_string('file_pattern', None, "Names of TFRecord files, '%s' being the split.")
flags.DEFINE_float('validation_fraction', 0.1, 'Share of the training examples that makes the '
                   'validation split where the data have none.', lower_bound=0, upper_bound=0.9)
flags.DEFINE_enum('xla', 'auto', ['auto', 'on', 'off'], 'Whether XLA compiles the network.')
flags.DEFINE_enum('compute_dtype', 'float32', ['float32', 'bfloat16'], 'What layers compute in.')
_MODEL = ('model_name', 'preprocessing_name', 'labels_offset', 'use_grayscale')
_DATA = ('dataset_name', 'dataset_dir', 'file_pattern', 'validation_fraction')
_COMPUTATION = ('xla', 'compute_dtype')

flags.DEFINE_string('checkpoint_path', '/tmp/tfmodel/', 'A checkpoint, or a folder of them.')
flags.DEFINE_string('eval_dir', '/tmp/tfmodel/', 'Where eval.json and event files go.')
flags.DEFINE_string('dataset_split_name', 'test', 'Split to evaluate.')
flags.DEFINE_integer('eval_image_size', None, "Height and width; by default as it was trained, or "
                     "the network's.", lower_bound=1)
flags.DEFINE_integer('batch_size', 100, 'Examples a batch.', lower_bound=1)
flags.DEFINE_integer('max_num_batches', None, 'Batches to evaluate; by default all.',
                     lower_bound=1)
flags.DEFINE_integer('num_preprocessing_threads', 4, 'Images to decode at a time.', lower_bound=1)
flags.DEFINE_float('moving_average_decay', None, 'If set, the checkpoint must have moving '
                   'averages; they are used in any case where it has them.')
flags.DEFINE_enum('on_bad_image', 'error', ['error', 'skip'], 'What to do with images that '
                  'cannot be decoded: stop, or leave them out and say so.')
flags.DEFINE_string('master', '', 'Not used any more.')
flags.DEFINE_bool('quantize', False, 'Not used any more.')
_RETIRED = {'master': ('', 'the evaluation uses this machine'),
            'quantize': (False, 'evaluate the network as it was trained')}


def main() -> int:
  """Evaluates one checkpoint."""
  command_line.refuse_retired(_RETIRED)
  command_line.refuse_remote('eval_dir')
  distribution.prepare_devices()
  weights, saved = checkpoint_flags.open_weights(FLAGS.checkpoint_path)
  options = _settle(saved, weights.path)
  net = nets_factory.get_net(options['model_name'])
  dataset = dataset_factory.get_dataset(
      options['dataset_name'], FLAGS.dataset_split_name, options['dataset_dir'],
      file_pattern=options['file_pattern'], validation_fraction=options['validation_fraction'])
  num_classes, label_map = _join_classes(dataset, weights, saved, options)
  bad = command_line.settle_bad_images(dataset, decoder(dataset))
  channels = 1 if options['use_grayscale'] else dataset.channels
  size = FLAGS.eval_image_size or saved.get('image_size') or net.image_size
  network = nets_factory.build_network(
      options['model_name'], image_shape=[size, size, channels], num_classes=num_classes,
      dtype=tf.dtypes.as_dtype(options['compute_dtype']))
  restored = _restore(weights, options, network)
  has_step = weights.source.shapes.get('global_step') == ()
  step = int(weights.source.read('global_step')) if has_step else 0
  print(f'{dataset.num_examples} examples of the split {dataset.split_name!r} of {dataset.name}, '
        f'{size}×{size}, {options["preprocessing_name"]} preprocessing.', flush=True)
  inputs = Inputs(dataset, label_map, bad, preprocessing_name=options['preprocessing_name'],
                  image_size=size, channels=channels,
                  num_parallel_calls=FLAGS.num_preprocessing_threads)
  found = _measure(Evaluator(network, xla=options['xla'] == 'on'), inputs)
  _report(found, dataset, bad, weights.path, step, restored.num_averages, options)
  return 0


def _restore(weights: sources.Weights, options: dict, network) -> restore.Report:
  """Restores every variable, or stops, and keeps the table."""
  found = checkpoint_flags.plan(weights, options['model_name'], network.variables,
                                use_averages=FLAGS.moving_average_decay is not None or None)
  folder = pathlib.Path(FLAGS.eval_dir)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'restored.txt').write_text(found.table(), encoding='utf-8', errors='backslashreplace')
  restore.check(found, advice='Expected the network, the image size and data of the channels '
                'that it was trained with: see --model_name, --eval_image_size, --dataset_name, '
                '--use_grayscale and --convert_input_channels.')
  restore.apply(found, weights.source, network.variables)
  checkpoint_flags.warn_of_unused(weights, found)
  print(f'Evaluating {weights.path}: {found.summary()}.')
  return found


def _settle(saved: dict, prefix: str) -> dict:
  known = checkpoint_flags.as_flags(saved)
  free = {*_DATA, *_COMPUTATION}
  if FLAGS.dataset_name != known.get('dataset_name') and FLAGS['dataset_name'].present:
    known = {n: v for n, v in known.items() if n not in _DATA}  # They are of another dataset.
  elif not FLAGS['dataset_dir'].present:
    free -= {'validation_fraction'}  # Another share would evaluate what was trained on.
  options = command_line.settle((*_MODEL, *_DATA, *_COMPUTATION), known, source=prefix,
                                may_change=free, resolve={
                                    'dataset_dir': command_line.absolute,
                                    'preprocessing_name': nets_factory.preprocessing_name,
                                    'xla': command_line.unless_auto})
  net = nets_factory.get_net(options['model_name'])
  options['preprocessing_name'] = nets_factory.preprocessing_name(
      options['preprocessing_name'] or options['model_name'])
  if options['xla'] is None:
    options['xla'] = 'on' if net.xla else 'off'
  return options


def _join_classes(dataset, weights: sources.Weights, saved: dict, options: dict):
  """Returns how many classes the checkpoint has, and the output of each label."""
  for note in dataset.notes:
    print(note)
  if 'class_names' in saved:
    names = saved['class_names']
    if FLAGS['labels_offset'].present and 'labels_offset' not in saved.get('flags', {}):
      raise ValueError(f'--labels_offset: expected none, for {weights.path} knows the names of its '
                       'classes and is matched by them. Leave it out.')
    return len(names), labels.map_by_name(dataset.class_names, names)
  offset, num_classes = options['labels_offset'], checkpoint_flags.num_outputs(
      weights, options['model_name'])
  if num_classes is None:
    raise ValueError(f'Expected weights with a classifier to evaluate. Received: {weights.path}, '
                     f'which has none for {options["model_name"]}. Train one on them, with '
                     '--checkpoint_path and --checkpoint_exclude_scopes, and evaluate that.')
  if offset is None:
    offset = labels.likely_offset(dataset, num_classes)
    if offset:
      print(f'--labels_offset={offset}: the checkpoint has {num_classes} classes, the data '
            f'{dataset.num_classes}, as ImageNet has with its background class and without.')
  labels.check_count(dataset, num_classes, offset)
  return num_classes, labels.map_by_offset(dataset.num_classes, offset)


def _measure(evaluator: Evaluator, inputs: Inputs) -> Measurement:
  total = math.ceil(inputs.dataset.num_examples / FLAGS.batch_size)
  batches = inputs.evaluation_batches(batch_size=FLAGS.batch_size)
  if FLAGS.max_num_batches:
    total = min(total, FLAGS.max_num_batches)
    batches = batches.take(total)
  try:
    return evaluator.measure(command_line.show_progress(batches, total))
  except tf.errors.OpError as error:
    raise inputs.explain(error) from error


def _report(found: Measurement, dataset, bad, prefix: str, step: int, averages: int,
            options: dict) -> None:
  path = report.write(FLAGS.eval_dir, found, step=step, facts={
      'checkpoint': prefix, 'model_name': options['model_name'], 'dataset': dataset.name,
      'dataset_dir': options['dataset_dir'], 'split': dataset.split_name,
      'fingerprint': dataset.fingerprint, 'moving_averages': bool(averages),
      'bad_images': list(bad)})
  print(found.lines())
  print(f'top-1 {found.top_1:.4f}, top-{found.k} {found.top_k:.4f}, loss {found.loss:.4f} on '
        f'{found.count} examples, step {step}'
        + (f'; {len(bad)} bad images left out' if bad else '')
        + f'. Written to {path}.')


if __name__ == '__main__':
  command_line.run(main)
