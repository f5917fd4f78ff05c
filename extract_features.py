"""Writes what a network says about each image of a split to a file: features for other classifiers.

    python extract_features.py --checkpoint_path=zoo:mobilenet_v1 --dataset_name=folder \
      --dataset_dir=photos --dataset_split_name=train --output_path=train.npz

Rows are in the order of the source, one an image. A call that was interrupted goes on where it
ended.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import command_line  # Before TensorFlow: it quiets it.

# isort: split
import numpy as np
import tensorflow as tf
from absl import flags

import inference_flags
import path_flags
from datasets import content
from datasets.dataset import Dataset
from nets import extractors, nets_factory
from nets.network import Network
from preprocessing import preprocessing_factory
from slim_zoo.features import formats
from slim_zoo.training import distribution
from slim_zoo.training.inputs import Inputs, decoder
from slim_zoo.weights import restore

FLAGS = flags.FLAGS

inference_flags.define_model_flags()
inference_flags.define_computation_flags()
inference_flags.define_data_flags(split_name='train')
flags.DEFINE_string('end_point', '', "The features' end point, such as pool5; by default what the "
                    'network is known for: VGG relu6, AlexNet fc7, else what the classifier takes.')
path_flags.define_path('output_path', None, 'The file, a .npz, .tfrecord or .parquet.',
                       is_written=True)
flags.DEFINE_integer('image_size', None, "Height and width; by default as it was trained, or the "
                     "network's.", lower_bound=1)


def main() -> int:
  """Extracts the features of one split."""
  if not FLAGS.output_path:
    raise ValueError('Expected --output_path, a .npz, .tfrecord or .parquet file. Received: none.')
  formats.check_writable(FLAGS.output_path)
  distribution.prepare_devices()
  weights, saved = inference_flags.open_weights()
  options = inference_flags.settle(saved, weights.path)
  name = options['model_name']
  num_classes = inference_flags.num_classes(weights, saved, name)
  net = nets_factory.get_net(name)
  end_point = extractors.find_end_point(net, FLAGS.end_point, num_classes=num_classes)
  whole = inference_flags.get_dataset(options)
  bad = command_line.settle_bad_images(whole, decoder(whole), options['on_bad_image'])
  dataset = _without(whole, bad)
  channels = inference_flags.num_channels(options, dataset.channels)
  size = inference_flags.image_size(FLAGS.image_size, saved, name)
  network = extractors.build_extractor(
      net, end_point, image_shape=[size, size, channels], num_classes=num_classes,
      dtype=tf.dtypes.as_dtype(options['compute_dtype']))
  restored = inference_flags.restore_variables(
      weights, name, network.variables, is_whole=False,
      see=', and --end_point: one that needs no other layers than the weights have')
  print(f'Extracting {end_point} of {name} with {weights.path}: {restored.summary()}.')
  inputs = Inputs(dataset, list(range(dataset.num_classes)), (), image_size=size, channels=channels,
                  preprocessing_name=options['preprocessing_name'],
                  num_parallel_calls=FLAGS.num_preprocessing_threads)
  _extract(network, inputs, restored, xla=options['xla'] == 'on', facts={
      'model_name': name, 'end_point': end_point, 'checkpoint': os.path.abspath(weights.path),
      'checkpoint_digest': inference_flags.digest_of(network.variables),
      'preprocessing_name': options['preprocessing_name'],
      'preprocessing_digest': preprocessing_factory.code_digest(), 'image_size': size,
      'channels': channels, 'compute_dtype': options['compute_dtype'], 'dataset': dataset.name,
      'split': dataset.split_name, 'is_part': dataset.made_split,
      'dataset_fingerprint': whole.fingerprint, 'content_digest': content.digest(whole),
      'bad_images': list(bad)})
  return 0


def _without(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
  """Leaves examples out of a split."""
  if not names:
    return dataset
  keep = ~np.isin(np.array(dataset.examples.names), names)
  return dataclasses.replace(dataset, examples=dataset.examples.select(keep))


def _extract(network: Network, inputs: Inputs, restored: restore.Report, facts: Mapping[str, Any],
             *, xla: bool) -> None:
  """Writes the file, or what it lacks, and says how that went."""
  dataset, path = inputs.dataset, FLAGS.output_path
  batch_size = min(FLAGS.batch_size, dataset.num_examples)
  compute = tf.function(lambda images: network(images, is_training=False)[0], autograph=False,
                        jit_compile=xla).get_concrete_function(
      tf.TensorSpec([batch_size, inputs.image_size, inputs.image_size, inputs.channels]))
  shape, count = compute.structured_outputs.shape[1:], dataset.num_examples
  with formats.writer(path, facts=facts, class_names=dataset.class_names, num_examples=count,
                      shape=shape) as output:
    # Not before it is clear that no file of other features lies there.
    pathlib.Path(f'{path}.restored.txt').write_text(restored.table(), encoding='utf-8',
                                                    errors='backslashreplace')
    start, begin = output.done, time.monotonic()
    if start == count:
      print(f'{path} is finished: {count} × {list(shape)}.')
      return
    print(f'{count} examples of the split {dataset.split_name!r} of {dataset.name}, '
          f'{inputs.image_size}×{inputs.image_size}, {inputs.preprocessing_name} preprocessing'
          + (f'; {start} are done already.' if start else '.'), flush=True)
    batches = inputs.view_batches(batch_size=batch_size, seed=0, start=start, is_training=False)
    try:
      for batch in command_line.show_progress(batches, int(batches.cardinality())):
        rows = slice(output.done, min(output.done + batch_size, count))
        values = compute(batch['image']).numpy()
        output.write(dataset.examples.names[rows], dataset.labels[rows],
                     values[:rows.stop - rows.start])
    except tf.errors.OpError as error:
      raise inputs.explain(error) from error
    except KeyboardInterrupt:
      print(f'{output.done} of {count} are kept; the same command goes on from there.', flush=True)
      raise
    seconds = time.monotonic() - begin
  print(f'{count} × {list(shape)} in {path}; {count - start} images in {seconds:.1f} s, '
        f'{(count - start) / seconds:.1f} a second.')


if __name__ == '__main__':
  command_line.run(main)
