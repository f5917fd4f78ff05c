"""A stopped and resumed run is bit-identical to an uninterrupted one."""

from __future__ import annotations

import csv
import pathlib
import random
import signal
import time

import pytest
import tensorflow as tf

# Batch norm, augmentation, mixed images, sums of gradients, slots, moving averages and (in
# cifarnet) dropout: everything that resuming could lose.
_RUNS = {
    'mobilenet_v1_025': ['--train_image_size=32', '--moving_average_decay=0.9',
                         '--moving_average_interval=3', '--batch_norm_decay=0.9',
                         '--optimizer=lamb', '--learning_rate=0.003', '--weight_decay=0.02',
                         '--learning_rate_decay_type=one_cycle', '--gradient_accumulation_steps=2',
                         '--adaptive_clip_factor=0.1', '--gradient_clip_norm=1', '--loss=binary',
                         '--mixup_alpha=0.2', '--cutmix_alpha=1', '--erasing_probability=0.25',
                         '--augmentation_policy=rand_augment', '--min_crop_area=0.5'],
    'cifarnet': ['--optimizer=adamw', '--weight_decay=0.05', '--learning_rate=0.001', '--xla=off',
                 '--learning_rate_decay_type=cosine', '--warmup_epochs=0.05'],
}
_COMMON = ['--dataset_name=digits', '--batch_size=8', '--log_every_n_steps=5',
           '--max_number_of_steps=24', '--save_interval_steps=4', '--validation_interval_steps=12']
_LONG = ['--batch_size=16', '--max_number_of_steps=60', '--save_interval_steps=6',
         '--validation_interval_steps=20']


def _flags(folder, model, *more):
  return [f'--train_dir={folder}', f'--model_name={model}', *_COMMON, *_RUNS[model], *more]


def _content(folder) -> dict[str, bytes]:
  reader = tf.train.load_checkpoint(str(folder))
  return {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_shape_map()}


def _newest(folder: pathlib.Path) -> int:
  return max((int(path.suffixes[0].split('-')[1]) for path in folder.glob('model.ckpt-*.index')),
             default=0)


def _kill_at_a_moment(process, folder: pathlib.Path, seed: int) -> int:
  """Kills a run after a new checkpoint, while it saves the next one if the seed is odd.

  Returns:
    How the process ended.
  """
  draw, first = random.Random(seed), _newest(folder)
  deadline = time.monotonic() + 300
  while process.poll() is None and time.monotonic() < deadline:
    if _newest(folder) > first:
      if not seed % 2:
        time.sleep(draw.random() * 0.5)
        break
      if (folder / '.saving').exists():
        break
    time.sleep(0.001)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize(('model', 'seeds', 'length'), [
  # CI stops a run with SIGTERM below, and saves that end midway in tests of `checkpoints`.
  pytest.param('mobilenet_v1_025', [1], [], marks=pytest.mark.thorough),
  pytest.param('mobilenet_v1_025', range(5), _LONG, marks=pytest.mark.thorough),
  pytest.param('cifarnet', range(5), _LONG, marks=pytest.mark.thorough)])
def test_killed_runs_resume_bit_identically(start_script, run_here, tmp_path, model, seeds, length):
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  code, _, errors = run_here('train_image_classifier', *_flags(whole, model, *length))
  assert code == 0, errors
  flags = _flags(killed, model, *length)
  ends = [_kill_at_a_moment(start_script('train_image_classifier', *flags), killed, seed)
          for seed in seeds]
  assert ends[0] == -signal.SIGKILL
  assert _newest(killed)
  code, out, errors = run_here('train_image_classifier', *flags)
  assert code == 0, errors
  assert f'{killed}/model.ckpt-' in out or 'finished' in out
  expected, received = _content(whole), _content(killed)
  assert expected.keys() == received.keys()
  assert [name for name in expected if expected[name] != received[name]] == []
  # Nothing is recorded twice or omitted, and validation gives the same results.
  rows = [list(csv.DictReader((folder / 'metrics.csv').read_text().splitlines()))
          for folder in (whole, killed)]
  seen = [[{name: row[name] for name in row if name == 'step' or name.startswith('validation')}
           for row in each] for each in rows]
  assert seen[0] == seen[1]


@pytest.mark.slow
def test_sigterm_saves_and_the_run_can_be_resumed(start_script, run_here, tmp_path):
  whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
  # Enough steps for the signal to arrive before the end.
  length = ('--max_number_of_steps=48', '--save_interval_steps=8', '--validation_interval_steps=24')
  code, _, errors = run_here('train_image_classifier', *_flags(whole, 'cifarnet', *length))
  assert code == 0, errors
  process = start_script('train_image_classifier', *_flags(stopped, 'cifarnet', *length))
  while not _newest(stopped) and process.poll() is None:
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  out, errors = process.communicate(timeout=300)
  assert process.returncode == 128 + signal.SIGTERM, errors
  assert 'SIGTERM' in out
  step = _newest(stopped)
  assert 0 < step < 48
  code, out, errors = run_here('train_image_classifier', f'--train_dir={stopped}')
  assert code == 0, errors  # No other flag is needed to resume.
  assert f'model.ckpt-{step}' in out
  assert _content(whole) == _content(stopped)
