"""A run that is stopped and resumed ends with the bits of one that is not."""

from __future__ import annotations

import csv
import pathlib
import random
import signal
import time

import pytest
import tensorflow as tf

# Batch norm, augmentation, slots, moving averages and (in cifarnet) dropout: whatever a resume
# could lose.
_RUNS = {
    'mobilenet_v1_025': ['--train_image_size=64', '--moving_average_decay=0.9',
                         '--optimizer=rmsprop', '--learning_rate=0.001'],
    'cifarnet': ['--optimizer=adam', '--opt_epsilon=0.001', '--learning_rate=0.001', '--xla=off'],
}
_COMMON = ['--dataset_name=digits', '--batch_size=16', '--log_every_n_steps=5',
           '--max_number_of_steps=60', '--save_interval_steps=6', '--validation_interval_steps=20']


def _flags(folder, model):
  return [f'--train_dir={folder}', f'--model_name={model}', *_COMMON, *_RUNS[model]]


def _content(folder) -> dict[str, bytes]:
  reader = tf.train.load_checkpoint(str(folder))
  return {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_shape_map()}


def _newest(folder: pathlib.Path) -> int:
  return max((int(path.suffixes[0].split('-')[1]) for path in folder.glob('model.ckpt-*.index')),
             default=0)


def _kill_at_a_moment(process, folder: pathlib.Path, seed: int) -> None:
  """Kills a run: every other time while it saves, else some moments after a new checkpoint."""
  draw, first = random.Random(seed), _newest(folder)
  deadline = time.monotonic() + 300
  while process.poll() is None and time.monotonic() < deadline:
    saving = (folder / '.saving').exists()
    if saving and seed % 2 and _newest(folder) > first:
      break
    if not seed % 2 and _newest(folder) > first:
      time.sleep(draw.random() * 0.5)
      break
  process.send_signal(signal.SIGKILL)
  process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(('model', 'kills'), [
  ('mobilenet_v1_025', 2), pytest.param('mobilenet_v1_025', 5, marks=pytest.mark.thorough),
  pytest.param('cifarnet', 5, marks=pytest.mark.thorough)])
def test_killed_runs_end_with_the_same_bits(start_script, run_script, tmp_path, model, kills):
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  code, _, errors = run_script('train_image_classifier', *_flags(whole, model))
  assert code == 0, errors
  for seed in range(kills):
    _kill_at_a_moment(start_script('train_image_classifier', *_flags(killed, model)), killed, seed)
  code, out, errors = run_script('train_image_classifier', *_flags(killed, model))
  assert code == 0, errors
  assert 'Resumed' in out or 'finished' in out
  expected, received = _content(whole), _content(killed)
  assert expected.keys() == received.keys()
  assert [name for name in expected if expected[name] != received[name]] == []
  # Nothing is measured twice or left out, and validation finds the same.
  rows = [list(csv.DictReader((folder / 'metrics.csv').read_text().splitlines()))
          for folder in (whole, killed)]
  seen = [[{name: row[name] for name in row if name == 'step' or name.startswith('validation')}
           for row in each] for each in rows]
  assert seen[0] == seen[1]


@pytest.mark.slow
def test_sigterm_saves_and_leaves_and_the_run_goes_on(start_script, run_script, tmp_path):
  whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
  assert run_script('train_image_classifier', *_flags(whole, 'cifarnet'))[0] == 0
  process = start_script('train_image_classifier', *_flags(stopped, 'cifarnet'))
  while not _newest(stopped) and process.poll() is None:
    time.sleep(0.05)
  process.send_signal(signal.SIGTERM)
  out, errors = process.communicate(timeout=300)
  assert process.returncode == 128 + signal.SIGTERM, errors
  assert 'SIGTERM: saved step' in out
  code, out, errors = run_script('train_image_classifier', f'--train_dir={stopped}')
  assert code == 0, errors  # No other flag is needed to go on.
  assert 'Resumed' in out
  assert _content(whole) == _content(stopped)
