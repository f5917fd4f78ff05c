"""Batches for training and evaluation from any dataset.

Each example's position in the stream is determined by (seed, epoch) before anything is read.
Therefore resuming at a step skips examples without decoding them, and a bad image keeps its slot
with weight 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from datasets import dataset as dataset_lib
from datasets import indexed, seeds
from files.errors import unknown_name

# More epochs than any run has: the stream never ends.
_ENDLESS = 2**62
# How the examples of an epoch are drawn: each once, or all classes equally often.
SAMPLING = ('uniform', 'balanced')
# The id of the elements that pad the last batch of an evaluation.
_PADDING_ID = -1


# Without AutoGraph, which would rewrite the source of all functions at the start of a program.
@tf.autograph.experimental.do_not_convert
def training_batches(dataset: dataset_lib.Dataset, preprocess: Callable | None, *,
                     batch_size: int, seed: int, start_step: int = 0, num_views: int | None = None,
                     gather: Callable | None = None, sampling: str = 'uniform', repeats: int = 1,
                     bad_images: Sequence = (), label_map: Sequence[int] | None = None,
                     num_outputs: int | None = None,
                     num_parallel_calls: int = tf.data.AUTOTUNE, num_replicas: int = 1,
                     num_workers: int = 1, worker_index: int = 0) -> tf.data.Dataset:
  """Makes the infinite stream of training batches.

  The stream is the concatenation of the epochs 0, 1, …, each in its own order and with as many
  positions as there are examples. Step s consumes the positions
  [s * batch_size, (s + 1) * batch_size).

  Args:
    dataset: the split to train on.
    preprocess: function (encoded, seed) -> float32 [height, width, channels] of a static shape,
      where `encoded` is a scalar string. `seed`, int64 [2], is a function of the run's seed, the
      example, and the epoch (balanced: the number of times that the example was drawn before).
    batch_size: the global batch size, over all replicas.
    seed: the run's seed.
    start_step: the first step; examples before it are neither parsed nor decoded.
    num_views: number of different augmentations of each example, used in turn; None draws a new
      augmentation every time.
    gather: replaces `preprocess`: function (id int64 [B], view int64 [B]) -> the batch's images; no
      image is read then.
    sampling: a name in `SAMPLING`. With 'uniform', an epoch has each example once; with 'balanced',
      it has equally many examples of each class, drawn by `balancing.Balancer`.
    repeats: number of times that each example is in a row, each time with another augmentation; an
      epoch has that many times fewer examples (Hoffer et al. 2019, arXiv:1901.09335). Only with
      uniform sampling and without `num_views`.
    bad_images: `bad_images.BadImage`s or names. They keep their slots, undecoded, as zeros with
      weight 0.
    label_map: the network's output for each class of the dataset, -1 if there is none.
    num_outputs: of the network; only examples with several labels need it.
    num_parallel_calls: number of images to decode in parallel.
    num_replicas: number of consecutive elements that each global batch is divided into, in the
      order of the replicas, for `strategy.distribute_datasets_from_function`.
    num_workers: number of input pipelines; each yields its own rows of every global batch, for its
      num_replicas / num_workers replicas.
    worker_index: index of this input pipeline.

  Returns:
    A tf.data.Dataset of {'image': float32 [B, height, width, channels], 'label': int32 [B],
    'weight': float32 [B], 'id': int64 [B]} with B = batch_size / num_replicas. If examples may have
    several labels, 'label' is float32 [B, num_outputs], 1 for the classes of an example.

  Raises:
    ValueError: if the batch cannot be divided evenly, a label is unknown to the network, a bad
      image is not in the dataset, the result of `preprocess` has no static shape, or sampling is
      balanced and the dataset has no random access.
  """
  per_replica = _per_replica_batch(batch_size, num_replicas, num_workers)
  check_sampling(dataset, sampling)
  start_epoch, first_skip = divmod(start_step * batch_size, dataset.num_examples)
  reads_ahead = _reads_ahead(dataset, preprocess, num_workers)

  def in_turn(number):
    return number % num_views if num_views else number

  def one_epoch(epoch, skip=0):
    if repeats > 1:
      return _repeated(dataset, epoch, seed=seed, repeats=repeats, skip=skip,
                       with_images=reads_ahead)
    if sampling == 'balanced' and isinstance(dataset.examples, indexed.IndexedExamples):
      order = dataset.examples.balanced_order(epoch, seed=seed, skip=skip)
      return order.map(lambda raw, turn: {'raw': raw, 'view': in_turn(turn), 'valid': True})
    order = dataset.examples.order(epoch, seed=seed, shuffle=True, skip=skip,
                                   with_images=reads_ahead)
    return _elements(order, in_turn(epoch), valid=True)

  load = _loader(dataset, _augmented(preprocess, seed), bad_images=bad_images,
                 targets=_targets(dataset, label_map, num_outputs))
  stream = _concatenated(one_epoch, start_epoch, _ENDLESS, skip=first_skip)
  stream = _rows_of_worker(stream, batch_size, num_workers=num_workers, worker_index=worker_index)
  return _batched(stream, load, per_replica, num_parallel_calls=num_parallel_calls, gather=gather)


def check_sampling(dataset: dataset_lib.Dataset, sampling: str) -> None:
  """Checks that a dataset supports a sampling.

  Raises:
    ValueError: if it does not, or the sampling is unknown.
  """
  if sampling not in SAMPLING:
    raise unknown_name('sampling', sampling, SAMPLING)
  if sampling == 'balanced' and dataset.label_sets is not None:
    raise ValueError('--sampling=balanced: expected images with one label each. Received: '
                     '--multi_label. Leave one of them out.')
  if sampling == 'balanced' and not isinstance(dataset.examples, indexed.IndexedExamples):
    raise ValueError(
        f'--sampling=balanced: expected a dataset with random access, such as folder or csv. '
        f'Received: {dataset.name}, whose records can only be read in order. Use '
        '--class_weights=balanced, which weights the classes in the loss instead.')


@tf.autograph.experimental.do_not_convert
def view_batches(dataset: dataset_lib.Dataset, preprocess: Callable, *, batch_size: int, seed: int,
                 num_views: int = 1, start: int = 0, bad_images: Sequence = (),
                 num_parallel_calls: int = tf.data.AUTOTUNE) -> tf.data.Dataset:
  """Makes batches of all training views: view by view, each in the order of the source.

  Args:
    dataset: the split.
    preprocess: see `training_batches`.
    batch_size: the batch size; the last batch is padded as in an evaluation.
    seed: the run's seed.
    num_views: number of views of each example.
    start: the first element; those before it are not decoded. Element v·n + i is view v of
      example i.
    bad_images, num_parallel_calls: see `training_batches`.

  Returns:
    A finite tf.data.Dataset with the elements of `training_batches`.
  """
  total = num_views * dataset.num_examples
  start_view, first_skip = divmod(start, dataset.num_examples)

  def one_view(view, skip=0):
    order = dataset.examples.order(0, seed=0, shuffle=False, skip=skip)
    return _elements(order, view, valid=True)

  padding = dataset.examples.order(0, seed=0, shuffle=False).take(1).repeat(
      -(total - start) % batch_size)
  stream = _concatenated(one_view, start_view, num_views, skip=first_skip).concatenate(
      _elements(padding, 0, valid=False))
  load = _loader(dataset, _augmented(preprocess, seed), bad_images=bad_images,
                 targets=_targets(dataset, None, dataset.num_classes))
  return _batched(stream, load, batch_size, num_parallel_calls=num_parallel_calls)


@tf.autograph.experimental.do_not_convert
def evaluation_batches(dataset: dataset_lib.Dataset, preprocess: Callable | None, *,
                       batch_size: int, gather: Callable | None = None,
                       bad_images: Sequence = (), label_map: Sequence[int] | None = None,
                       num_outputs: int | None = None,
                       num_parallel_calls: int = tf.data.AUTOTUNE, num_replicas: int = 1,
                       num_workers: int = 1, worker_index: int = 0) -> tf.data.Dataset:
  """Makes the batches of an evaluation: every example once, in the order of the source.

  The last global batch is padded with zeros of weight 0, label 0 and id -1.

  Args:
    dataset: the split to evaluate.
    preprocess: function (encoded, seed) -> float32 [height, width, channels] of a static shape;
      `seed` is None.
    batch_size: the global batch size, over all replicas.
    gather, bad_images, label_map, num_outputs, num_parallel_calls, num_replicas, num_workers,
      worker_index: see `training_batches`.

  Returns:
    A finite tf.data.Dataset with the elements of `training_batches`.

  Raises:
    ValueError: see `training_batches`.
  """
  per_replica = _per_replica_batch(batch_size, num_replicas, num_workers)

  order = dataset.examples.order(0, seed=0, shuffle=False,
                                 with_images=_reads_ahead(dataset, preprocess, num_workers))
  padding = order.take(1).repeat(-dataset.num_examples % batch_size)
  load = _loader(dataset, _not_augmented(preprocess), bad_images=bad_images,
                 targets=_targets(dataset, label_map, num_outputs))
  stream = _elements(order, 0, valid=True).concatenate(_elements(padding, 0, valid=False))
  stream = _rows_of_worker(stream, batch_size, num_workers=num_workers, worker_index=worker_index)
  return _batched(stream, load, per_replica, num_parallel_calls=num_parallel_calls, gather=gather)


def _repeated(dataset: dataset_lib.Dataset, epoch, *, seed: int, repeats: int, skip: int,
              with_images: bool) -> tf.data.Dataset:
  """Makes the elements of an epoch in which each example is repeated; as many as examples."""
  whole, part = divmod(skip, repeats)
  count = -(-dataset.num_examples // repeats)
  order = dataset.examples.order(epoch, seed=seed, shuffle=True, skip=whole,
                                 with_images=with_images).take(count - whole)
  number = tf.data.Dataset.range(repeats)
  elements = order.flat_map(lambda raw: number.map(
      lambda turn: {'raw': raw, 'view': epoch * repeats + turn, 'valid': True}))
  return elements.skip(part).take(dataset.num_examples - skip)


def _concatenated(make: Callable, start: int, end: int, *, skip: int) -> tf.data.Dataset:
  """Concatenates make(start, skip), make(start + 1) … make(end - 1)."""
  if not skip:
    return tf.data.Dataset.range(start, end).flat_map(make)
  return make(start, skip).concatenate(tf.data.Dataset.range(start + 1, end).flat_map(make))


def _elements(order: tf.data.Dataset, view, *, valid: bool) -> tf.data.Dataset:
  """Adds the view and the validity to the elements of an order.

  This calls no function per element, which would take longer than a training step of a small head.
  """
  constants = {'view': tf.cast(view, tf.int64), 'valid': tf.constant(valid)}
  return tf.data.Dataset.zip({'raw': order, **{
      name: tf.data.Dataset.from_tensors(value).repeat() for name, value in constants.items()}})


def _augmented(preprocess: Callable | None, seed: int) -> Callable | None:
  """Converts a function (encoded, seed) -> image to (encoded, id, view) -> image."""
  return preprocess and (lambda encoded, example_id, view: preprocess(
      encoded, seeds.derive(seeds.AUGMENTATION, seed, view, example_id)))


def _not_augmented(preprocess: Callable | None) -> Callable | None:
  """Converts a function (encoded, seed) -> image to (encoded, id, view) -> image; seed is None."""
  return preprocess and (lambda encoded, example_id, view: preprocess(encoded, None))


def _per_replica_batch(batch_size: int, num_replicas: int, num_workers: int) -> int:
  if batch_size < 1 or batch_size % num_replicas or num_replicas % num_workers:
    raise ValueError(
        'Expected a batch size that is a multiple of the number of replicas, which is a multiple '
        f'of the number of workers. Received: batch size {batch_size}, {num_replicas} replicas, '
        f'{num_workers} workers. Change --batch_size.')
  return batch_size // num_replicas


def _reads_ahead(dataset: dataset_lib.Dataset, preprocess: Callable | None,
                 num_workers: int) -> bool:
  """Returns whether images are read before a worker selects its own.

  Reading a file from its beginning to its end is faster, but several workers would do it.
  """
  return preprocess is not None and (num_workers == 1 or dataset.examples.is_sequential)


def _rows_of_worker(stream: tf.data.Dataset, batch_size: int, *, num_workers: int,
                    worker_index: int) -> tf.data.Dataset:
  """Keeps a worker's rows of every global batch, before anything is read."""
  if num_workers == 1:
    return stream
  rows = batch_size // num_workers
  numbered = stream.enumerate()
  mine = numbered.filter(lambda position, _: position % batch_size // rows == worker_index)
  return mine.map(lambda _, element: element)


def _loader(dataset: dataset_lib.Dataset, preprocess: Callable | None, *, bad_images: Sequence,
            targets: tf.Tensor) -> Callable:
  """Makes the function from an element of the stream to an example of a batch.

  `targets` has a row for each label of the dataset.

  `preprocess` is called as (encoded, id, view). Without it, an example has its view instead of an
  image, and whole batches of elements can be loaded at once.
  """
  traced = preprocess and _traced(preprocess)
  shape = traced and traced.structured_outputs.shape
  bad_ids = _ids_of(dataset, bad_images)

  def load(element):
    example = dataset.examples.facts(element['raw'])
    bad = tf.reduce_any(tf.constant(bad_ids, tf.int64) == example['id'][..., tf.newaxis], axis=-1)
    use = element['valid'] & ~bad

    if traced:
      def read():
        encoded = dataset.examples.image(element['raw'])
        return traced(encoded, example['id'], element['view'])

      image = tf.cond(use, read, lambda: tf.zeros(shape, tf.float32))
    return {
        **({'image': tf.ensure_shape(image, shape)} if traced else {'view': element['view']}),
        # A slot of weight 0 may have any label of the network.
        'label': tf.where(use if targets.shape.rank == 1 else use[..., tf.newaxis],
                          tf.gather(targets, example['label']), tf.zeros([], targets.dtype)),
        'weight': tf.cast(use, tf.float32),
        'id': tf.where(element['valid'], example['id'], _PADDING_ID),
    }

  return load


def _batched(stream: tf.data.Dataset, load: Callable, batch_size: int, *, num_parallel_calls: int,
             gather: Callable | None = None) -> tf.data.Dataset:
  if gather:  # Nothing is read, so one call per example would take most of the time.
    def load_batch(elements):
      batch = load(elements)
      return {'image': gather(batch['id'], batch.pop('view')), **batch}

    batches = stream.batch(batch_size, drop_remainder=True).map(load_batch)
  else:
    loaded = stream.map(load, num_parallel_calls=num_parallel_calls, deterministic=True)
    batches = loaded.batch(batch_size, drop_remainder=True)
  batches = batches.prefetch(tf.data.AUTOTUNE)
  options = tf.data.Options()
  options.deterministic = True
  # Rows are already divided among the workers; TensorFlow must not do it again.
  options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
  return batches.with_options(options)


def _traced(preprocess: Callable) -> Any:
  """Traces `preprocess` once, and checks that its images have a static shape."""
  traced = tf.function(preprocess, autograph=False).get_concrete_function(
      tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int64))
  image = traced.structured_outputs
  if not image.shape.is_fully_defined() or image.shape.rank != 3 or image.dtype != tf.float32:
    raise ValueError('Expected preprocessing to return float32 [height, width, channels] with a '
                     f'static shape. Received: {image.dtype.name} {image.shape}.')
  return traced


