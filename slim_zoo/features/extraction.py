"""Extracting features, from the command line to the last row of the file."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from datasets import content
from datasets.dataset import Dataset
from files import progress
from nets import extractors, nets_factory
from nets.folding import Folded
from nets.network import Network
from preprocessing import preprocessing_factory
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.programs import Extract
from slim_zoo.evaluation import classifier
from slim_zoo.features import formats, parts
from slim_zoo.training import bad_images, distribution
from slim_zoo.training.inputs import Inputs, decoder
from slim_zoo.weights import restore, transforms


def extract(parsed: Parsed[Extract]) -> int:
  """Extracts the features of one split; returns an exit code."""
  path = parsed.config.output.output_path or ''
  if not path:
    raise ValueError('Expected: --output_path, a .npz, .tfrecord or .parquet file. Received: none.')
  formats.check_writable(path)
  distribution.prepare_devices()
  weights, known = classifier.open_weights(parsed)
  config, _ = classifier.settle(parsed, known, weights.path)
  name = config.model.model_name
  num_classes = classifier.num_classes(weights, known, name)
  net = nets_factory.get_net(name)
  end_point = extractors.find_end_point(net, config.output.end_point, num_classes=num_classes)
  whole = classifier.get_dataset(config.data)
  if whole.label_sets is not None:
    raise ValueError('--multi_label: expected images with one label each, as files of features '
                     'have them. Received: images with several. Train on the images instead; '
                     '--cache_features computes the frozen layers once there, too.')
  bad = bad_images.settle(whole, decoder(whole), config.data.on_bad_image)
  dataset = _without(whole, bad)
  channels = 1 if config.model.use_grayscale else dataset.channels
  transform = transforms.settle(known, config.model.preprocessing_name, config.model)
  size = classifier.image_size(config.output.image_size, known, name)
  network = extractors.build_extractor(
      net, end_point, image_shape=[size, size, channels], num_classes=num_classes,
      dtype=tf.dtypes.as_dtype(config.computation.compute_dtype))
  restored = classifier.restore_variables(
      weights, name, network.variables, config=config.weights, is_whole=False,
      see=', and --end_point: choose one that only needs layers that the weights have')
  print(f'Extracting {end_point} of {name} with {weights.path}: {restored.summary()}.')
  inputs = Inputs(dataset, list(range(dataset.num_classes)), (), image_size=size, channels=channels,
                  preprocessing_name=config.model.preprocessing_name, transform=transform,
                  num_parallel_calls=config.computation.num_preprocessing_threads)
  _extract(network, inputs, restored, config=config, facts={
      'model_name': name, 'end_point': end_point, 'checkpoint': os.path.abspath(weights.path),
      'checkpoint_digest': classifier.digest_of(network.variables),
      'preprocessing_name': config.model.preprocessing_name, 'transform': transform.to_json(),
      'preprocessing_digest': preprocessing_factory.code_digest(), 'image_size': size,
      'channels': channels, 'compute_dtype': config.computation.compute_dtype,
      'dataset': dataset.name, 'split': dataset.split_name, 'is_part': dataset.made_split,
      'dataset_fingerprint': whole.fingerprint, 'content_digest': content.digest(whole),
      'bad_images': list(bad)})
  return 0


def _without(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
  """Removes examples from a split."""
  if not names:
    return dataset
  keep = ~np.isin(np.array(dataset.examples.names), names)
  return dataclasses.replace(dataset, examples=dataset.examples.select(keep))


def _extract(network: Network, inputs: Inputs, restored: restore.Report, *, config: Extract,
             facts: Mapping[str, Any]) -> None:
  """Writes the file, or completes it, and prints the result."""
  dataset, count = inputs.dataset, inputs.dataset.num_examples
  path = config.output.output_path or ''
  batch_size = min(config.computation.batch_size, count)
  folded = Folded(network)
  compute = tf.function(lambda images: folded(images)[0], autograph=False,
                        jit_compile=config.computation.xla == 'on').get_concrete_function(
      tf.TensorSpec([batch_size, inputs.image_size, inputs.image_size, inputs.channels]))
  shape = compute.structured_outputs.shape[1:]
  with formats.writer(path, facts=facts, class_names=dataset.class_names, num_examples=count,
                      shape=shape) as output:
    # Not before it is clear that the path does not hold other features.
    pathlib.Path(f'{path}.restored.txt').write_text(restored.table(), encoding='utf-8',
                                                    errors='backslashreplace')
    start, begin = output.done, time.monotonic()
    if start == count or isinstance(output, parts.Finished):
      print(f'{path} is finished: {count} × {list(shape)}.')
      return
    print(f'{count} examples of the split {dataset.split_name!r} of {dataset.name}, '
          f'{inputs.image_size}×{inputs.image_size}, {inputs.preprocessing_name} preprocessing'
          + (f'; {start} are done already.' if start else '.'))
    print(f'Images: {inputs.transform.describe(inputs.image_size)}.', flush=True)
    batches = inputs.view_batches(batch_size=batch_size, seed=0, start=start, is_training=False)
    try:
      for batch in progress.show(batches, int(batches.cardinality()), unit='batch'):
        rows = slice(output.done, min(output.done + batch_size, count))
        values = compute(batch['image']).numpy()
        output.write(dataset.examples.names[rows], dataset.labels[rows],
                     values[:rows.stop - rows.start])
    except tf.errors.OpError as error:
      raise inputs.explain(error) from error
    except KeyboardInterrupt:
      print(f'{output.done} of {count} are kept; the same command continues from there.',
            flush=True)
      raise
    seconds = time.monotonic() - begin
  print(f'{count} × {list(shape)} in {path}; {count - start} images in {seconds:.1f} s, '
        f'{(count - start) / seconds:.1f} per second.')
