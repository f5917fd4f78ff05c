"""Finding the workers of a run in the environment."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys

import pytest

from slim_zoo.training import cluster

_TWO = ['a:1', 'b:2']


def _tf_config(monkeypatch, jobs, task=None):
  text = json.dumps({'cluster': jobs, **({'task': task} if task else {})})
  monkeypatch.setenv('TF_CONFIG', text)
  return cluster.find({'TF_CONFIG': text})


@pytest.mark.parametrize(('jobs', 'task', 'addresses', 'index'), [
  ({'worker': _TWO}, {'type': 'worker', 'index': 1}, _TWO, 1),
  ({'worker': _TWO}, {'type': 'worker', 'index': 0}, _TWO, 0),
  ({'chief': ['c:3'], 'worker': _TWO}, {'type': 'worker', 'index': 1}, ['c:3', *_TWO], 2),
  ({'chief': ['c:3'], 'worker': _TWO}, {'type': 'chief', 'index': 0}, ['c:3', *_TWO], 0),
  ({'worker': ['a:1']}, {'type': 'worker', 'index': 0}, [''], 0),
  ({}, None, [''], 0),
])
def test_tf_config(monkeypatch, jobs, task, addresses, index):
  found = _tf_config(monkeypatch, jobs, task)
  assert ([*found.addresses], found.index, found.is_chief) == (addresses, index, not index)
  if len(addresses) > 1:
    assert found.resolver.cluster_spec().as_dict() == jobs
    assert (found.resolver.task_type, found.resolver.task_id) == (task['type'], task['index'])


@pytest.mark.parametrize('text', [
  'x', '[]', '{"cluster": 1}', '{"cluster": {"worker": 1}}', '[' * 9999,
  json.dumps({'cluster': {'worker': _TWO}}),
  json.dumps({'cluster': {'worker': _TWO}, 'task': {'type': 'worker', 'index': 2}}),
  json.dumps({'cluster': {'worker': _TWO}, 'task': {'type': 'worker', 'index': -1}}),
  json.dumps({'cluster': {'worker': _TWO}, 'task': {'type': 'worker', 'index': 'x'}}),
  json.dumps({'cluster': {'worker': _TWO}, 'task': {'type': 'chief', 'index': 0}}),
  json.dumps({'cluster': {'worker': _TWO, 'ps': ['c:3']}, 'task': {'type': 'worker', 'index': 0}}),
])
def test_wrong_tf_config(text):
  with pytest.raises(ValueError, match='TF_CONFIG: expected'):
    cluster.find({'TF_CONFIG': text})


def _slurm(monkeypatch, nodes, tasks, process, node, *, job=7, step=0):
  variables = {'SLURM_JOB_ID': job, 'SLURM_STEP_ID': step, 'SLURM_PROCID': process,
               'SLURM_STEP_NODELIST': nodes, 'SLURM_STEP_TASKS_PER_NODE': tasks[0],
               'SLURM_STEP_NUM_TASKS': tasks[1], 'SLURMD_NODENAME': node}
  for name, value in variables.items():
    monkeypatch.setenv(name, str(value))
  return cluster.find({name: str(value) for name, value in variables.items()})


@pytest.mark.parametrize(('nodes', 'tasks', 'process', 'node', 'hosts'), [
  ('n[1-2]', ('1(x2)', 2), 1, 'n2', ['n1', 'n2']),
  ('n[1-2]', ('2(x2)', 4), 2, 'n2', ['n1', 'n1', 'n2', 'n2']),
  ('n[1-2],gpu7', ('1(x3)', 3), 0, 'gpu7', ['gpu7', 'n1', 'n2']),
  # In the order of the numbers, unlike TensorFlow's resolver.
  ('n[2,9-11]', ('1(x4)', 4), 3, 'n11', ['n2', 'n9', 'n10', 'n11']),
])
def test_slurm(monkeypatch, nodes, tasks, process, node, hosts):
  found = _slurm(monkeypatch, nodes, tasks, process, node)
  assert [address.rpartition(':')[0] for address in found.addresses] == hosts
  assert len(set(found.addresses)) == len(hosts)
  assert found.index == process and found.resolver.task_id == process
  assert found.resolver.cluster_spec().as_dict() == {'worker': [*found.addresses]}


def test_slurm_steps_have_ports_of_their_own(monkeypatch):
  ports = [{address.rpartition(':')[2] for address in _slurm(
    monkeypatch, 'n1', ('3', 3), 0, 'n1', job=job, step=step).addresses}
           for job, step in ((7, 0), (7, 1), (9, 0), (123456789, 3))]
  assert len(set.union(*ports)) == 12
  assert all(1024 < int(port) < 32768 for port in set.union(*ports))  # Not those of clients.


def test_slurm_tasks_in_another_order(monkeypatch):
  with pytest.raises(ValueError, match='--distribution=block'):
    _slurm(monkeypatch, 'n[1-2]', ('2(x2)', 4), 1, 'n2')


@pytest.mark.parametrize('variables', [
  {}, {'SLURM_JOB_ID': '7'}, {'SLURM_JOB_ID': '7', 'SLURM_STEP_NUM_TASKS': '1'}])
def test_alone(variables):
  assert cluster.find(variables) is cluster.ALONE
  assert cluster.ALONE.is_chief and cluster.ALONE.unreachable() == []


@contextlib.contextmanager
def _listening():
  with socket.create_server(('127.0.0.1', 0)) as server:
    yield f'127.0.0.1:{server.getsockname()[1]}'


def test_unreachable_workers():
  with _listening() as address, socket.socket() as unused:
    unused.bind(('127.0.0.1', 0))  # Nothing listens there.
    closed = f'127.0.0.1:{unused.getsockname()[1]}'
    found = cluster.Cluster(('own:1', address, closed, 'no port'), 0, 'TF_CONFIG')
    assert found.unreachable() == [2, 3]


_WAITING = """
import sys, time
from slim_zoo.training import cluster
found = cluster.Cluster(('own:1', sys.argv[1]), 0, 'TF_CONFIG')
with cluster.Waiting(found, patience=float(sys.argv[2])):
  time.sleep(float(sys.argv[3]))
print('all came')
"""


@pytest.mark.parametrize(('patience', 'seconds', 'code'), [(0.1, 60, 75), (60, 0, 0)])
def test_waiting_for_workers(patience, seconds, code, request):
  root = request.config.rootpath
  found = subprocess.run([sys.executable, '-c', _WAITING, '127.0.0.1:9', str(patience),
                          str(seconds)], cwd=root, capture_output=True, text=True, check=False)
  assert found.returncode == code
  assert ('worker 1 (127.0.0.1:9)' in found.stderr) == (code != 0)
  assert ('all came' in found.stdout) == (code == 0)
