"""Matching a checkpoint with a network: each variable is restored, excluded, or an error."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from nets import scopes
from slim_zoo.weights import dense_heads
from slim_zoo.weights.layouts import CHANGE_CHANNELS, Take
from slim_zoo.weights.reader import AVERAGE_SUFFIX

RESTORED, EXCLUDED, MISMATCHED, MISSING = 'restored', 'excluded', 'mismatched', 'missing'
_NOWHERE = Take('')


class Source(Protocol):
  """A file of arrays that is open for reading.

  Attributes:
    path: its name in messages.
    shapes: `{name: shape}` of all its arrays.
  """
  path: str

  @property
  def shapes(self) -> Mapping[str, tuple[int, ...]]:
    """Shapes of the arrays by name."""

  def read(self, name: str) -> np.ndarray:
    """Reads one array; raises ValueError if the file is damaged."""


@dataclasses.dataclass(frozen=True)
class Row:
  """The result for one variable of the network.

  Attributes:
    name, shape: name and shape of the variable.
    status: `RESTORED`, `EXCLUDED`, `MISMATCHED` or `MISSING`.
    take: where its value comes from, and how it is converted.
    source_shape: shape of the array in the file.
    fitted_shape: shape of the array after conversion; the variable's own if it is restored.
  """
  name: str
  shape: tuple[int, ...]
  status: str
  take: Take = _NOWHERE
  source_shape: tuple[int, ...] | None = None
  fitted_shape: tuple[int, ...] | None = None

  @property
  def source(self) -> str:
    """The array's name in the file."""
    return self.take.key

  def origin(self) -> str:
    """Describes where the value comes from, unless it is simply the array of the same name."""
    name = self.source if self.source != self.name else ''
    shape = '' if self.source_shape in (None, self.shape) else _shape(self.source_shape or ())
    return ', '.join(filter(None, [f'{name} {shape}'.strip(), self.take.text()]))


@dataclasses.dataclass(frozen=True)
class Report:
  """The results for all variables of a network.

  Attributes:
    checkpoint: the path of the file.
    rows: one for each variable of the network, in its order.
    unused: names in the checkpoint that nothing was restored from.
    head_advice: what to do about dense layers among these; '' if there are none.
  """
  checkpoint: str
  rows: tuple[Row, ...]
  unused: tuple[str, ...]
  head_advice: str = ''

  def names(self, status: str) -> list[str]:
    """Returns the variables with this status."""
    return [row.name for row in self.rows if row.status == status]

  @property
  def num_averages(self) -> int:
    """Number of variables restored from their moving averages."""
    return sum(row.source.endswith(AVERAGE_SUFFIX) for row in self.rows)

  def summary(self) -> str:
    """Counts the variables by status, and the moving averages, in one line."""
    counts = collections.Counter(row.status for row in self.rows)
    text = ', '.join(f'{counts[s]} {s}' for s in (RESTORED, EXCLUDED, MISMATCHED, MISSING)
                     if counts[s])
    averages = self.num_averages
    text += f', {len(self.unused)} in the checkpoint unused'
    return text + (f'; {averages} from their moving averages' if averages else '')

  def table(self, *, restored: bool = True) -> str:
    """Lists every variable, one per line, and what is unused, with counts at the end.

    Args:
      restored: whether to list the variables that are restored as well.
    """
    rows = [row for row in self.rows if restored or row.status != RESTORED]
    width = max((len(row.name) for row in rows), default=0)
    lines = [f'# {self.checkpoint}']
    for row in rows:
      origin = row.origin()
      lines.append(f'{row.status:10} {row.name:{width}} {_shape(row.shape)}'
                   + (f' <- {origin}' if origin else ''))
    lines += [f'{"unused":10} {name}' for name in self.unused]
    return '\n'.join([*lines, f'# {self.summary()}']) + '\n'


def _shape(shape: Sequence[int]) -> str:
  return '×'.join(map(str, shape)) or 'scalar'


def same_names(source: Source, wanted: Mapping[str, Sequence[int]], *,
               use_averages: bool | None = None) -> dict[str, Take]:
  """Takes every variable from the array of its own name, or from its moving average.

  Args:
    source: a checkpoint with our names.
    wanted: `{name: shape}` of the network's variables.
    use_averages: whether to use moving averages instead; None uses them if there are any.

  Raises:
    ValueError: if averages are requested and there are none.
  """
  averages = {name for name in wanted if name + AVERAGE_SUFFIX in source.shapes}
  if use_averages and not averages:
    raise ValueError(f'--use_moving_averages: expected moving averages (…{AVERAGE_SUFFIX}) in '
                     f'{source.path}. Received: none. Remove this flag and --moving_average_decay.')
  if use_averages is False:
    averages = set()
  return {name: Take(name + AVERAGE_SUFFIX if name in averages else name) for name in wanted}


