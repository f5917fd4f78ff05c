"""Pictures of a run, for TensorBoard: images with captions, and a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from slim_zoo.report.confusions import Confusion
from slim_zoo.report.texts import shortened

_COLUMNS, _SIDE, _DPI = 4, 1.7, 100  # Images side by side, inches of one, pixels per inch.
_MOST = 24  # Characters on a line.
_RIGHT, _WRONG = '#1a7f37', '#b42318'
_STYLE: Any = {'font.size': 8, 'text.parse_math': False}


class Captioned(NamedTuple):
  """An image with a caption.

  Attributes:
    pixels: uint8 [height, width, 3].
    caption: one or more lines.
    is_right: whether a prediction is right, for the colour; None if there is none.
  """
  pixels: np.ndarray
  caption: str
  is_right: bool | None = None


def draw_images(images: Sequence[Captioned]) -> np.ndarray:
  """Draws images in rows.

  Args:
    images: one or more.

  Returns:
    uint8 [height, width, 3].
  """
  columns = min(_COLUMNS, len(images))
  rows = -(-len(images) // columns)
  with mpl.rc_context(_STYLE):
    figure = Figure(figsize=(_SIDE * columns, 1.25 * _SIDE * rows), dpi=_DPI, layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
      one.set_axis_off()
    for place, image in zip(axes.flat, images, strict=False):
      place.imshow(image.pixels)
      place.set_title('\n'.join(
          shortened(line, _MOST) for line in image.caption.splitlines()), fontsize=7,
                      color='black' if image.is_right is None else
                      _RIGHT if image.is_right else _WRONG)
    return _pixels(figure)


def draw_confusion(found: Confusion, names: Sequence[str], *, num_classes: int) -> np.ndarray:
  """Draws a confusion matrix.

  Args:
    found: of some classes.
    names: theirs.
    num_classes: number of all classes that occur.

  Returns:
    uint8 [height, width, 3].
  """
  count = len(names)
  with mpl.rc_context(_STYLE):
    figure = Figure(figsize=(2.5 + 0.3 * count,) * 2, dpi=_DPI, layout='constrained')
    axes = figure.subplots()
    axes.imshow(found.shares, cmap='Blues', vmin=0, vmax=1)
    labels = [shortened(name, _MOST) for name in names]
    axes.set_xticks(range(count), labels, rotation=90)
    axes.set_yticks(range(count), labels)
    axes.set(xlabel='predicted class', ylabel='right class')
    if count < num_classes:
      axes.set_title(f'the {count} classes that are confused most, of {num_classes}')
    for row, column in np.argwhere(found.counts).tolist():
      axes.text(column, row, str(found.counts[row, column]), ha='center', va='center',
                color='white' if found.shares[row, column] > 0.6 else 'black')
    return _pixels(figure)


def _pixels(figure: Figure) -> np.ndarray:
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3]
