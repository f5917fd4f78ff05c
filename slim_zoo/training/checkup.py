"""What this machine has for a training run, and what is wrong with it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from files import memory
from files.reasons import short_reason
from slim_zoo.training import cluster as clusters
from slim_zoo.training import gpus, metadata
from slim_zoo.training.progress import Stopwatch

_GIB = 2**30
_MOST_SECONDS, _MOST_BYTES = 5.0, 2**29  # Of reading files.
_LEAST_FREE = _GIB
_SECONDS_TO_MEET, _SECONDS_TO_STAY = 60.0, 3.0


class Finding(NamedTuple):
  """One thing that was looked at.

  Attributes:
    subject: what it is about.
    text: what was found and, if it is wrong, what to do.
    is_wrong: whether it would keep a run from working.
  """
  subject: str
  text: str
  is_wrong: bool = False


def look(*, dataset_dir: str | None = None, train_dir: str | None = None,
         machine: gpus.Machine | None = None) -> Iterator[Finding]:
  """Yields what is found.

  Args:
    dataset_dir: directory of the data; None to leave it out.
    train_dir: directory of the run; None to leave it out.
    machine: where to look for the reason why there is no GPU; by default here.
  """
  yield Finding('programs', ', '.join(f'{name} {version}' for name, version
                                      in metadata.versions().items()))
  yield Finding('machine', f'{socket.gethostname()}: {len(os.sched_getaffinity(0))} CPUs and '
                f'{memory.available() / _GIB:.1f} GiB of memory for this process')
  found = tf.config.list_physical_devices('GPU')
  yield _look_at_gpus(found, machine or gpus.Machine.here())
  if len(found) > 1:
    yield _look_at_shared_memory(pathlib.Path('/dev/shm'))
  if dataset_dir:
    yield _look_at_data(pathlib.Path(dataset_dir))
  if train_dir:
    yield _look_at_folder(pathlib.Path(train_dir))
  yield from _look_at_workers()


def _look_at_gpus(found: list[tf.config.PhysicalDevice], machine: gpus.Machine) -> Finding:
  if found:
    names = [tf.config.experimental.get_device_details(gpu).get('device_name', gpu.name)
             for gpu in found]
    return Finding('GPUs', f'{len(found)}: {", ".join(names)}. --num_clones={len(found)} uses all')
  reason = gpus.why_none(machine)
  if reason:
    return Finding('GPUs', f'none, although this machine seems to have one: {reason}', True)
  return Finding('GPUs', 'none from NVIDIA; the CPU is used')


def _look_at_shared_memory(folder: pathlib.Path) -> Finding:
  """NCCL, by which GPUs of a machine exchange gradients, needs it."""
  size = shutil.disk_usage(folder).total
  text = f'{size / _GIB:.1f} GiB in {folder}'
  if size < _LEAST_FREE:
    return Finding('shared memory', f'{text}. Several GPUs need more: docker run --shm-size=8g, or '
                   'a volume of the kind Memory', True)
  return Finding('shared memory', text)


def _look_at_data(folder: pathlib.Path) -> Finding:
  """Reads files until some time has passed."""
  count = size = 0
  watch = Stopwatch()
  try:
    for place, _, names in os.walk(folder, onerror=_raise, followlinks=True):
      for name in names:
        with open(os.path.join(place, name), 'rb') as file:
          count, size = count + 1, size + len(file.read(_MOST_BYTES))
        if watch.seconds > _MOST_SECONDS or size > _MOST_BYTES:
          break
      if watch.seconds > _MOST_SECONDS or size > _MOST_BYTES:
        break
  except OSError as error:
    return Finding('--dataset_dir', f'{folder} cannot be read ({short_reason(error)}). Check the '
                   'path and its permissions on this machine', True)
  if not count:
    return Finding('--dataset_dir', f'{folder} has no files. Check the path on this machine', True)
  seconds = max(watch.seconds, 1e-9)
  return Finding('--dataset_dir', f'{count / seconds:.0f} files and {size / seconds / 1e6:.0f} MB '
                 'per second, one after the other. Files that were read before come from memory')


def _raise(error: OSError) -> None:
  raise error


def _look_at_folder(folder: pathlib.Path) -> Finding:
  """Writes a file and removes it."""
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(b'x')
      file.flush()
      os.fsync(file.fileno())
    free = shutil.disk_usage(folder).free
  except OSError as error:
    return Finding('--train_dir', f'{folder} cannot be written ({short_reason(error)}). Check the '
                   'path and its permissions on this machine', True)
  if free < _LEAST_FREE:
    return Finding('--train_dir', f'{folder} has {free / _GIB:.2f} GiB left. Free some space', True)
  return Finding('--train_dir', f'{folder} can be written, and has {free / _GIB:.0f} GiB left')


def _look_at_workers() -> Iterator[Finding]:
  """Listens like a worker, and connects to the others, which must do the same at this time."""
  try:
    cluster = clusters.find()
  except ValueError as error:
    yield Finding('workers', str(error), True)
    return
  if cluster is clusters.ALONE:
    yield Finding('workers', 'this one alone; neither TF_CONFIG nor a Slurm step has more')
    return
  own = cluster.addresses[cluster.index]
  try:
    with _listening(int(own.rpartition(':')[2])):
      watch = Stopwatch()
      while (missing := cluster.unreachable()) and watch.seconds < _SECONDS_TO_MEET:
        time.sleep(0.5)
      time.sleep(_SECONDS_TO_STAY)
  except OSError as error:
    yield Finding('workers', f'{cluster.name(cluster.index)} cannot listen '
                  f'({short_reason(error)}). Check that no other job uses the port', True)
    return
  who = f'{cluster.name(cluster.index)} of {len(cluster.addresses)}, from {cluster.source}'
  if missing:
    yield Finding('workers', f'{who}, cannot reach {", ".join(map(cluster.name, missing))}. Run '
                  'this on all of them at the same time, and check names and firewalls', True)
  else:
    yield Finding('workers', f'{who}, reaches all others')


@contextlib.contextmanager
def _listening(port: int) -> Iterator[None]:
  """Accepts connections inside a `with` block."""
  with socket.create_server(('', port)) as server:
    is_over = threading.Event()

    def accept() -> None:
      while not is_over.is_set():
        with contextlib.suppress(OSError):
          server.accept()[0].close()

    server.settimeout(0.2)
    thread = threading.Thread(target=accept)
    thread.start()
    try:
      yield
    finally:
      is_over.set()
      thread.join()
