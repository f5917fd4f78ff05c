"""Devices that a run uses."""

from __future__ import annotations

import contextlib
import functools
import sys

import tensorflow as tf

from files.reasons import short_reason
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.model import Hardware
from slim_zoo.config.programs import Train
from slim_zoo.training import cluster as clusters
from slim_zoo.training import gpus
from slim_zoo.training.workers import ALONE, Workers


def prepare_devices(*, clone_on_cpu: bool = False) -> None:
  """Lets GPU memory grow as needed, so that jobs can share a GPU; call it first.

  It may be called again with the same argument. If the machine seems to have a GPU that TensorFlow
  cannot use, a warning says why.

  Args:
    clone_on_cpu: use the CPU even if GPUs are available.

  Raises:
    ValueError: if TensorFlow has already run something on other devices.
  """
  try:
    if clone_on_cpu:
      tf.config.set_visible_devices([], 'GPU')
    for gpu in tf.config.get_visible_devices('GPU'):
      tf.config.experimental.set_memory_growth(gpu, True)
  except RuntimeError as error:
    raise ValueError(f'--clone_on_cpu={clone_on_cpu}: expected the devices that this process has '
                     f'used before ({str(error).rstrip(".")}). Set the flag for all phases, not '
                     'for a single one.') from error
  if not clone_on_cpu:
    _say_why_no_gpu()


@functools.cache
def _say_why_no_gpu() -> None:
  """Prints, once per process, why a GPU that seems to be there is not used."""
  if not tf.config.list_physical_devices('GPU') and (
      reason := gpus.why_none(gpus.Machine.here())):
    print(f'Warning: this machine seems to have an NVIDIA GPU, but TensorFlow finds none: '
          f'{reason}.', file=sys.stderr, flush=True)


def kind() -> str:
  """Names the devices of the run: 'CPU', or the number of GPUs."""
  count = len(tf.config.get_visible_devices('GPU'))
  return f'{count} visible GPU(s)' if count else 'CPU'


def start(parsed: Parsed[Train]) -> tuple[Parsed[Train], Workers]:
  """Prepares the devices and, with several workers, the strategy; call it first.

  Args:
    parsed: the command line.

  Returns:
    The command line with the number of workers and replicas settled, and the workers.

  Raises:
    ValueError: if flags contradict each other or the workers that the environment describes.
  """
  hardware, given = parsed.config.hardware, parsed.given
  prepare_devices(clone_on_cpu=hardware.clone_on_cpu)
  cluster = clusters.ALONE if hardware.strategy in ('one', 'mirrored') else clusters.find()
  count = len(cluster.addresses)
  if hardware.strategy == 'multiworker' and count == 1:
    raise ValueError('--strategy=multiworker: expected several workers in TF_CONFIG, or a Slurm '
                     'step of several tasks. Received: neither. Start the workers with srun, or '
                     'set TF_CONFIG; see docs/cluster.md.')
  if 'worker_replicas' in given and hardware.worker_replicas != count:
    raise ValueError(f'--worker_replicas={hardware.worker_replicas}: expected as many workers in '
                     f'TF_CONFIG, or as many tasks of a Slurm step. Received: {count}. Start them '
                     'all, or leave the flag out.')
  if 'task' in given and hardware.task != cluster.index:
    raise ValueError(f'--task={hardware.task}: expected the number of this worker in '
                     f'{cluster.source or "a run of one worker"}. Received: {cluster.index}. Leave '
                     'the flag out.')
  if hardware.replicas_to_aggregate not in (1, count):
    raise ValueError('--replicas_to_aggregate: expected all workers, because they are always in '
                     f'step. Received: {hardware.replicas_to_aggregate} of {count}.')
  clones = _num_clones(hardware, is_given='num_clones' in given, is_local=count == 1)
  parsed = parsed.with_given(worker_replicas=count)
  if clones != hardware.num_clones:
    parsed = parsed.with_given(num_clones=clones)
  if count == 1:
    return parsed, ALONE
  tf.config.set_visible_devices(tf.config.get_visible_devices('GPU')[:clones], 'GPU')
  return parsed, Workers(cluster, _of_workers())


