"""ILSVRC 2012, as TF-Slim's 1,024 training and 128 validation files."""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import io
import itertools
import json
import os
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import tensorflow as tf

from datasets import imagenet, labels_file
from datasets.converters import bounding_boxes, ilsvrc_files, writer
from files import progress
from files.downloads import Resource
from files.locks import locked
from files.reasons import listed, short_reason
from files.replacing import replacing

RESOURCES: tuple[Resource, ...] = ()
ADVICE = ('Get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz '
          "from https://image-net.org after you accept its terms, or Kaggle's "
          'imagenet-object-localization-challenge, and set --source to the folder.')
COUNTS = {'train': 1_281_167, 'validation': 50_000}
SHARDS = {'train': 1024, 'validation': 128}
_SEED = 12345
_PLAN = 'conversion.json'
_JPEG = b'\xff\xd8\xff'
_JPEG_QUALITY = 100  # That of TF-Slim, for images of another format.


def filenames() -> list[str]:
  """The record files that `convert` writes."""
  return [_filename(split, shard, count) for split, count in SHARDS.items()
          for shard in range(count)]


def convert(source: Path, dataset_dir, *, counts: Mapping[str, int] = COUNTS,
            shards: Mapping[str, int] = SHARDS, workers: int | None = None) -> None:
  """Converts the images; a conversion that was interrupted goes on where it stopped.

  Each file is complete, with every record read back, before it gets its name. The order of the
  images, shuffled, is always the same. Records have the keys of TF-Slim's
  `build_imagenet_data.py`; labels are 1 to 1,000. Images that are not RGB or grayscale JPEGs (one
  PNG, 22 in CMYK) are encoded again, with quality 100.

  Args:
    source: see `ilsvrc_files.find`; bounding boxes are taken if they are there, see
      `bounding_boxes.read`.
    dataset_dir: folder to write the records, and `labels.txt`, to.
    counts, shards: the number of images that each split must have, and of files to write.
    workers: number of files to write at a time; None for one per core.

  Raises:
    ValueError, OSError: if data are missing or damaged, or were changed since the conversion began.
  """
  folder = Path(dataset_dir)
  images = ilsvrc_files.find(source, counts)
  boxes = bounding_boxes.read(source)
  print(f'Bounding boxes: of {len(boxes):,} images.')
  folder.mkdir(parents=True, exist_ok=True)
  files = {name: part for split, found in images.items()
           for name, part in _distributed(split, found, shards[split]).items()}
  with locked(folder / 'conversion'):
    _check_plan(folder, source, files=files, boxes=boxes)
    _write(folder, files, boxes, workers=workers or os.cpu_count() or 1)


def _write(folder: Path, files: Mapping[str, Sequence[ilsvrc_files.Image]],
           boxes: bounding_boxes.Boxes, *, workers: int) -> None:
  """Writes `labels.txt` and the record files that are not there."""
  labels_file.write(folder / labels_file.FILENAME, _names())
  left = {name: part for name, part in files.items() if not (folder / name).is_file()}
  total, todo = (sum(map(len, parts.values())) for parts in (files, left))
  stop = threading.Event()
  with (progress.counter(total, unit='image', initial=total - todo) as done,
        concurrent.futures.ThreadPoolExecutor(workers) as pool):
    lock = threading.Lock()

    def records(part: Sequence[ilsvrc_files.Image]) -> Iterator[bytes]:
      for image in part:
        if stop.is_set():
          raise InterruptedError
        yield _record(image, boxes)
        with lock:
          done.update(1)

    futures = [pool.submit(writer.write_file, folder / name, records(part))
               for name, part in left.items()]
    try:
      for future in concurrent.futures.as_completed(futures):
        future.result()
    except BaseException:
      stop.set()
      pool.shutdown(cancel_futures=True)
      raise


def _filename(split: str, shard: int, count: int) -> str:
  return f'{split}-{shard:05d}-of-{count:05d}'


def _distributed(split: str, images: Sequence[ilsvrc_files.Image], count: int
                 ) -> dict[str, list[ilsvrc_files.Image]]:
  """Shuffles images and distributes them evenly; returns the images of each file."""
  shuffled = list(images)
  random.Random(_SEED).shuffle(shuffled)
  bounds = np.linspace(0, len(shuffled), count + 1).astype(int).tolist()
  return {_filename(split, shard, count): shuffled[start:end]
          for shard, (start, end) in enumerate(itertools.pairwise(bounds))}


