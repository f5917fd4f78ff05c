"""The jobs for Slurm and Kubernetes; they were run, or validated, by hand."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess

import pytest

from slim_zoo.config import flag_values, programs
from slim_zoo.training import cluster

_SCRIPTS = pathlib.Path(__file__).parents[2] / 'scripts'


def _of_kubernetes() -> str:
  """The shell script in the manifest."""
  text = (_SCRIPTS / 'kubernetes' / 'train.yaml').read_text('utf-8')
  (block,) = re.findall(r'^ +- \|\n((?: {14}.*\n)+)', text, re.MULTILINE)
  return block


@pytest.mark.parametrize(('workers', 'index'), [(1, 0), (2, 1), (12, 11)])
def test_pods_of_a_job_find_each_other(monkeypatch, workers, index):
  script = _of_kubernetes().partition('exec ')[0] + 'printf %s "$TF_CONFIG"'
  text = subprocess.run(
    ['bash', '-euc', script], capture_output=True, text=True, check=True,
    env=os.environ | {'WORKERS': str(workers), 'JOB_COMPLETION_INDEX': str(index)}).stdout
  monkeypatch.setenv('TF_CONFIG', text)
  found = cluster.find({'TF_CONFIG': text})
  if workers > 1:
    assert found.addresses == tuple(f'train-{number}.train:2222' for number in range(workers))
  assert found.index == index


def test_flags_of_the_job():
  words = shlex.split(_of_kubernetes().partition('exec ')[2].replace('\\\n', ' '))
  assert words[:2] == ['python', 'train_image_classifier.py']
  parsed, rest = flag_values.parse(programs.Train, words[2:])
  assert parsed.config.saving.train_dir == '/data/runs/train' and not rest


@pytest.mark.parametrize(('task', 'expected'), [
  (1, ['--seed=3', '--train_dir=a b', '--epochs=1']),
  (2, ['--seed=3', '--train_dir=c']),
  (3, None),
])
def test_line_of_a_sweep(tmp_path, task, expected):
  """With a program in place of `srun` that prints its arguments."""
  sweep, fake = tmp_path / 'sweep.txt', tmp_path / 'srun'
  sweep.write_text("--train_dir='a b' --epochs=1\n--train_dir=c\n")
  fake.write_text('#!/bin/sh\nfor word; do echo "[$word]"; done\n')
  fake.chmod(0o755)
  found = subprocess.run(
    ['bash', _SCRIPTS / 'slurm' / 'sweep.sbatch', sweep, '--seed=3'], capture_output=True,
    text=True, check=False, env=os.environ | {
      'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SLURM_ARRAY_TASK_ID': str(task)})
  if expected is None:
    assert found.returncode == 1 and 'line with number 3' in found.stderr
    return
  assert found.returncode == 0
  assert re.findall(r'\[(.*)\]', found.stdout) == [
    '.venv/bin/python', 'train_image_classifier.py', *expected]


@pytest.mark.parametrize(('code', 'nodes', 'restarts', 'is_requeued'), [
  (0, 2, 0, False), (1, 2, 0, False), (138, 1, 0, True), (138, 1, 10, True), (143, 2, 0, False),
  (75, 2, 0, True), (75, 2, 10, False),
  (137, 2, 0, True), (139, 2, 0, True), (137, 2, 10, False), (137, 1, 0, False)])
def test_job_that_may_continue_is_queued_again(tmp_path, code, nodes, restarts, is_requeued):
  """The code of `srun` is the largest of all workers: 137 if one was killed."""
  of_srun = f'case "$@" in *doctor.py) exit 0 ;; esac; exit {code}'
  for name, text in (('srun', of_srun), ('scontrol', 'echo "called $@"')):
    (tmp_path / name).write_text(f'#!/bin/sh\n{text}\n')
    (tmp_path / name).chmod(0o755)
  found = subprocess.run(
    ['bash', _SCRIPTS / 'slurm' / 'train.sbatch', '--epochs=1'], capture_output=True, text=True,
    check=False, env=os.environ | {
      'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SLURM_JOB_ID': '7',
      'SLURM_JOB_NUM_NODES': str(nodes), 'SLURM_RESTART_COUNT': str(restarts)})
  assert found.returncode == code
  assert ('called requeue 7' in found.stdout) == is_requeued


def test_job_on_a_broken_machine_does_not_start(tmp_path):
  (tmp_path / 'srun').write_text('#!/bin/sh\necho "called $@"\nexit 1\n')
  (tmp_path / 'srun').chmod(0o755)
  found = subprocess.run(
    ['bash', _SCRIPTS / 'slurm' / 'train.sbatch', '--epochs=1'], capture_output=True, text=True,
    check=False, env=os.environ | {'PATH': f'{tmp_path}:{os.environ["PATH"]}'})
  assert found.returncode == 1
  assert 'doctor.py' in found.stdout and 'train_image_classifier.py' not in found.stdout
