"""The output of an evaluation: `eval.json` and TensorBoard's scalars."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

from slim_zoo.evaluation import report
from slim_zoo.evaluation.evaluator import Measurement

_FOUND = Measurement(count=8, loss=0.25, top_1=0.875, top_k=1.0, k=3, class_counts=(4, 0, 4),
                     class_right=(3, 0, 4), among_present=(1.0, 1.0))


def test_writes_json_and_scalars(tmp_path):
  folder = tmp_path / 'deep' / 'eval'
  path = report.write(folder, _FOUND, step=1000, facts={'split': 'validation', 'dataset': 'Äpfel'},
                      class_names=['ant', 'bee', 'cat'])
  assert path == folder / 'eval.json'
  assert json.loads(path.read_text('utf-8')) == {
    'split': 'validation', 'dataset': 'Äpfel', 'step': 1000, 'count': 8, 'top_1': 0.875,
    'top_5': 1.0, 'k': 3, 'mean_recall': 0.875, 'loss': 0.25,
    'among_present': {'classes': 2, 'top_1': 1.0, 'top_5': 1.0},
    'per_class': {'ant': {'count': 4, 'recall': 0.75}, 'cat': {'count': 4, 'recall': 1.0}}}
  events = event_accumulator.EventAccumulator(str(folder), size_guidance={'tensors': 0}).Reload()
  found = {tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
           for tag in events.Tags()['tensors']}
  assert found == {'eval/top_1': [(1000, 0.875)], 'eval/top_5': [(1000, 1.0)],
                   'eval/mean_recall': [(1000, 0.875)], 'eval/loss': [(1000, 0.25)]}


def test_table_of_classes():
  lines = report.class_table(_FOUND, ['01', 'bee', 'a cat']).splitlines()
  assert [line.rsplit(None, 2) for line in lines if line.strip('- ')] == [
    ['class', 'examples', 'recall'], ['01', '4', '0.7500'], ['a cat', '4', '1.0000']]


@pytest.mark.parametrize(('num_classes', 'shown'), [(20, 20), (21, 10)])
def test_table_of_many_classes_has_the_worst(num_classes, shown):
  right = np.arange(num_classes)[::-1]
  found = dataclasses.replace(_FOUND, class_counts=(30,) * num_classes, class_right=tuple(right))
  names = [f'class {i}' for i in range(num_classes)]
  text = report.class_table(found, names, all_in='eval.json')
  rows = [line for line in text.splitlines() if line.startswith('class ') and '0.' in line]
  worst = names if shown == num_classes else names[:-11:-1]
  assert [row.rsplit(None, 2)[0] for row in rows] == worst
  note = text.splitlines()[-1]
  assert bool(re.search(r'\b10\b.*\b21\b.*eval.json', note)) == (shown == 10)
  assert 'eval.json' not in report.class_table(found, names)


def test_next_report_replaces_the_last(tmp_path):
  for step in (1, 2):
    path = report.write(tmp_path, _FOUND, step=step, facts={})
  assert json.loads(path.read_text('utf-8'))['step'] == 2
  assert [p.name for p in tmp_path.glob('eval.json*')] == ['eval.json']


def test_a_file_in_place_of_the_folder(tmp_path):
  (tmp_path / 'eval').write_text('mine')
  with pytest.raises(FileExistsError, match='eval'):
    report.write(tmp_path / 'eval', _FOUND, step=1, facts={})


@pytest.mark.parametrize(('outputs', 'count', 'right', 'expected'), [
  (1000, 1000, 10, True),  # Directories 1 to 1000 sorted as text.
  (1000, 1000, 30, False),
  (10, 1000, 100, True),
  (10, 1000, 125, True),
  (10, 1000, 150, False),
  (2, 100, 50, True),
  (2, 100, 80, False),
  (2, 4, 0, False),  # Too few for a conclusion.
  (1, 100, 100, False),
])
def test_accuracy_at_chance_level(outputs, count, right, expected):
  found = Measurement(
      count=count, loss=1., top_1=right / count, top_k=1., k=min(5, outputs),
      class_counts=(count,) + (0,) * (outputs - 1), class_right=(right,) + (0,) * (outputs - 1),
      among_present=(1., 1.))
  assert report.is_chance(found) == expected
