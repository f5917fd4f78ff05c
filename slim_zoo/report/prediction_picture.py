"""A picture of predictions: images with their most likely classes, and where the network looks."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from files.replacing import replacing
from slim_zoo.evaluation.predictor import Prediction
from slim_zoo.report.texts import shortened

_COLUMNS, _HEIGHT, _DPI = 2, 1.7, 120  # Images side by side, inches of one, pixels per inch.
_TITLE, _LABEL = 44, 26  # Characters.
_STYLE: Any = {'font.size': 8, 'text.parse_math': False}


@dataclasses.dataclass(frozen=True)
class Shown:
  """An image of the picture.

  Attributes:
    prediction: its classes.
    pixels: what the network sees, uint8 [height, width, 1 or 3].
    heat: the evidence for the first class, float [height, width] in [0, 1]; None to leave it out.
  """
  prediction: Prediction
  pixels: np.ndarray
  heat: np.ndarray | None = None


def draw(path: str | os.PathLike, images: Sequence[Shown]) -> None:
  """Draws the images.

  Args:
    path: a .png file; its directory is made if need be.
    images: one or more.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  has_heat = any(image.heat is not None for image in images)
  parts = 3 if has_heat else 2
  columns = min(_COLUMNS, len(images))
  rows = -(-len(images) // columns)
  with mpl.rc_context(_STYLE), replacing(path) as aside:
    figure = Figure(figsize=(_HEIGHT * (parts + 0.6) * columns, _HEIGHT * rows * 1.15),
                    layout='constrained')
    axes = figure.subplots(rows, parts * columns, squeeze=False,
                           width_ratios=[*[1] * (parts - 1), 1.6] * columns)
    for one in axes.flat:
      one.set_axis_off()
    for number, image in enumerate(images):
      row, column = divmod(number, columns)
      own = axes[row, column * parts:(column + 1) * parts]
      own[0].imshow(_colours(image.pixels))
      own[0].set_title(shortened(os.path.basename(image.prediction.image), _TITLE), loc='left',
                       fontsize=8)
      if image.heat is not None:
        own[1].imshow(overlay(image.pixels, image.heat))
      _draw_bars(own[-1], image.prediction)
    figure.savefig(aside, format='png', dpi=_DPI)


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
  """Returns an image under its map: uint8 [height, width, 3].

  Args:
    pixels: uint8 [height, width, 1 or 3].
    heat: float [height, width] in [0, 1].
  """
  colours = mpl.colormaps['inferno'](heat)[..., :3] * 255
  return np.rint(0.4 * _colours(pixels) + 0.6 * colours).astype(np.uint8)


def _colours(pixels: np.ndarray) -> np.ndarray:
  return np.broadcast_to(pixels, [*pixels.shape[:2], 3])


def _draw_bars(axes, prediction: Prediction) -> None:
  """Draws the probabilities of the classes, the most likely at the top."""
  guesses = prediction.guesses
  places = np.arange(len(guesses))
  axes.barh(places, [guess.probability for guess in guesses], color='#9ec3e6', height=0.8)
  for place, guess in enumerate(guesses):
    label = shortened(guess.label, _LABEL)
    axes.text(0.02, place, f'{guess.probability:.3f}  {label}', va='center')
  axes.set(xlim=(0, 1), ylim=(max(len(guesses), 3) - 0.4, -0.6))