def _check_plan(folder: Path, source: Path, *, files: Mapping[str, Sequence[ilsvrc_files.Image]],
                boxes: bounding_boxes.Boxes) -> None:
  """Makes sure that files that exist were made from the same images."""
  digest = hashlib.blake2b(digest_size=16)
  for name, part in files.items():
    for image in part:
      digest.update(f'{name} {image.name} {image.number} {image.size}\n'.encode(
          errors='surrogateescape'))
  digest.update(repr(sorted(boxes.items())).encode(errors='surrogateescape'))
  plan = {'images': sum(map(len, files.values())), 'annotated': len(boxes),
          'digest': digest.hexdigest()}
  path = folder / _PLAN
  others = sorted(other.name for split in SHARDS for other in folder.glob(f'{split}-*')
                  if other.name not in files)
  if others:
    raise ValueError(f'Expected a folder without other records of ImageNet, which would be read as '
                     f'well. Received: {folder} with {listed(others)}. Choose another '
                     '--dataset_dir.')
  there = [name for name in files if (folder / name).is_file()]
  begun = _begun(path)
  if not there:
    with replacing(path) as aside:
      aside.write_text(json.dumps(plan) + '\n', encoding='utf-8')
  elif begun is None:
    raise ValueError(f'Expected a folder without records of ImageNet, or with an interrupted '
                     f'conversion. Received: {folder}, with {len(there)} of {len(files)} record '
                     'files and without a readable conversion.json. Choose another --dataset_dir.')
  elif begun != plan:
    raise ValueError(f'Expected the images with which the conversion to {folder} began: {begun}. '
                     f'Received in {source}: {plan}. Choose another --dataset_dir, or remove its '
                     'files to begin again.')


def _begun(path: Path) -> dict | None:
  """Reads the plan of an earlier conversion; None if there is none, or it is damaged."""
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except (FileNotFoundError, ValueError):
    return None


@functools.cache
def _names() -> list[str]:
  """The name of each label, in [0, 1000]."""
  return imagenet.output_names(imagenet.NUM_CLASSES + 1) or []


@functools.cache
def _ids() -> list[str]:
  return list(imagenet.numbers_of_ids())


def _record(image: ilsvrc_files.Image, boxes: bounding_boxes.Boxes) -> bytes:
  encoded, (height, width) = _as_jpeg(image)
  wnid, label = _ids()[image.number], image.number + 1
  own = bounding_boxes.of_image(boxes, Path(image.name).stem, wnid)
  return writer.example({
      'image/height': height, 'image/width': width, 'image/colorspace': b'RGB',
      'image/channels': 3, 'image/class/label': label, 'image/class/synset': wnid.encode(),
      'image/class/text': _names()[label].encode(),
      **{f'image/object/bbox/{side}': np.array([getattr(box, side) for box in own], np.float32)
         for side in bounding_boxes.Box._fields},
      'image/object/bbox/label': np.full(len(own), label, np.int64), 'image/format': b'JPEG',
      'image/filename': os.fsencode(image.name), 'image/encoded': encoded})


def _as_jpeg(image: ilsvrc_files.Image) -> tuple[bytes, tuple[int, int]]:
  """Reads and decodes an image; returns a JPEG and its height and width."""
  encoded = image.read()
  try:
    with PIL.Image.open(io.BytesIO(encoded)) as header:
      kind, mode = header.format, header.mode
    if encoded.startswith(_JPEG):
      kind = 'JPEG'  # Pillow has other names for JPEGs that contain several images.
    if kind == 'PNG':
      encoded = tf.io.encode_jpeg(tf.io.decode_png(encoded, channels=3), format='rgb',
                                  quality=_JPEG_QUALITY).numpy()
    elif mode == 'CMYK':
      encoded = tf.io.encode_jpeg(tf.io.decode_jpeg(encoded, channels=3), format='rgb',
                                  quality=_JPEG_QUALITY).numpy()
    elif kind != 'JPEG':
      raise ValueError(f'it is {kind}')
    height, width, _ = tf.io.decode_jpeg(encoded, channels=3).shape
  except (tf.errors.OpError, OSError, ValueError, SyntaxError,
          PIL.Image.DecompressionBombError) as error:
    raise ValueError(f'Expected a JPEG image. Received: {image.name} in {image.path}, which cannot '
                     f'be decoded ({short_reason(error)}). Copy it again.') from error
  return encoded, (height, width)
