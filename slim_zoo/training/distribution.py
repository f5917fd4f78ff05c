"""Devices that a run uses."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys

import tensorflow as tf

from slim_zoo.training import gpus


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


def _num_machines() -> int:
  """Counts the machines that the environment variable `TF_CONFIG` describes."""
  text = os.environ.get('TF_CONFIG') or '{}'
  try:
    jobs = json.loads(text).get('cluster', {}).values()
    return sum(len(addresses) for addresses in jobs)
  except (ValueError, AttributeError, RecursionError, TypeError) as error:
    raise ValueError('TF_CONFIG: expected a JSON object with a "cluster" of lists of addresses. '
                     f'Received: {text!r}. Unset it.') from error


def create_strategy(num_clones: int, *, clone_on_cpu: bool = False) -> tf.distribute.Strategy:
  """Makes the strategy for a number of replicas on this machine.

  Args:
    num_clones: number of replicas, one per GPU; one per logical CPU with `clone_on_cpu`.
    clone_on_cpu: whether to put them on CPUs.

  Raises:
    ValueError: if there are too few devices, or if `TF_CONFIG` describes several machines, each of
      which would train on its own.
  """
  if _num_machines() > 1:
    raise ValueError('TF_CONFIG describes several machines. Expected: one machine with '
                     '--num_clones GPUs; training over several is not supported yet. Unset '
                     'TF_CONFIG to train on this machine alone.')
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
