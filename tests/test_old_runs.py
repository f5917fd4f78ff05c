r"""A run of an earlier version of this project can be evaluated and resumed, with equal results.

`old_run` was written before options became frozen dataclasses, by

    train_image_classifier.py --train_dir=old_run --dataset_name=digits \
      --model_name=mobilenet_v1_025 --head=pool,fc --head_from=Conv2d_5_pointwise \
      --train_image_size=32 --optimizer=momentum --moving_average_decay=0.9 \
      --max_number_of_steps=20 --batch_size=16 --validation_interval_steps=10 \
      --label_smoothing=0.1 --max_to_keep=1
"""

from __future__ import annotations

import csv
import json
import pathlib
import shutil

import pytest

_RUN = pathlib.Path(__file__).parent / 'old_run'
# The losses of these steps when continued by the earlier version, and how much a different number
# of threads may change them: rounding errors grow from step to step.
_LOSSES = {21: (2.274045944213867, 1e-5), 25: (2.1669816970825195, 1e-3),
           30: (2.275534152984619, 1e-2)}


def test_old_run_evaluates(run_here, tmp_path):
  code, _, errors = run_here(
    'eval_image_classifier', f'--checkpoint_path={_RUN}', f'--eval_dir={tmp_path}',
    '--dataset_split_name=validation')
  assert code == 0, errors
  found = json.loads((tmp_path / 'eval.json').read_text())
  assert (found['count'], found['step']) == (164, 20)
  assert found['top_1'] == pytest.approx(0.06707317073170732)
  assert found['loss'] == pytest.approx(2.3136874757161956, rel=1e-5)


def test_old_run_resumes(run_here, tmp_path):
  run = tmp_path / 'run'
  shutil.copytree(_RUN, run)
  code, _, errors = run_here('train_image_classifier', f'--train_dir={run}',
                               '--max_number_of_steps=30', '--log_every_n_steps=1')
  assert code == 0, errors
  with open(run / 'metrics.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  losses = {int(row['step']): float(row['loss']) for row in rows if row['loss']}
  for step, (loss, tolerance) in _LOSSES.items():
    assert losses[step] == pytest.approx(loss, rel=tolerance)
  assert float(rows[-1]['validation_loss']) == pytest.approx(2.3181254107777667, rel=1e-2)


def test_old_run_rejects_contradicting_flags(run_here, tmp_path):
  run = tmp_path / 'run'
  shutil.copytree(_RUN, run)
  code, _, errors = run_here('train_image_classifier', f'--train_dir={run}', '--batch_size=8',
                             '--learning_rate=0.1')
  assert code == 1
  assert '--batch_size=8' in errors and '16' in errors and '--learning_rate' not in errors


def test_options_that_the_old_version_lacked_had_their_defaults(run_here, tmp_path):
  run = tmp_path / 'run'
  shutil.copytree(_RUN, run)
  code, _, errors = run_here('train_image_classifier', f'--train_dir={run}',
                             '--resize_mode=letterbox')
  assert code == 1
  assert '--resize_mode=letterbox' in errors
