"""The processes of a run over several machines, as the environment describes them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import sys
import threading
from collections.abc import Mapping, Sequence

import tensorflow as tf

from slim_zoo.training.progress import Stopwatch

# Each Slurm step has ports of its own, so that steps can share a machine: this many, from here.
_FIRST_PORT, _PORTS_OF_STEP, _STEPS = 12_000, 32, 600
_PATIENCE, _BETWEEN_NOTES = 600.0, 30.0  # Seconds to wait for workers.
_CONNECT_SECONDS = 2.0
# sysexits.h: a failure that the same command may not meet again.
TRY_AGAIN = 75


class LostWorkerError(OSError):
  """Another worker has gone, or cannot be reached."""
  exit_code = TRY_AGAIN


@dataclasses.dataclass(frozen=True)
class Cluster:
  """The workers of a run.

  Attributes:
    addresses: `host:port` of each; the first one is the chief.
    index: position of this process.
    source: what describes them.
    resolver: TensorFlow's description of them; None for a single worker.
  """
  addresses: Sequence[str] = ('',)
  index: int = 0
  source: str = ''
  resolver: tf.distribute.cluster_resolver.ClusterResolver | None = None

  @property
  def is_chief(self) -> bool:
    """Whether this is the worker that saves and prints."""
    return not self.index

  def name(self, index: int) -> str:
    """Names a worker for the user."""
    return f'worker {index} ({self.addresses[index]})'

  def unreachable(self) -> list[int]:
    """Returns the other workers that accept no connection now."""
    return [index for index, address in enumerate(self.addresses)
            if index != self.index and not _accepts(address)]


ALONE = Cluster()


def find(environment: Mapping[str, str] = os.environ) -> Cluster:
  """Finds the workers in `TF_CONFIG`, or in the variables of a Slurm step of several tasks.

  Raises:
    ValueError: if `TF_CONFIG` cannot be understood.
  """
  if environment.get('TF_CONFIG'):
    return _of_tf_config(environment['TF_CONFIG'])
  if int(environment.get('SLURM_STEP_NUM_TASKS') or 1) > 1:
    return _of_slurm(environment)
  return ALONE


def _of_tf_config(text: str) -> Cluster:
  """Reads `TF_CONFIG`; see https://www.tensorflow.org/guide/distributed_training."""
  try:
    config = json.loads(text)
    jobs = {job: list(map(str, addresses))
            for job, addresses in config.get('cluster', {}).items()}
    task = config.get('task', {})
    kind, number = task.get('type', ''), int(task.get('index', 0))
  except (ValueError, AttributeError, RecursionError, TypeError) as error:
    raise ValueError('TF_CONFIG: expected a JSON object with a "cluster" of lists of addresses and '
                     f'a "task". Received: {text!r}. Correct it, or unset it.') from error
  if not jobs:
    return ALONE
  unknown = sorted({*jobs} - {'chief', 'worker'})
  if unknown:
    raise ValueError(f'TF_CONFIG: expected the jobs chief and worker. Received: '
                     f'{", ".join(unknown)}. Replicas keep their variables; leave these tasks out, '
                     'and evaluate with eval_image_classifier.py --watch.')
  if not 0 <= number < len(jobs.get(kind, ())):
    raise ValueError(f'TF_CONFIG: expected a task of its cluster, {json.dumps(jobs)}. Received: '
                     f'{json.dumps(task)}. Give each process its own "type" and "index".')
  chiefs = jobs.get('chief', [])
  addresses = [*chiefs, *jobs.get('worker', [])]
  if len(addresses) == 1:
    return ALONE
  return Cluster(tuple(addresses), number + (len(chiefs) if kind == 'worker' else 0), 'TF_CONFIG',
                 tf.distribute.cluster_resolver.TFConfigClusterResolver())


def _of_slurm(environment: Mapping[str, str]) -> Cluster:
  """Reads the variables that `srun` sets for each task.

  Raises:
    ValueError: if tasks are not numbered node by node, which TensorFlow's resolver expects.
  """
  resolvers = tf.distribute.cluster_resolver
  step = int(environment['SLURM_JOB_ID']) + int(environment.get('SLURM_STEP_ID', 0))
  spec = resolvers.SlurmClusterResolver(
      port_base=_FIRST_PORT + _PORTS_OF_STEP * (step % _STEPS),
      # Slurm itself gives each task its GPUs; these numbers keep the resolver from looking for any.
      gpus_per_node=_PORTS_OF_STEP, gpus_per_task=1, auto_set_gpu=False).cluster_spec()
  # The resolver has node10 before node2; Slurm numbers its tasks in the order of the numbers.
  addresses = sorted(spec.as_dict()['worker'], key=lambda address: [
      int(part) if part.isdecimal() else part for part in re.split(r'(\d+)', address)])
  index, here = int(environment['SLURM_PROCID']), environment.get('SLURMD_NODENAME')
  if here and addresses[index].rpartition(':')[0] != here:
    raise ValueError(f'Slurm: expected task {index} on the node of {addresses[index]}, as tasks '
                     f'are numbered node by node. Received: {here}. Start them with '
                     'srun --distribution=block.')
  return Cluster(tuple(addresses), index, 'Slurm', resolvers.SimpleClusterResolver(
      tf.train.ClusterSpec({'worker': addresses}), task_type='worker', task_id=index,
      rpc_layer='grpc'))


def _accepts(address: str) -> bool:
  """Returns whether something listens at `host:port`."""
  host, _, port = address.rpartition(':')
  try:
    with socket.create_connection((host.strip('[]'), int(port)), _CONNECT_SECONDS):
      return True
  except (OSError, ValueError):
    return False


class Waiting:
  """Says, inside a `with` block, which workers have not come; ends the process if they never do.

  TensorFlow waits for all workers without a word and cannot be interrupted.
  """

  def __init__(self, cluster: Cluster, *, patience: float = _PATIENCE):
    self._cluster, self._patience = cluster, patience
    self._is_over = threading.Event()

  def __enter__(self) -> Waiting:
    threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, *_) -> None:
    self._is_over.set()

  def _watch(self) -> None:
    watch = Stopwatch()
    while not self._is_over.wait(min(_BETWEEN_NOTES, self._patience)):
      missing = self._cluster.unreachable()
      names = ', '.join(map(self._cluster.name, missing)) or 'the others, which can be reached'
      if watch.seconds < self._patience:
        print(f'{self._cluster.name(self._cluster.index)}: waiting for {names}.'.capitalize(),
              file=sys.stderr, flush=True)
        continue
      print(f'Error: expected all {len(self._cluster.addresses)} workers of '
            f'{self._cluster.source} within {self._patience:.0f} s. Still waiting for {names}. '
            'Check that each was started, and that its address can be reached from here.',
            file=sys.stderr, flush=True)
      os._exit(TRY_AGAIN)  # The main thread is inside TensorFlow.
