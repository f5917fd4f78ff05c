"""The page of a report: one HTML file that needs nothing else."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jinja2

from slim_zoo.report.confusions import Confusion
from slim_zoo.report.texts import printable

_TEMPLATE = 'page.html.jinja'


class Cell(NamedTuple):
  """A cell of a table, with the number by which it is sorted if that is not its text."""
  text: str
  value: float | None = None


@dataclasses.dataclass(frozen=True)
class Table:
  """A table that can be sorted.

  Attributes:
    headings: of the columns.
    rows: the cells.
    num_names: number of columns with text, which are the first.
  """
  headings: Sequence[str]
  rows: Sequence[Sequence[Cell]]
  num_names: int = 1


@dataclasses.dataclass(frozen=True)
class Matrix:
  """A confusion matrix.

  Attributes:
    names: of its classes.
    found: the counts.
  """
  names: Sequence[str]
  found: Confusion


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
class Section:
  """A part of the page; it has one of the attributes below `note`.

  Attributes:
    title: the heading.
    note: what it shows.
    table: a table.
    matrix: a confusion matrix.
    plot: an SVG.
    tiles: a gallery.
  """
  title: str
  note: str
  _: dataclasses.KW_ONLY
  table: Table | None = None
  matrix: Matrix | None = None
  plot: str | None = None
  tiles: Sequence[Tile] | None = None


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
    sections: the parts.
    details: what was evaluated, and how.
    notes: what could not be done.
  """
  title: str
  subtitle: str
  facts: Sequence[Fact]
  comparison: Sequence[str]
  sections: Sequence[Section]
  details: Mapping[str, str]
  notes: Sequence[str]


def render(page: Page) -> str:
  """Returns the page as HTML."""
  environment = jinja2.Environment(
      loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent), autoescape=True,
      undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
  environment.filters['printable'] = printable
  return environment.get_template(_TEMPLATE).render(page=page)
