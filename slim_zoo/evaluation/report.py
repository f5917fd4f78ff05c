"""The results of an evaluation: printed lines, `eval.json`, and an event file for TensorBoard."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Sequence

import tabulate
import tensorflow as tf

from files.replacing import replacing
from slim_zoo.evaluation.evaluator import AnyMeasurement, Measurement

# Up to how many classes a table shows all of them, and how many of the worst it shows otherwise.
_MOST_CLASSES, _WORST_CLASSES = 20, 10
_FEW = 20  # Too few examples to say anything about accuracy.


def write(folder: str | os.PathLike, found: AnyMeasurement, *, step: int, facts: dict,
          class_names: Sequence[str] = ()) -> pathlib.Path:
  """Writes `eval.json` and TensorBoard scalars.

  Args:
    folder: the directory to write to; created if necessary.
    found: the measurement.
    step: the checkpoint's step, for TensorBoard.
    facts: what was measured: checkpoint, dataset, split and so on; for the JSON.
    class_names: one distinct name per output of the network, for the recall of each class in the
      JSON.

  Returns:
    The path of `eval.json`.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  events = tf.summary.create_file_writer(os.fsencode(folder))
  with events.as_default(step):
    for name, value in found.scalars().items():
      tf.summary.scalar(f'eval/{name}', value)
  events.close()
  path = folder / 'eval.json'
  content = {**facts, 'step': step, **found.facts()}
  if class_names:
    metric = _metric(found)[0]
    content['per_class'] = {name: {'count': count, metric: value}
                            for name, count, value in per_class(found, class_names)}
  with replacing(path) as aside:
    aside.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
  return path


def _metric(found: AnyMeasurement) -> tuple[str, Sequence[float]]:
  """Returns the name and the values of the metric of each class."""
  if isinstance(found, Measurement):
    return 'recall', found.recalls
  return 'average_precision', found.average_precisions


def is_chance(found: AnyMeasurement) -> bool:
  """Returns whether top-1 is no better than guessing among the network's outputs.

  That is up to three standard deviations above the mean of guessing, or 2% for 100 outputs or more:
  some classes are right by accident if labels are matched in the wrong order. With several labels
  per image there is no top-1.
  """
  if not isinstance(found, Measurement):
    return False
  outputs = len(found.class_counts)
  if found.count < _FEW or outputs < 2:
    return False
  mean = 1 / outputs
  deviation = math.sqrt(mean * (1 - mean) / found.count)
  return found.top_1 <= max(mean + 3 * deviation, 0.02 if outputs >= 100 else 0)


def per_class(found: AnyMeasurement, class_names: Sequence[str]) -> list[tuple[str, int, float]]:
  """Lists (name, number of examples, recall or average precision) of the classes with examples.

  Args:
    found: the measurement.
    class_names: one distinct name per output.
  """
  return [row for row in zip(class_names, found.class_counts, _metric(found)[1], strict=True)
          if row[1]]


def class_table(found: AnyMeasurement, class_names: Sequence[str], *, all_in: str = '') -> str:
  """Formats the metric of all classes, or of the worst ones if there are many.

  Args:
    found: the measurement.
    class_names: one distinct name per output.
    all_in: the file that has all of them, if there is one.
  """
  rows, metric = per_class(found, class_names), _metric(found)[0].replace('_', ' ')
  note = ''
  if len(rows) > _MOST_CLASSES:
    note = (f'\nThe {_WORST_CLASSES} classes with the lowest {metric}, of {len(rows)}'
            + (f'; all are in {all_in}.' if all_in else '.'))
    rows = sorted(rows, key=lambda row: row[2])[:_WORST_CLASSES]
  cells = [(name, count, f'{value:.4f}') for name, count, value in rows]
  return tabulate.tabulate(cells, ('class', 'examples', metric), 'simple', disable_numparse=True,
                           colalign=('left', 'right', 'right')) + note