def _targets(dataset: dataset_lib.Dataset, label_map: Sequence[int] | None,
             num_outputs: int | None) -> tf.Tensor:
  """The network's output for each label of the dataset, or 1 for each of its outputs."""
  outputs = _network_labels(dataset, label_map)
  if dataset.label_sets is None:
    return tf.constant(outputs, tf.int32)
  found = np.zeros([len(dataset.label_sets), num_outputs or 0], np.float32)
  for label, classes in enumerate(dataset.label_sets):
    found[label, outputs[list(classes)]] = 1
  return tf.constant(found)


def _network_labels(dataset: dataset_lib.Dataset, label_map: Sequence[int] | None) -> np.ndarray:
  """The network's output for each class of the dataset."""
  if label_map is None:
    return np.arange(dataset.num_classes)
  mapped = np.asarray(label_map)
  if len(mapped) != dataset.num_classes:
    raise ValueError(f'Expected a label for each of the {dataset.num_classes} classes. '
                     f'Received: {len(mapped)} labels.')
  lost = [dataset.class_names[place] for place in np.flatnonzero(dataset.class_counts)
          if mapped[place] < 0]
  if lost:
    listed = ', '.join(lost[:10]) + (', …' if len(lost) > 10 else '')
    raise ValueError(
        f'Expected the network to have all classes of the split {dataset.split_name!r}. Received '
        f'images of {len(lost)} classes that it does not have: {listed}. '
        'Check --dataset_name, --dataset_dir and --labels_offset.')
  return np.maximum(mapped, 0)


def _ids_of(dataset: dataset_lib.Dataset, bad_images: Sequence) -> np.ndarray:
  names = [getattr(image, 'name', image) for image in bad_images]
  unknown = sorted(set(names) - set(dataset.examples.names)) if names else []
  if unknown:
    raise ValueError(f'Expected the bad images to be in the split {dataset.split_name!r}. '
                     f'Received one that is not: {unknown[0]}.')
  return dataset_lib.ids(names)