def plan(source: Source, wanted: Mapping[str, Sequence[int]],
         takes: Mapping[str, Take] | None = None, *, exclude: Sequence[str] = (),
         change_channels: bool = False) -> Report:
  """Decides where each variable of a network comes from; reads no values.

  Args:
    source: the file.
    wanted: `{name: shape}` of the network's variables, in the order of its layers.
    takes: `{name: take}` for the file; by default `same_names`.
    exclude: scopes that are not restored.
    change_channels: whether to fit the first layer to images with a different number of channels.

  Returns:
    The report, whose rows may include mismatched and missing variables (see `check`).

  Raises:
    ValueError: if a scope of `exclude` matches nothing.
  """
  takes = same_names(source, wanted) if takes is None else takes
  excluded = set(scopes.select(wanted, exclude, 'checkpoint_exclude_scopes')) if exclude else set()
  first = next((name for name, shape in wanted.items() if len(shape) == 4), None)
  rows = []
  for name, shape in wanted.items():
    shape = tuple(shape)
    take = takes.get(name)
    if name in excluded:
      rows.append(Row(name, shape, EXCLUDED))
      continue
    found = source.shapes.get(take.key, None if take.key else ()) if take else None
    if take is None or found is None or (take.factor and take.factor not in source.shapes):
      rows.append(Row(name, shape, MISSING, take or _NOWHERE))
      continue
    fitted = _fitted_shape(take, found, shape)
    if change_channels and name == first and len(fitted) == 4 and fitted[2] != shape[2]:
      take = dataclasses.replace(take, steps=(*take.steps, CHANGE_CHANNELS))
      fitted = _fitted_shape(take, found, shape)
    fits = fitted == shape and (
      not take.factor or source.shapes[take.factor] == shape[-1:])
    rows.append(Row(name, shape, RESTORED if fits else MISMATCHED, take,
                    found if take.key else None, fitted))
  used = {key for row in rows if row.status == RESTORED for key in (row.source, row.take.factor)}
  unused = {name: shape for name, shape in source.shapes.items() if name not in used}
  return Report(source.path, tuple(rows), tuple(sorted(unused)), dense_heads.advice(unused))


def _fitted_shape(take: Take, found: Sequence[int], shape: tuple[int, ...]) -> tuple[int, ...]:
  """Returns the shape of a take's result; the array is a stand-in that takes no memory."""
  return take.apply(np.broadcast_to(np.float32(0), found), shape).shape


def check(report: Report, *, exclude: Sequence[str] = (), head: Sequence[str] = (),
          ignore_missing: bool = False, advice: str = '') -> None:
  """Checks that every variable is restored or excluded.

  Args:
    report: from `plan`.
    exclude: the excluded scopes, for the advice.
    head: the head scopes of the network, for the advice.
    ignore_missing: whether variables that the checkpoint lacks may keep their values.
    advice: replaces the advice on these flags where nothing may be excluded or ignored.

  Raises:
    ValueError: if not; the message lists both sides, and the flag that would help.
  """
  mismatched = report.names(MISMATCHED)
  missing = [] if ignore_missing else report.names(MISSING)
  if not report.names(RESTORED):  # Nothing matches: these are another network's weights.
    missing = report.names(MISSING)
  if not mismatched and not missing:
    return
  rows = {row.name: row for row in report.rows}
  lines = [f'The checkpoint {report.checkpoint} does not fit the network.']
  lines += _shortened([f'  {n}: the network has {_shape(rows[n].shape)}, the checkpoint '
                       f'{_shape(rows[n].fitted_shape or ())}' for n in mismatched])
  lines += _shortened([f'  {n}: not in the checkpoint' for n in missing])
  if not report.names(RESTORED):
    lines.append('Nothing in it fits: is it a checkpoint of another network? It has: '
                 + ', '.join(_tops(report.unused)))
    lines += [advice] if advice else []
  else:
    lines += [advice] if advice else _advice(report, mismatched, missing, exclude=exclude,
                                             head=head)
  if missing and report.unused:
    lines += ['Unused in the checkpoint:', *_shortened([f'  {n}' for n in report.unused])]
  raise ValueError('\n'.join(lines))


