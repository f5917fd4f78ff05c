"""Features in Parquet files, for data frames: the columns name, label, class and features.

`features` is a list of the same length in every row; its shape, the class names and the facts are
in the metadata of the schema, as a JSON text called `about`. A text column is binary if some of its
values are not UTF-8.
"""

from __future__ import annotations

import os
import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from files.unpickling import reading
from slim_zoo.features.features import ADVICE, Features, collect, file_name
from slim_zoo.features.header import Header, header_of, header_text

_EXPECTED = 'a .parquet file of features that extract_features.py wrote'
_ABOUT = b'about'


def write(path: str | os.PathLike[str], features: Features) -> None:
  """Writes a file row group by row group; the features may be larger than memory.

  Raises:
    ValueError: if pyarrow is not installed.
    OSError: if there is no space or it cannot be written.
  """
  arrow, parquet = import_packages()
  width = features.header.width
  name_type, class_type = _text_type(features.names), _text_type(features.class_names)
  schema = arrow.schema([('name', name_type), ('label', arrow.int64()), ('class', class_type),
                         ('features', arrow.list_(arrow.float32(), width))],
                        metadata={_ABOUT: header_text(features.header)})
  with open(path, 'wb') as file, \
      parquet.ParquetWriter(file, schema, use_dictionary=['class'],
                            write_page_checksum=True) as writer:
    for rows in features.chunks():
      labels = features.labels[rows]
      values = arrow.array(features.values[rows].reshape(-1), arrow.float32())
      writer.write_table(arrow.table([
          arrow.array([file_name(name) for name in features.names[rows]], name_type),
          arrow.array(labels, arrow.int64()),
          arrow.array([file_name(features.class_name(label)) for label in labels], class_type),
          arrow.FixedSizeListArray.from_arrays(values, width)], schema=schema))


def read(path: str | os.PathLike[str]) -> Features:
  """Reads a file into memory.

  Raises:
    ValueError: if it is damaged or has other content, or pyarrow is not installed.
    OSError: if it does not exist or cannot be read.
  """
  _, parquet = import_packages()
  header = read_header(path)
  with reading(path, _EXPECTED, ADVICE) as (file, _):
    found = parquet.ParquetFile(file, page_checksum_verification=True)
    return collect(header, (_rows(batch, header.width) for batch in found.iter_batches(
        columns=['name', 'label', 'features'])))


def read_header(path: str | os.PathLike[str]) -> Header:
  """Reads the header of a file, without features.

  Raises:
    ValueError: if it is damaged or has other content, or pyarrow is not installed.
    OSError: if it does not exist or cannot be read.
  """
  _, parquet = import_packages()
  with reading(path, _EXPECTED, ADVICE) as (file, _):
    found = parquet.ParquetFile(file)
    header = header_of((found.schema_arrow.metadata or {}).get(_ABOUT, b''))
    if found.metadata.num_rows != header.num_examples:
      raise ValueError(f'{found.metadata.num_rows} of {header.num_examples} examples')
    return header


def _rows(batch: Any, width: int) -> tuple[list[bytes], np.ndarray, np.ndarray]:
  names = [name if isinstance(name, bytes) else name.encode()
           for name in batch.column('name').to_pylist()]
  values = batch.column('features').flatten().to_numpy().reshape(-1, width)
  return names, batch.column('label').to_numpy(), values


def import_packages() -> tuple[types.ModuleType, types.ModuleType]:
  """Imports pyarrow, which is needed only here, and pyarrow.parquet.

  Raises:
    ValueError: if it is not installed.
  """
  try:
    import pyarrow
    import pyarrow.parquet
  except ImportError as error:
    raise ValueError('Expected the package pyarrow for Parquet files, in the version given in '
                     'requirements.lock. Received: none. Install it, or use .npz or '
                     '.tfrecord.') from error
  return pyarrow, pyarrow.parquet


def _text_type(texts: Sequence[str]) -> Any:
  arrow, _ = import_packages()
  return arrow.string() if all(text.isascii() or _is_utf8(text) for text in texts) \
      else arrow.binary()


def _is_utf8(text: str) -> bool:
  return text.encode('utf-8', 'ignore') == file_name(text)
