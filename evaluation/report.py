"""What an evaluation leaves: lines to read, `eval.json`, and TensorBoard's event file."""

from __future__ import annotations

import json
import os
import pathlib

import tensorflow as tf

from evaluation.evaluator import Measurement


def write(folder: str | os.PathLike, found: Measurement, *, step: int, facts: dict) -> pathlib.Path:
  """Writes `eval.json` and TensorBoard scalars.

  Args:
    folder: where to; made if need be.
    found: the measurement.
    step: the checkpoint's step, for TensorBoard.
    facts: what was measured: checkpoint, dataset, split and so on; for the JSON.

  Returns:
    The path of `eval.json`.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  events = tf.summary.create_file_writer(str(folder))
  with events.as_default(step):
    for name, value in found.scalars().items():
      tf.summary.scalar(f'eval/{name}', value)
  events.close()
  path, aside = folder / 'eval.json', folder / 'eval.json.new'
  content = {**facts, 'step': step, 'count': found.count, 'top_1': found.top_1,
             'top_5': found.top_k, 'k': found.k, 'loss': found.loss}
  aside.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
  os.replace(aside, path)
  return path