def _num_clones(hardware: Hardware, *, is_given: bool, is_local: bool) -> int:
  """Returns the number of replicas of each worker."""
  clones, visible = hardware.num_clones, len(tf.config.get_visible_devices('GPU'))
  if hardware.strategy == 'one' and clones != 1:
    raise ValueError(f'--strategy=one: expected --num_clones=1. Received: {clones}. Leave one of '
                     'them out.')
  if hardware.strategy in ('mirrored', 'multiworker') and not is_given:
    return max(1, visible)
  if not is_given and visible > clones:
    print(f'{visible} GPUs are visible, of which the run uses {clones}. --num_clones={visible} '
          'uses all.')
  return clones


@functools.cache
def _of_workers() -> tf.distribute.Strategy:
  """Creates the strategy of several workers once per process, when all are ready.

  Raises:
    ValueError: if the port of this worker is taken.
  """
  cluster = clusters.find()
  try:
    with clusters.Waiting(cluster):
      return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=cluster.resolver)
  except tf.errors.OpError as error:
    raise ValueError(f'Expected to listen at {cluster.addresses[cluster.index]}, the address of '
                     f'this worker in {cluster.source}. Received: {short_reason(error)}. Check '
                     'that it is an address of this machine, and that no other job uses the '
                     'port.') from error


def strategy_for(hardware: Hardware) -> tf.distribute.Strategy:
  """Makes the strategy for the replicas of a run.

  Args:
    hardware: the settled options.

  Raises:
    ValueError: if there are too few devices.
  """
  if hardware.worker_replicas == 1:
    return create_strategy(hardware.num_clones, clone_on_cpu=hardware.clone_on_cpu)
  strategy = _of_workers()
  of_worker = strategy.num_replicas_in_sync // hardware.worker_replicas
  if of_worker != hardware.num_clones:
    raise ValueError(f'--num_clones={hardware.num_clones}: expected as many GPUs in each of the '
                     f'{hardware.worker_replicas} workers, or 1 for workers on CPUs. Received: '
                     f'{of_worker}.')
  return strategy


def create_strategy(num_clones: int, *, clone_on_cpu: bool = False) -> tf.distribute.Strategy:
  """Makes the strategy for a number of replicas on this machine.

  Args:
    num_clones: number of replicas, one per GPU; one per logical CPU with `clone_on_cpu`.
    clone_on_cpu: whether to put them on CPUs.

  Raises:
    ValueError: if there are too few devices.
  """
  if num_clones < 1:
    raise ValueError(f'--num_clones: expected at least 1. Received: {num_clones}.')
  if num_clones == 1:
    return tf.distribute.get_strategy()
  kind = 'CPU' if clone_on_cpu else 'GPU'
  if clone_on_cpu:
    _split_cpu(num_clones)
  devices = tf.config.list_logical_devices(kind)
  if len(devices) < num_clones:
    raise ValueError(f'--num_clones={num_clones}: expected that many {kind}s. Received: '
                     f'{len(devices)}. Lower it, or use --clone_on_cpu.')
  return _mirrored(*(device.name for device in devices[:num_clones]), on_cpu=clone_on_cpu)


@functools.cache
def _mirrored(*devices: str, on_cpu: bool) -> tf.distribute.Strategy:
  """Creates a strategy once per process, however many runs it is used for.

  The default collective operations use the same instance names in every strategy of a process, and
  are no faster on CPUs.
  """
  return tf.distribute.MirroredStrategy(
      devices, tf.distribute.ReductionToOneDevice() if on_cpu else None)


def _split_cpu(count: int) -> None:
  """Creates at least that many logical CPUs, unless TensorFlow has already run something."""
  cpu = tf.config.list_physical_devices('CPU')[0]
  # Listing the logical devices would fix their number, so only their configuration is read.
  if len(tf.config.get_logical_device_configuration(cpu) or ()) < count:
    with contextlib.suppress(RuntimeError):
      tf.config.set_logical_device_configuration(
          cpu, [tf.config.LogicalDeviceConfiguration()] * count)
