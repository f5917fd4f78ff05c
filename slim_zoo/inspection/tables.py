"""Tables of the arrays of a file: all of them, or summed up by scope."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence

import tabulate

from slim_zoo.inspection.arrays import VARIABLE, Array, Statistics

_MOST_ROWS = 30
_LEAST_WIDTH = 24  # Of names, however narrow the terminal is.
_GAP = 2
_NUMBERS = ('min', 'max', 'mean', 'std')


def by_scope(arrays: Sequence[Array], *, width: int) -> str:
  """Formats a table with one row per scope, of so many components that there are few rows.

  Args:
    arrays: the arrays; only the variables count.
    width: that of the terminal, in characters.
  """
  variables = [array for array in arrays if array.role == VARIABLE]
  paths = [re.split(r'/(?=.)', array.name) if '/' in array.name else array.name.split('.')
           for array in variables]
  common = _common([path[:-1] for path in paths])
  inner = [path[common:-1] for path in paths]
  depth = max([1, *(depth for depth in range(1, max(map(len, inner), default=1) + 1)
                    if len({tuple(path[:depth]) for path in inner}) <= _MOST_ROWS)])
  groups: dict[tuple[str, ...], list[Array]] = {}
  for path, array in zip(inner, variables, strict=True):
    groups.setdefault(tuple(path[:depth]), []).append(array)
  between = '/' if any('/' in array.name for array in variables) else '.'
  rows = [(between.join(scope) or '–', str(len(group)),
           f'{sum(array.count for array in group):,}', *_cells(joined(group)))
          for scope, group in [*groups.items()][:_MOST_ROWS]]
  outer = between.join(paths[0][:common]) if common else ''
  table = _table(rows, (f'{outer}{between}…' if outer else 'scope', 'arrays', 'parameters',
                        *_NUMBERS), width, num_texts=1)
  left = len(groups) - len(rows)
  return table + (f'\n… and {left} more. --all_variables lists every array.' if left else '')


def of_all(arrays: Sequence[Array]) -> str:
  """Formats a table with a row for each array, whose whole name it has."""
  has_roles = any(array.role != VARIABLE for array in arrays)
  rows = [(array.name, *([array.role] if has_roles else []), shape_text(array.shape), array.dtype,
           *_cells(array.statistics)) for array in arrays]
  return _table(rows, ('array', *(['role'] if has_roles else []), 'shape', 'type', *_NUMBERS),
                None, num_texts=3 + has_roles)


def shape_text(shape: Sequence[int]) -> str:
  """Formats a shape, such as 3×3×3×64."""
  return '×'.join(map(str, shape)) or 'scalar'


def joined(arrays: Iterable[Array]) -> Statistics:
  """Computes the statistics of several arrays together."""
  found = [(array.count - array.statistics.num_nan - array.statistics.num_infinite,
            array.statistics) for array in arrays]
  num_nan, num_infinite = (sum(getattr(one, name) for _, one in found)
                           for name in ('num_nan', 'num_infinite'))
  known = [(count, one.minimum, one.maximum, one.mean, one.std) for count, one in found
           if one.minimum is not None and one.maximum is not None and one.mean is not None
           and one.std is not None]
  total = sum(count for count, *_ in known)
  if not total:
    return Statistics(num_nan=num_nan, num_infinite=num_infinite)
  mean = sum(count * own for count, _, _, own, _ in known) / total
  variance = sum(count * (std ** 2 + (own - mean) ** 2) for count, _, _, own, std in known) / total
  return Statistics(min(low for _, low, *_ in known), max(high for _, _, high, *_ in known), mean,
                    math.sqrt(variance), num_nan, num_infinite)


def _cells(statistics: Statistics) -> list[str]:
  """Formats statistics; numbers that are not finite are marked."""
  values = (statistics.minimum, statistics.maximum, statistics.mean, statistics.std)
  cells = ['–' if value is None else f'{value:.3g}' for value in values]
  if not statistics.is_finite:
    marks: Mapping[str, int] = {'NaN': statistics.num_nan, 'inf': statistics.num_infinite}
    cells[0] = ' '.join(f'{count:,} {mark}' for mark, count in marks.items() if count)
  return cells


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str], width: int | None, *,
           num_texts: int) -> str:
  """Formats a table whose first column is shortened to fit into a width, unless it is None."""
  others = sum(max(map(len, column)) + _GAP for column in zip(headers[1:], *(
    row[1:] for row in rows), strict=True))
  room = max(width - others, _LEAST_WIDTH) if width else sys.maxsize
  cells = [(_shortened(row[0], room), *row[1:]) for row in rows]
  alignment = ['left'] * num_texts + ['right'] * (len(headers) - num_texts)
  return tabulate.tabulate(cells, (_shortened(headers[0], room), *headers[1:]), 'simple',
                           disable_numparse=True, colalign=alignment if rows else None)


def _shortened(text: str, most: int) -> str:
  """Replaces the middle of a long text by an ellipsis."""
  if len(text) <= most:
    return text
  end = (most - 1) * 2 // 3
  return f'{text[:most - 1 - end]}…{text[len(text) - end:]}'


def _common(paths: Sequence[Sequence[str]]) -> int:
  """Returns how many components all paths have in common."""
  if not paths:
    return 0
  low, high = min(map(tuple, paths)), max(map(tuple, paths))
  return next((place for place, (one, other) in enumerate(zip(low, high, strict=False))
               if one != other), min(len(low), len(high)))
