"""The bounding boxes of ILSVRC 2012: XML files of PASCAL VOC's form, in folders or archives."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple
from xml.etree import ElementTree

from datasets import imagenet
from datasets.converters import tar_files
from files import progress
from files.reasons import short_reason

_ARCHIVES = ('*bbox*.tar.gz', '*bbox*.tgz', '*bbox*.tar')
_FOLDERS = ('*bbox*', 'bounding_boxes', 'Annotations', 'Annotation', 'ILSVRC/Annotations')
_DIGITS = 4
_GZIP = b'\x1f\x8b'


class Box(NamedTuple):
  """A box, in [0, 1], relative to the image's width and height."""
  xmin: float
  ymin: float
  xmax: float
  ymax: float


# For each image, by its name without suffix: what is in a box, and the box.
Boxes = dict[str, tuple[tuple[str, Box], ...]]


def read(source: Path) -> Boxes:
  """Reads all annotations of a folder.

  Args:
    source: the folder with `ILSVRC2012_bbox_train_v2.tar.gz` and `ILSVRC2012_bbox_val_v3.tgz`, or
      with their content; or Kaggle's folder.

  Returns:
    The boxes as TF-Slim's `process_bounding_boxes.py` makes them: corners in order, clipped to the
    image, rounded to four digits. Boxes without an area are left out.

  Raises:
    ValueError: if an annotation or an archive is damaged.
  """
  boxes: Boxes = {}
  for place, stem, text in progress.show(_annotations(source), None, unit='file',
                                         description='reading bounding boxes'):
    found = tuple(_boxes(place, text))
    if found:  # The name in the XML is wrong at times, as TF-Slim's authors noticed.
      boxes[stem] = found
  return boxes


def of_image(boxes: Boxes, stem: str, wnid: str) -> list[Box]:
  """The boxes of an image that show its class.

  A name that is not a WordNet id of the challenge counts as the image's class, because many dogs
  are annotated as 'Scottish_deerhound'.

  Args:
    boxes: those of `read`.
    stem: name of the image without suffix.
    wnid: its class.
  """
  classes = imagenet.numbers_of_ids()
  return [box for label, box in boxes.get(stem, ()) if label == wnid or label not in classes]


def _annotations(source: Path) -> Iterator[tuple[str, str, bytes]]:
  """Yields each XML file's place for messages, its name without suffix, and its content."""
  for archive in sorted(path for pattern in _ARCHIVES for path in source.glob(pattern)):
    with tar_files.reading(str(archive)), _opened(archive) as stream:
      for name, offset, size in tar_files.members(stream, str(archive)):
        if name.endswith('.xml'):
          stream.seek(offset)
          text = stream.read(size)
          if len(text) < size:
            raise EOFError
          yield f'{archive}: {name}', Path(name).stem, text
  for folder in sorted(path for pattern in _FOLDERS for path in source.glob(pattern)
                       if path.is_dir()):
    for parent, _, names in os.walk(folder):
      for name in names:
        if name.endswith('.xml'):
          path = Path(parent, name)
          yield str(path), path.stem, path.read_bytes()


def _opened(archive: Path) -> gzip.GzipFile | IO[bytes]:
  with open(archive, 'rb') as file:
    is_compressed = file.read(2) == _GZIP
  return gzip.open(archive) if is_compressed else open(archive, 'rb')


def _boxes(place: str, text: bytes) -> Iterator[tuple[str, Box]]:
  try:
    root = ElementTree.fromstring(text)
    width, height = _number(root, 'size/width'), _number(root, 'size/height')
    for part in root.iter('object'):
      x = [_number(part, f'bndbox/{corner}') / width for corner in ('xmin', 'xmax')]
      y = [_number(part, f'bndbox/{corner}') / height for corner in ('ymin', 'ymax')]
      box = Box(*(round(min(max(value, 0.0), 1.0), _DIGITS)
                  for value in (min(x), min(y), max(x), max(y))))
      if box.xmin < box.xmax and box.ymin < box.ymax:
        yield part.findtext('name', ''), box
  except (ElementTree.ParseError, ValueError, ZeroDivisionError) as error:
    raise ValueError(f"Expected PASCAL VOC's XML with sizes and boxes. Received: {place} "
                     f'({short_reason(error)}). Copy or extract it again.') from error


def _number(element: ElementTree.Element, path: str) -> float:
  text = element.findtext(path)
  if text is None:
    raise ValueError(f'it has no {path}')
  return float(text)
