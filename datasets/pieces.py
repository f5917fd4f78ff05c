"""Parts of a split: what is found out about one is kept, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Examples that a piece has at least, on average, where there are several; and below twice as many.
LEAST = 4096


class Piece(NamedTuple):
  """A part of the examples of a split.

  Attributes:
    positions: int64, which ones, in ascending order.
    files: those that these examples lie in.
    order: makes the dataset of them in that order, as `dataset.Examples.order` does.
  """
  positions: np.ndarray
  files: Sequence[str]
  order: Callable[[], tf.data.Dataset]


def by_id(ids: np.ndarray) -> list[np.ndarray]:
  """Divides examples by their ids alone, so that an added one changes the piece that it falls into.

  The number of pieces follows from that of the examples. Only where they have become twice as many
  do all pieces change.

  Args:
    ids: int64 [num_examples], hashes of the examples' names.

  Returns:
    The positions of each piece, ascending; none is empty.
  """
  number = 1 << max(0, (len(ids) // LEAST).bit_length() - 1)
  chosen = ids % number
  order = np.argsort(chosen, kind='stable')
  ends = np.cumsum(np.bincount(chosen, minlength=number))
  return [positions for positions in np.split(order, ends[:-1]) if len(positions)]
