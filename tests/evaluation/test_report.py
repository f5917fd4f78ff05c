"""What an evaluation leaves: `eval.json` and TensorBoard's scalars."""

from __future__ import annotations

import json

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

from evaluation import report
from evaluation.evaluator import Measurement

_FOUND = Measurement(count=367, loss=0.25, top_1=0.875, top_k=0.96875, k=5)


def test_writes_json_and_scalars(tmp_path):
  folder = tmp_path / 'deep' / 'eval'
  path = report.write(folder, _FOUND, step=1000, facts={'split': 'validation', 'dataset': 'Äpfel'})
  assert path == folder / 'eval.json'
  assert json.loads(path.read_text('utf-8')) == {
    'split': 'validation', 'dataset': 'Äpfel', 'step': 1000, 'count': 367, 'top_1': 0.875,
    'top_5': 0.96875, 'k': 5, 'loss': 0.25}
  events = event_accumulator.EventAccumulator(str(folder), size_guidance={'tensors': 0}).Reload()
  found = {tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
           for tag in events.Tags()['tensors']}
  assert found == {'eval/top_1': [(1000, 0.875)], 'eval/top_5': [(1000, 0.96875)],
                   'eval/loss': [(1000, 0.25)]}


def test_the_next_one_replaces_it(tmp_path):
  for step in (1, 2):
    path = report.write(tmp_path, _FOUND, step=step, facts={})
  assert json.loads(path.read_text('utf-8'))['step'] == 2
  assert [p.name for p in tmp_path.glob('eval.json*')] == ['eval.json']


def test_a_file_in_place_of_the_folder(tmp_path):
  (tmp_path / 'eval').write_text('mine')
  with pytest.raises(FileExistsError, match='eval'):
    report.write(tmp_path / 'eval', _FOUND, step=1, facts={})
