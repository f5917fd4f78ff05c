"""Matching a checkpoint with a network: a variable is restored, excluded by name, or an error."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from nets import scopes
from weights.reader import AVERAGE_SUFFIX, Checkpoint

RESTORED, EXCLUDED, MISMATCHED, MISSING = 'restored', 'excluded', 'mismatched', 'missing'


@dataclasses.dataclass(frozen=True)
class Row:
  """What became of one variable of the network."""
  name: str
  shape: tuple[int, ...]
  status: str
  source: str = ''
  source_shape: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Report:
  """What became of all of them.

  Attributes:
    checkpoint: the checkpoint's prefix.
    rows: one for each variable of the network, in its order.
    unused: names in the checkpoint that nothing was restored from.
  """
  checkpoint: str
  rows: tuple[Row, ...]
  unused: tuple[str, ...]

  def names(self, status: str) -> list[str]:
    """Returns the variables with this status."""
    return [row.name for row in self.rows if row.status == status]

  @property
  def num_averages(self) -> int:
    """How many variables come from their moving averages."""
    return sum(row.source.endswith(AVERAGE_SUFFIX) for row in self.rows)

  def summary(self) -> str:
    """Counts the variables by status, in one line, with the averages that were taken."""
    counts = collections.Counter(row.status for row in self.rows)
    text = ', '.join(f'{counts[s]} {s}' for s in (RESTORED, EXCLUDED, MISMATCHED, MISSING)
                     if counts[s])
    averages = self.num_averages
    text += f', {len(self.unused)} of the checkpoint unused'
    return text + (f'; {averages} from their moving averages' if averages else '')

  def table(self, *, unused: bool = True) -> str:
    """Lists every variable, one a line, with counts at the end.

    Args:
      unused: whether to list what the checkpoint has beyond the network.
    """
    width = max((len(row.name) for row in self.rows), default=0)
    lines = [f'# {self.checkpoint}']
    for row in self.rows:
      line = f'{row.status:10} {row.name:{width}} {_shape(row.shape)}'
      if row.source_shape is not None and row.source_shape != row.shape:
        line += f' (checkpoint: {_shape(row.source_shape)})'
      elif row.source and row.source != row.name:
        line += f' <- {row.source}'
      lines.append(line.rstrip())
    if unused:
      lines += [f'{"unused":10} {name}' for name in self.unused]
    return '\n'.join([*lines, f'# {self.summary()}']) + '\n'


def _shape(shape: Sequence[int]) -> str:
  return '×'.join(map(str, shape)) or 'scalar'


def plan(checkpoint: Checkpoint, wanted: Mapping[str, Sequence[int]], *,
         exclude: Sequence[str] = (), use_averages: bool = True) -> Report:
  """Decides where each variable of a network comes from; reads no values.

  Args:
    checkpoint: the source.
    wanted: `{name: shape}` of the network's variables.
    exclude: scopes that are not restored.
    use_averages: whether moving averages replace the variables that they are of.

  Returns:
    The report; its rows may hold mismatched and missing variables (see `check`).

  Raises:
    ValueError: if a scope of `exclude` matches nothing.
  """
  excluded = set(scopes.select(wanted, exclude, 'checkpoint_exclude_scopes')) if exclude else set()
  rows = []
  for name, shape in wanted.items():
    shape, average = tuple(shape), name + AVERAGE_SUFFIX
    source = average if use_averages and average in checkpoint.shapes else name
    found = checkpoint.shapes.get(source)
    if name in excluded:
      rows.append(Row(name, shape, EXCLUDED))
    elif found is None:
      rows.append(Row(name, shape, MISSING))
    else:
      rows.append(Row(name, shape, RESTORED if found == shape else MISMATCHED, source, found))
  used = {row.source for row in rows if row.status == RESTORED}
  return Report(checkpoint.prefix, tuple(rows),
                tuple(sorted(name for name in checkpoint.shapes if name not in used)))


def check(report: Report, *, exclude: Sequence[str] = (), head: Sequence[str] = (),
          ignore_missing: bool = False, advice: str = '') -> None:
  """Stops unless every variable is restored or excluded.

  Args:
    report: from `plan`.
    exclude: the scopes that were excluded, for the advice.
    head: the head scopes of the network, for the advice.
    ignore_missing: whether variables that the checkpoint lacks may stay as they are.
    advice: what to do where nothing may be excluded or ignored, in place of these flags.

  Raises:
    ValueError: with both sides and the flag that would settle it.
  """
  mismatched = report.names(MISMATCHED)
  missing = [] if ignore_missing else report.names(MISSING)
  if not mismatched and not missing:
    return
  rows = {row.name: row for row in report.rows}
  lines = [f'The checkpoint {report.checkpoint} does not fit the network.']
  lines += [f'  {n}: the network has {_shape(rows[n].shape)}, the checkpoint '
            f'{_shape(rows[n].source_shape)}' for n in mismatched]
  lines += _shortened([f'  {n}: not in the checkpoint' for n in missing])
  lines += [advice] if advice else _advice(report, mismatched, missing, exclude, head)
  if missing and report.unused:
    lines += ['Unused in the checkpoint:', *_shortened([f'  {n}' for n in report.unused])]
  raise ValueError('\n'.join(lines))


def _advice(report: Report, mismatched: list[str], missing: list[str], exclude: Sequence[str],
            head: Sequence[str]) -> list[str]:
  """Names the flags that would settle what does not fit."""
  if not report.names(RESTORED):
    return ['Nothing in it fits: is it a checkpoint of another network? It has: '
            + ', '.join(_tops(report.unused))]
  needed = dict.fromkeys([*exclude, *_scopes_for([*mismatched, *missing], head)])
  lines = [f'To train them anew: --checkpoint_exclude_scopes={",".join(needed)}']
  rows = [row for row in report.rows if row.status == MISMATCHED]
  differences = {row.shape[-1] - row.source_shape[-1] for row in rows
                 if row.shape and row.source_shape}
  if rows and differences in ({1}, {-1}):
    lines.append('Or, if the checkpoint has the same classes and only one of both has a background '
                 f'class at 0: --labels_offset={differences.pop()}')
  if missing and not mismatched:
    lines.append('Or, to leave what is missing as it is: --ignore_missing_vars')
  return lines


def _shortened(lines: list[str], most: int = 12) -> list[str]:
  return lines if len(lines) <= most else [*lines[:most], f'  … and {len(lines) - most} more']


def _tops(names: Sequence[str]) -> list[str]:
  return sorted({name.split('/')[0] for name in names})[:8]


def _scopes_for(names: Sequence[str], head: Sequence[str]) -> list[str]:
  """Finds short scopes that cover names: the head's where it covers, else each layer's."""
  covering = [scope for scope in head if any(scopes.matches(name, scope) for name in names)]
  rest = [name for name in names if not scopes.matches_any(name, covering)]
  return list(dict.fromkeys([*covering, *(name.rpartition('/')[0] or name for name in rest)]))


def apply(report: Report, checkpoint: Checkpoint, variables: Mapping[str, tf.Variable]) -> None:
  """Assigns the restored values, all read first: a damaged file changes nothing."""
  values = {row.name: checkpoint.read(row.source) for row in report.rows
            if row.status == RESTORED}
  for name, value in values.items():
    variables[name].assign(tf.cast(value, variables[name].dtype))
