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
from nets.record import Net
from preprocessing import preprocessing_factory
from slim_zoo.config.data import Data
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.programs import Extract
from slim_zoo.evaluation import classifier
from slim_zoo.features import formats, parts
from slim_zoo.training import bad_images, distribution
from slim_zoo.training.inputs import Inputs, decoder
from slim_zoo.weights import restore, sources, transforms

# What to do about weights that lack a variable.
ADVICE = ', and --end_point: choose one that only needs layers that the weights have'


@dataclasses.dataclass(frozen=True)
class Images:
  """The images of a split.

  Attributes:
    whole: the split.
    dataset: the split without the images that cannot be decoded.
    bad: the names of those.
  """
  whole: Dataset
  dataset: Dataset
  bad: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Source:
  """What features are made with, before any variable exists.

  Attributes:
    config: the settled options.
    weights: of the network.
    known: what is known about them.
    num_classes: width of their classifier; None if they have none.
    end_point: full name of the end point of the features.
  """
  config: Extract
  weights: sources.Weights
  known: Mapping[str, Any]
  num_classes: int | None
  end_point: str

  @property
  def net(self) -> Net:
    """The network's record."""
    return nets_factory.get_net(self.config.model.model_name)

  @property
  def image_size(self) -> int:
    """Height and width of the images."""
    return classifier.image_size(self.config.output.image_size, self.known,
                                 self.config.model.model_name)

  def channels(self, dataset: Dataset) -> int:
    """Returns the number of channels to which images are decoded."""
    return 1 if self.config.model.use_grayscale else dataset.channels


@dataclasses.dataclass(frozen=True)
class Extractor:
  """A network up to an end point, with restored variables, and the images.

  Attributes:
    config: the settled options.
    network: returns features.
    inputs: the images, preprocessed.
    restored: what happened to each variable.
    facts: everything that the features depend on, as JSON values.
  """
  config: Extract
  network: Network
  inputs: Inputs
  restored: restore.Report
  facts: Mapping[str, Any]

  @property
  def batch_size(self) -> int:
    """Number of images that are computed together."""
    return min(self.config.computation.batch_size, self.inputs.dataset.num_examples)

  def compile(self, batch_size: int) -> Any:
    """Returns a graph from images [batch, height, width, channels] to features [batch, …]."""
    folded = Folded(self.network)
    return tf.function(lambda images: folded(images)[0], autograph=False,
                       jit_compile=self.config.computation.xla == 'on').get_concrete_function(
        tf.TensorSpec([batch_size, self.inputs.image_size, self.inputs.image_size,
                       self.inputs.channels]))


def extract(parsed: Parsed[Extract]) -> int:
  """Extracts the features of one split; returns an exit code."""
  path = parsed.config.output.output_path or ''
  if not path:
    raise ValueError('Expected: --output_path, a .npz, .tfrecord or .parquet file. Received: none.')
  formats.check_writable(path)
  distribution.prepare_devices()
  source = find_source(parsed, *classifier.open_weights(parsed))
  images = open_images(source.config.data)
  write(build(source, images), path)
  return 0


def find_source(parsed: Parsed[Extract], weights: sources.Weights,
                known: Mapping[str, Any]) -> Source:
  """Settles the options with what is known about the weights.

  Args:
    parsed: the command line.
    weights, known: from `classifier.open_weights`.

  Raises:
    ValueError: if a flag contradicts the weights, or there is no such network or end point.
  """
  config, _ = classifier.settle(parsed, known, weights.path)
  name = config.model.model_name
  num_classes = classifier.num_classes(weights, known, name)
  end_point = extractors.find_end_point(
      nets_factory.get_net(name), config.output.end_point, num_classes=num_classes)
  return Source(config, weights, known, num_classes, end_point)


def open_images(data: Data) -> Images:
  """Opens the split, and looks for images that cannot be decoded.

  Raises:
    ValueError: if there are such images and they are not to be skipped, or images have several
      labels.
    OSError: if the data cannot be read.
  """
  whole = classifier.get_dataset(data)
  if whole.label_sets is not None:
    raise ValueError('--multi_label: expected images with one label each, as files of features '
                     'have them. Received: images with several. Train on the images instead; '
                     '--cache_features computes the frozen layers once there, too.')
  bad = bad_images.settle(whole, decoder(whole), data.on_bad_image)
  return Images(whole, without(whole, bad), bad)


def build(source: Source, images: Images) -> Extractor:
  """Builds the network up to its end point, and restores it.

  Raises:
    ValueError: if the weights lack a variable.
  """
  config, weights, dataset = source.config, source.weights, images.dataset
  name, size, channels = config.model.model_name, source.image_size, source.channels(images.whole)
  preprocessing_name = config.model.preprocessing_name or ''
  transform = transforms.settle(source.known, preprocessing_name, config.model)
  network = extractors.build_extractor(
      source.net, source.end_point, image_shape=[size, size, channels],
      num_classes=source.num_classes, dtype=tf.dtypes.as_dtype(config.computation.compute_dtype))
  restored = classifier.restore_variables(
      weights, name, network.variables, config=config.weights, is_whole=False, see=ADVICE)
  inputs = Inputs(dataset, list(range(dataset.num_classes)), (), image_size=size, channels=channels,
                  preprocessing_name=preprocessing_name, transform=transform,
                  num_parallel_calls=config.computation.num_preprocessing_threads)
  return Extractor(config, network, inputs, restored, {
      'model_name': name, 'end_point': source.end_point,
      'checkpoint': os.path.abspath(weights.path),
      'checkpoint_digest': classifier.digest_of(network.variables),
      'preprocessing_name': preprocessing_name, 'transform': transform.to_json(),
      'preprocessing_digest': preprocessing_factory.code_digest(), 'image_size': size,
      'channels': channels, 'compute_dtype': config.computation.compute_dtype,
      'dataset': dataset.name, 'split': dataset.split_name, 'is_part': dataset.made_split,
      'dataset_fingerprint': images.whole.fingerprint,
      'content_digest': content.digest(images.whole), 'bad_images': list(images.bad)})


def without(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
  """Removes examples from a split."""
  if not names:
    return dataset
  keep = ~np.isin(np.array(dataset.examples.names), names)
  return dataclasses.replace(dataset, examples=dataset.examples.select(keep))


def write(extractor: Extractor, path: str) -> None:
  """Writes the file, or completes it, and prints the result.

  Raises:
    ValueError: if the path has other features, or an image cannot be decoded.
    OSError: if it cannot be written.
  """
  config, inputs, restored = extractor.config, extractor.inputs, extractor.restored
  dataset, count = inputs.dataset, inputs.dataset.num_examples
  print(f'Extracting {extractor.facts["end_point"]} of {config.model.model_name} with '
        f'{restored.checkpoint}: {restored.summary()}.')
  batch_size = extractor.batch_size
  compute = extractor.compile(batch_size)
  shape = compute.structured_outputs.shape[1:]
  with formats.writer(path, facts=extractor.facts, class_names=dataset.class_names,
                      num_examples=count, shape=shape) as output:
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
      total = -(-(count - start) // batch_size)
      for batch in progress.show(batches, total, unit='batch'):
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
