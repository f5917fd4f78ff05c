"""The pictures of a report: thumbnails and plots, as text to put into a page."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import matplotlib as mpl
import numpy as np
import PIL.Image
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from slim_zoo.report import images
from slim_zoo.report.statistics import Calibration

_SIDE = 160  # Pixels.
_QUALITY = 80
# Replaced by the colour of the page's text, which differs between light and dark.
_TEXT, _BAR = '#123456', '#4477aa'
_STYLE: Any = {'svg.fonttype': 'none', 'font.family': 'sans-serif', 'font.size': 9,
          'text.color': _TEXT, 'axes.edgecolor': _TEXT, 'axes.labelcolor': _TEXT,
          'xtick.color': _TEXT, 'ytick.color': _TEXT, 'svg.hashsalt': 'report'}


def thumbnail(image: bytes) -> str | None:
  """Returns an image file as a small JPEG in a data URI; None if Pillow cannot decode it."""
  small = images.open_small(image, _SIDE)
  if small is None:
    return None
  small.thumbnail((_SIDE, _SIDE))
  return _uri(small)


def small_picture(pixels: np.ndarray) -> str:
  """Returns uint8 [height, width, 3] as a small JPEG in a data URI."""
  image = PIL.Image.fromarray(pixels)
  image.thumbnail((_SIDE, _SIDE))
  return _uri(image)


def _uri(image: PIL.Image.Image) -> str:
  buffer = io.BytesIO()
  image.save(buffer, 'JPEG', quality=_QUALITY)
  return f'data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}'


def draw_calibration(found: Calibration, axis: str) -> str:
  """Draws how often predictions are right, and how many there are, over probabilities, as SVG."""
  with mpl.rc_context(_STYLE):
    figure = Figure(figsize=(4.2, 4.2), layout='constrained')
    curve, counts = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    filled = [one for one in found.bins if one.num_examples]
    curve.plot([0, 1], [0, 1], color=_TEXT, linestyle=':', linewidth=1)
    curve.plot([one.confidence for one in filled], [one.accuracy for one in filled],
               color=_BAR, marker='o', markersize=4)
    curve.set(ylabel='right', xlim=(0, 1), ylim=(0, 1.02))
    counts.bar([one.low for one in found.bins], [one.num_examples for one in found.bins],
               width=found.bins[0].high - found.bins[0].low, align='edge', color=_BAR)
    counts.set(xlabel=axis, ylabel='predictions')
    for axes in (curve, counts):
      axes.xaxis.set_major_formatter(PercentFormatter(1))
      axes.spines[['top', 'right']].set_visible(False)
    curve.yaxis.set_major_formatter(PercentFormatter(1))
    return _svg(figure, 'How often predictions are right, over their probability')


def _svg(figure: Figure, title: str) -> str:
  """Returns a figure as an SVG element with a title."""
  text = io.StringIO()
  figure.savefig(text, format='svg', transparent=True, metadata={'Date': None, 'Title': title})
  found = text.getvalue()
  found = found[found.index('<svg'):].replace(_TEXT, 'currentColor')
  return re.sub(r'<svg ', f'<svg role="img" aria-label="{title}" ', found, count=1)
