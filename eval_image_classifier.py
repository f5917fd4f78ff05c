"""Evaluates a checkpoint: every example of a split once, top-1, top-5, loss, recall of the classes.

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
import inference_flags
import path_flags
from datasets import label_join, labels
from slim_zoo.evaluation import report
from slim_zoo.evaluation.evaluator import Evaluator, Measurement
from slim_zoo.training import distribution
from slim_zoo.training.inputs import Inputs, decoder
from slim_zoo.weights import sources

FLAGS = flags.FLAGS

inference_flags.define_model_flags(checkpoint_path='/tmp/tfmodel/')
inference_flags.define_computation_flags()
inference_flags.define_data_flags(split_name='test')
flags.DEFINE_integer('labels_offset', None, 'Subtracted from every label; by default 0, or what '
                     'joins ImageNet with its background class and without.')
inference_flags.define_labels_flag()
flags.DEFINE_bool('labels_are_indices', False, 'For weights that do not know their classes: take '
                  "the places of the data's classes in sorted order for the numbers of outputs.")
path_flags.define_path('eval_dir', '/tmp/tfmodel/', 'Where eval.json and event files go.',
                       is_written=True)
flags.DEFINE_integer('eval_image_size', None, "Height and width; by default as it was trained, or "
                     "the network's.", lower_bound=1)
flags.DEFINE_integer('max_num_batches', None, 'Batches to evaluate; by default all.',
                     lower_bound=1)
flags.DEFINE_float('moving_average_decay', None, 'If set, the checkpoint must have moving '
                   'averages; they are used in any case where it has them.')
flags.DEFINE_string('master', '', 'Not used any more.')
flags.DEFINE_bool('quantize', False, 'Not used any more.')
_RETIRED = {'master': ('', 'the evaluation uses this machine'),
            'quantize': (False, 'evaluate the network as it was trained')}


def main() -> int:
  """Evaluates one checkpoint."""
  command_line.refuse_retired(_RETIRED)
  distribution.prepare_devices()
  weights, saved = inference_flags.open_weights()
  options = inference_flags.settle(saved, weights.path, more=['labels_offset'])
  dataset = inference_flags.get_dataset(options)
  num_classes, label_map = _join_classes(dataset, weights, saved, options)
  bad = command_line.settle_bad_images(dataset, decoder(dataset), options['on_bad_image'])
  channels = inference_flags.num_channels(options, dataset.channels)
  size = inference_flags.image_size(FLAGS.eval_image_size, saved, options['model_name'])
  network = inference_flags.build_network(options, image_shape=[size, size, channels],
                                          num_classes=num_classes)
  restored = inference_flags.restore_variables(
      weights, options['model_name'], network.variables,
      use_averages=FLAGS.moving_average_decay is not None or None,
      table=pathlib.Path(FLAGS.eval_dir) / 'restored.txt')
  print(f'Evaluating {weights.path}: {restored.summary()}.')
  has_step = weights.source.shapes.get('global_step') == ()
  step = int(weights.source.read('global_step')) if has_step else 0
  print(f'{dataset.num_examples} examples of the split {dataset.split_name!r} of {dataset.name}, '
        f'{size}×{size}, {options["preprocessing_name"]} preprocessing.', flush=True)
  inputs = Inputs(dataset, label_map, bad, preprocessing_name=options['preprocessing_name'],
                  image_size=size, channels=channels,
                  num_parallel_calls=FLAGS.num_preprocessing_threads)
  found = _measure(Evaluator(network, xla=options['xla'] == 'on'), inputs)
  class_names = labels.distinct_names(
      labels.names_by_output(dataset.class_names, label_map, num_classes))
  _report(found, dataset, class_names, bad, weights.path, step, restored.num_averages, options)
  if 'class_names' not in saved and report.is_chance(found):
    print(f'Warning: top-1 is that of guessing among {num_classes} classes. Check how the classes '
          'are matched with the outputs (--labels_path, --labels_offset), --preprocessing_name '
          'and --model_name.')
  return 0


def _join_classes(dataset, weights: sources.Weights, saved: dict, options: dict):
  """Returns how many classes the checkpoint has, and the output of each label."""
  if 'class_names' in saved and not FLAGS.labels_path:
    names = saved['class_names']
    if FLAGS['labels_offset'].present and 'labels_offset' not in saved.get('flags', {}):
      raise ValueError(f'--labels_offset: expected none, for {weights.path} knows the names of its '
                       'classes and is matched by them. Leave it out.')
    return len(names), labels.map_by_name(dataset.class_names, names)
  if FLAGS.labels_path:
    names = inference_flags.class_names(weights, saved, options['model_name'])
    return len(names), labels.map_by_name(dataset.class_names, names)
  num_classes = checkpoint_flags.num_outputs(weights, options['model_name'])
  if num_classes is None:
    raise ValueError(f'Expected weights with a classifier to evaluate. Received: {weights.path}, '
                     f'which has none for {options["model_name"]}. Train one on them, with '
                     '--checkpoint_path and --checkpoint_exclude_scopes, and evaluate that.')
  joined = label_join.join(dataset, num_classes, labels_offset=options['labels_offset'],
                           labels_are_indices=FLAGS.labels_are_indices)
  if joined.note:
    print(joined.note)
  return num_classes, joined.label_map


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


def _report(found: Measurement, dataset, class_names, bad, prefix: str, step: int, averages: int,
            options: dict) -> None:
  path = report.write(FLAGS.eval_dir, found, step=step, facts={
      'checkpoint': prefix, 'model_name': options['model_name'], 'dataset': dataset.name,
      'dataset_dir': options['dataset_dir'], 'split': dataset.split_name,
      'fingerprint': dataset.fingerprint, 'moving_averages': bool(averages),
      'bad_images': list(bad)}, class_names=class_names)
  print(report.class_table(found, class_names, all_in='eval.json'))
  print(found.lines())
  print(f'top-1 {found.top_1:.4f}, top-{found.k} {found.top_k:.4f}, mean recall '
        f'{found.mean_recall:.4f}, loss {found.loss:.4f} on {found.count} examples, step {step}'
        + (f'; {len(bad)} bad images left out' if bad else '')
        + f'. Written to {path}.')


if __name__ == '__main__':
  command_line.run(main)
