"""The page of a report: one HTML file that needs nothing else."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import jinja2

from slim_zoo.report import statistics

_TEMPLATE = 'page.html.jinja'


@dataclasses.dataclass(frozen=True)
class Tile:
  """An image of a gallery.

  Attributes:
    pictures: data URIs: the image, unless it cannot be shown, and perhaps what the network looks
      at.
    name: the example's name.
    lines: what is said below it.
  """
  pictures: Sequence[str]
  name: str
  lines: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Gallery:
  """Images under a heading.

  Attributes:
    title: the heading.
    note: what they are.
    tiles: the images.
    total: number of examples of this kind, of which these are the first.
  """
  title: str
  note: str
  tiles: Sequence[Tile]
  total: int


@dataclasses.dataclass(frozen=True)
class Fact:
  """A number at the top of the page.

  Attributes:
    name: what it is.
    value: the number, formatted.
    more: for example its confidence interval.
  """
  name: str
  value: str
  more: str = ''


@dataclasses.dataclass(frozen=True)
class Page:
  """What a page shows.

  Attributes:
    title: the heading.
    subtitle: one line below it.
    facts: the numbers at the top.
    comparison: the sentences of a comparison; () for none.
    calibration: an SVG.
    classes: the classes that have examples or were predicted.
    class_names: one name per output.
    matrix: the confusion matrix, or the part of the most confused classes.
    pairs: (right class, predicted class, number of examples).
    galleries: the images.
    details: what was evaluated, and how.
    notes: what could not be done.
  """
  title: str
  subtitle: str
  facts: Sequence[Fact]
  comparison: Sequence[str]
  calibration: str
  classes: Sequence[statistics.OfClass]
  class_names: Sequence[str]
  matrix: statistics.Confusion
  pairs: Sequence[tuple[int, int, int]]
  galleries: Sequence[Gallery]
  details: Mapping[str, str]
  notes: Sequence[str]


def render(page: Page) -> str:
  """Returns the page as HTML."""
  environment = jinja2.Environment(
      loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent), autoescape=True,
      undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
  environment.filters['printable'] = lambda text: os.fsencode(text).decode('utf-8', 'replace')
  return environment.get_template(_TEMPLATE).render(page=page)
