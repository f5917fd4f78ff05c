"""What the doctor finds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from slim_zoo.training import checkup, gpus


def _machine(root, **changes):
  return gpus.Machine(**{'root': root, 'environment': {}, 'build': {'is_cuda_build': False},
                         'packages': frozenset(), 'list_gpus': str, 'probe': str} | changes)


def _found(tmp_path, monkeypatch, **arguments):
  monkeypatch.delenv('TF_CONFIG', raising=False)
  return {one.subject: one for one in checkup.look(machine=_machine(tmp_path), **arguments)}


def test_healthy_machine(tmp_path, monkeypatch):
  (tmp_path / 'photos' / 'a').mkdir(parents=True)
  (tmp_path / 'photos' / 'a' / '1.jpg').write_bytes(b'x' * 1000)
  found = _found(tmp_path, monkeypatch, dataset_dir=str(tmp_path / 'photos'),
                 train_dir=str(tmp_path / 'run'))
  assert [*found] == ['programs', 'machine', 'GPUs', '--dataset_dir', '--train_dir', 'workers']
  assert not any(one.is_wrong for one in found.values())
  assert os.listdir(tmp_path / 'run') == []


@pytest.mark.parametrize('arguments', [
  {'dataset_dir': 'missing'}, {'dataset_dir': 'empty'}, {'train_dir': 'file/run'}])
def test_folders_that_cannot_be_used(tmp_path, monkeypatch, arguments):
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'file').touch()
  (name, path), = arguments.items()
  found = _found(tmp_path, monkeypatch, **{name: str(tmp_path / path)})
  assert found[f'--{name}'].is_wrong and path in found[f'--{name}'].text


def test_gpu_that_is_not_found(tmp_path):
  found = checkup._look_at_gpus([], _machine(tmp_path, list_gpus=lambda: 'GPU 0: H100'))
  assert found.is_wrong and 'setup_env.sh --gpu' in found.text


@pytest.mark.parametrize(('config', 'is_wrong'), [('x', True), ('', False)])
def test_description_of_the_workers(tmp_path, monkeypatch, config, is_wrong):
  monkeypatch.setenv('TF_CONFIG', config)
  *_, last = checkup.look(machine=_machine(tmp_path))
  assert (last.subject, last.is_wrong) == ('workers', is_wrong)


_LOOK = """
import sys
from slim_zoo.training import checkup
checkup._SECONDS_TO_MEET = float(sys.argv[1])
for one in checkup._look_at_workers():
  print(one.is_wrong, one.text)
"""


@pytest.mark.parametrize(('started', 'seconds', 'is_wrong'), [((0, 1), 100, False),
                                                             ((1,), 0.1, True)])
def test_workers_look_for_each_other(request, started, seconds, is_wrong):
  servers = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
  addresses = [f'127.0.0.1:{server.getsockname()[1]}' for server in servers]
  for server in servers:
    server.close()
  workers = [subprocess.Popen(
    [sys.executable, '-c', _LOOK, str(seconds)], cwd=request.config.rootpath, text=True,
    stdout=subprocess.PIPE, env=os.environ | {'TF_CONFIG': json.dumps({
      'cluster': {'worker': addresses}, 'task': {'type': 'worker', 'index': index}})})
             for index in started]
  for index, worker in zip(started, workers, strict=True):
    text = worker.communicate(timeout=200)[0]
    assert text.startswith(str(is_wrong)), text
    assert f'worker {index} (' in text
    assert (f'worker {1 - index} (' in text) == is_wrong
