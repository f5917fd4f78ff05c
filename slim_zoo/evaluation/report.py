"""The results of an evaluation: printed lines, `eval.json`, and an event file for TensorBoard."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Sequence

import tabulate
import tensorflow as tf

from slim_zoo.evaluation.evaluator import Measurement

# Up to how many classes a table shows all of them, and how many of the worst it shows otherwise.
_MOST_CLASSES, _WORST_CLASSES = 20, 10
_FEW = 20  # Too few examples to say anything about accuracy.


def write(folder: str | os.PathLike, found: Measurement, *, step: int, facts: dict,
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
  path, aside = folder / 'eval.json', folder / 'eval.json.new'
  content = {**facts, 'step': step, 'count': found.count, 'top_1': found.top_1,
             'top_5': found.top_k, 'k': found.k, 'mean_recall': found.mean_recall,
             'loss': found.loss}
  if found.num_present < len(found.class_counts):
    content['among_present'] = dict(zip(('classes', 'top_1', 'top_5'),
                                        (found.num_present, *found.among_present), strict=True))
  if class_names:
    content['per_class'] = {name: {'count': count, 'recall': recall}
                            for name, count, recall in per_class(found, class_names)}
  aside.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
  os.replace(aside, path)
  return path


def is_chance(found: Measurement) -> bool:
  """Returns whether top-1 is no better than guessing among the network's outputs.

  That is up to three standard deviations above the mean of guessing, or 2% for 100 outputs or more:
  some classes are right by accident if labels are matched in the wrong order.
  """
  outputs = len(found.class_counts)
  if found.count < _FEW or outputs < 2:
    return False
  mean = 1 / outputs
  deviation = math.sqrt(mean * (1 - mean) / found.count)
  return found.top_1 <= max(mean + 3 * deviation, 0.02 if outputs >= 100 else 0)


def per_class(found: Measurement, class_names: Sequence[str]) -> list[tuple[str, int, float]]:
  """Lists (name, number of examples, recall) of the classes with examples.

  Args:
    found: the measurement.
    class_names: one distinct name per output.
  """
  return [row for row in zip(class_names, found.class_counts, found.recalls, strict=True)
          if row[1]]


def class_table(found: Measurement, class_names: Sequence[str], *, all_in: str = '') -> str:
  """Formats the recall of all classes, or of the worst ones if there are many.

  Args:
    found: the measurement.
    class_names: one distinct name per output.
    all_in: the file that has all of them, if there is one.
  """
  rows = per_class(found, class_names)
  note = ''
  if len(rows) > _MOST_CLASSES:
    note = (f'\nThe {_WORST_CLASSES} classes with the lowest recall, of {len(rows)}'
            + (f'; all are in {all_in}.' if all_in else '.'))
    rows = sorted(rows, key=lambda row: row[2])[:_WORST_CLASSES]
  cells = [(name, count, f'{recall:.4f}') for name, count, recall in rows]
  return tabulate.tabulate(cells, ('class', 'examples', 'recall'), 'simple', disable_numparse=True,
                           colalign=('left', 'right', 'right')) + note