def _advice(report: Report, mismatched: list[str], missing: list[str], *,
            exclude: Sequence[str], head: Sequence[str]) -> list[str]:
  """Names the flags that would help with mismatched or missing variables."""
  first = next((row for row in report.rows if len(row.shape) == 4), None)
  fitted = first.fitted_shape if first else None
  if not missing and first and fitted and mismatched == [first.name] and (
      _without_channels(first.shape) == _without_channels(fitted)):
    return [f'The images have {first.shape[2]} channel(s), the checkpoint expects {fitted[2]}. To '
            'convert its first layer: --convert_input_channels; to convert colour images to grey: '
            '--use_grayscale']
  needed = dict.fromkeys([*exclude, *_scopes_for([*mismatched, *missing], head)])
  lines = [f'To train them from scratch: --checkpoint_exclude_scopes={",".join(needed)}']
  if report.head_advice:
    lines.append(report.head_advice)
  rows = [row for row in report.rows if row.status == MISMATCHED]
  differences = {row.shape[-1] - row.fitted_shape[-1] for row in rows
                 if row.shape and row.fitted_shape}
  if rows and differences in ({1}, {-1}):
    lines.append('Or, if only one of data and checkpoint has a background class at 0 and the other '
                 f'classes are the same: --labels_offset={differences.pop()}')
  if missing and not mismatched:
    lines.append('Or, to keep the initial values of what is missing: --ignore_missing_vars')
  return lines


def _without_channels(shape: Sequence[int]) -> tuple[int, ...]:
  return (*shape[:2], *shape[3:])


def _shortened(lines: list[str], most: int = 12) -> list[str]:
  return lines if len(lines) <= most else [*lines[:most], f'  … and {len(lines) - most} more']


def _tops(names: Sequence[str]) -> list[str]:
  return sorted({name.split('/')[0] for name in names})[:8]


def _scopes_for(names: Sequence[str], head: Sequence[str]) -> list[str]:
  """Finds short scopes that cover names: the head's if possible, else each layer's."""
  covering = [scope for scope in head if any(scopes.matches(name, scope) for name in names)]
  rest = [name for name in names if not scopes.matches_any(name, covering)]
  return list(dict.fromkeys([*covering, *(name.rpartition('/')[0] or name for name in rest)]))


def apply(report: Report, source: Source, variables: Mapping[str, tf.Variable]) -> None:
  """Assigns the restored values; all are read first, so that a damaged file changes nothing."""
  values = {row.name: value(row, source) for row in report.rows if row.status == RESTORED}
  for name, array in values.items():
    variables[name].assign(tf.cast(array, variables[name].dtype))


def value(row: Row, source: Source) -> np.ndarray:
  """Reads the value of a variable, in its own shape.

  Raises:
    ValueError: if the file is damaged, or has anything except finite floating-point numbers, such
      as quantized weights.
  """
  array = _read(source, row.source) if row.source else np.zeros((), np.float32)
  array = row.take.apply(array, row.shape)
  return array * _read(source, row.take.factor) if row.take.factor else array


def _read(source: Source, name: str) -> np.ndarray:
  array = source.read(name)
  # NumPy has no kind for TensorFlow's bfloat16.
  if array.dtype.kind not in 'f' and array.dtype.name != 'bfloat16':
    if not (array.ndim == 0 and array.dtype.kind in 'iu'):  # Such as the global step.
      raise ValueError(f'Expected floating-point numbers for {name} in {source.path}. Received: '
                       f'{array.dtype.name}. Quantized weights are not supported: use the file '
                       'they were made from.')
    return array
  if not np.isfinite(array.astype(np.float32)).all():
    raise ValueError(f'Expected finite numbers for {name} in {source.path}. Received: infinity '
                     'or NaN. The file was saved by a run that had diverged, or is damaged: use '
                     'another one.')
  return array


def describe_unused(report: Report) -> str:
  """Warns of unused arrays in a foreign file that may affect the outputs of its network.

  Args:
    report: from `plan`.

  Returns:
    A warning, or ''.
  """
  if any(row.status != RESTORED for row in report.rows):
    return ''  # Something was excluded on purpose.
  names = [name for name in report.unused
           if not re.search(r'num_batches_tracked$|aux|global_step|save_counter|^optimizer|'
                            r'loss_scale|CHECKPOINTABLE', name, re.IGNORECASE)]
  if not names:
    return ''
  shown = ', '.join(names[:4]) + (', …' if len(names) > 4 else '')
  return (f'Warning: {len(names)} arrays of {report.checkpoint} are not used by the network: '
          f'{shown}. If they affect its outputs, it is another network.')
