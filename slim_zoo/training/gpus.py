"""Explains why TensorFlow finds no GPU on a machine that seems to have one from NVIDIA."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Mapping

import tensorflow as tf

_VERSION = 'proc/driver/nvidia/version'
# The oldest major version of the driver for each major version of CUDA:
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, table 1.
_FIRST_DRIVERS = {11: 450, 12: 525, 13: 580}
_PROBE = "import tensorflow as tf; tf.config.list_physical_devices('GPU')"
_SECONDS = 120
_HINT = 'Run scripts/setup_env.sh --gpu'


@dataclasses.dataclass(frozen=True)
class Machine:
  """Where to look.

  Attributes:
    root: folder that contains `proc` and `dev`.
    environment: the environment variables.
    build: result of `tf.sysconfig.get_build_info`.
    packages: names of the installed Python packages.
    list_gpus: returns the list of `nvidia-smi -L`; '' if it is not installed.
    probe: returns what TensorFlow logs when it looks for GPUs.
  """
  root: pathlib.Path
  environment: Mapping[str, str]
  build: Mapping[str, object]
  packages: frozenset[str]
  list_gpus: Callable[[], str]
  probe: Callable[[], str]

  @classmethod
  def here(cls) -> Machine:
    """Returns this machine."""
    packages = frozenset(name for found in importlib.metadata.distributions()
                         if (name := found.metadata['Name']))
    return cls(pathlib.Path('/'), os.environ, tf.sysconfig.get_build_info(), packages,
               lambda: _printed(['nvidia-smi', '-L'])[0],
               # In a new process, because logging is switched off in this one.
               lambda: _printed([sys.executable, '-c', _PROBE], TF_CPP_MIN_LOG_LEVEL='0')[1])


def why_none(machine: Machine) -> str | None:
  """Explains why TensorFlow has found no GPU.

  Args:
    machine: where to look.

  Returns:
    A sentence or two, with what to do; None if there is neither an NVIDIA GPU nor its driver.
  """
  devices = sorted((machine.root / 'dev').glob('nvidia[0-9]*'))
  # The Windows Subsystem for Linux has neither of these files.
  if not (devices or (machine.root / _VERSION).exists() or 'GPU' in machine.list_gpus()):
    return None
  reasons = (_hidden(machine, len(devices)), _closed(machine, devices), _without_cuda(machine),
             _old_driver(machine))
  return next((reason for reason in reasons if reason), None) or _told(machine)


def _hidden(machine: Machine, count: int) -> str | None:
  """Checks whether an environment variable hides every GPU."""
  value = machine.environment.get('CUDA_VISIBLE_DEVICES')
  if value is None:
    return None
  first = value.split(',')[0].strip()  # Everything after an invalid number is ignored too.
  if first.startswith(('GPU-', 'MIG-')) or (first.isdecimal() and int(first) < max(count, 1)):
    return None
  return (f'CUDA_VISIBLE_DEVICES={value!r} hides {"it" if count == 1 else "them"}. Unset it, or '
          'give it the number of a GPU, from 0')


def _without_cuda(machine: Machine) -> str | None:
  """Checks whether TensorFlow lacks CUDA."""
  if not machine.build.get('is_cuda_build'):
    return f'this TensorFlow is built without CUDA. {_HINT}'
  if not any(name.lower().startswith('nvidia-cudnn') for name in machine.packages) and not (
      machine.environment.get('LD_LIBRARY_PATH')):
    return f"CUDA's libraries are not installed beside TensorFlow. {_HINT}"
  return None


def _closed(machine: Machine, devices: list[pathlib.Path]) -> str | None:
  """Checks whether this process may not use the GPUs."""
  if not devices:
    if (machine.root / _VERSION).exists():
      return ('the driver is loaded, but there is no /dev/nvidia0. Start the container with its '
              'GPUs (docker run --gpus all), or ask the scheduler for one')
    return None
  for device in devices:
    try:
      os.close(os.open(device, os.O_RDWR))
      return None
    except OSError as error:
      reason = error.strerror
  return (f'/dev/{devices[0].name} cannot be opened ({reason}). Ask the scheduler for a GPU, or '
          'the administrator for the right to use it')


def _old_driver(machine: Machine) -> str | None:
  """Checks whether the driver is older than TensorFlow's CUDA."""
  cuda = str(machine.build.get('cuda_version') or '')
  first = _FIRST_DRIVERS.get(int(found[0])) if (found := re.match(r'\d+', cuda)) else None
  try:
    text = (machine.root / _VERSION).read_text(encoding='utf-8', errors='replace')
  except OSError:
    return None
  driver = re.search(r'\b\d{3,}(\.\d+)+\b', text.partition('\n')[0])
  if not (first and driver) or int(driver[0].split('.')[0]) >= first:
    return None
  return (f"NVIDIA's driver has version {driver[0]}, but TensorFlow's CUDA {cuda} needs "
          f'{first} or newer. Install a newer driver')


def _told(machine: Machine) -> str:
  """Returns what TensorFlow logs, if no known reason applies."""
  lines = [re.sub(r'^[IWE]\d{4} \S+ +\d+ |^\d{4}-\S+ \S+ [IWE] ', '', line)
           for line in machine.probe().splitlines()]
  lines = [line for line in lines
           if re.search(r'cuda|gpu|nvidia|dlopen|librar', line, re.IGNORECASE)
           and not line.startswith('WARNING: All log messages')]
  if not lines:
    return 'TensorFlow does not say why. Check whether `nvidia-smi` lists a GPU'
  return 'TensorFlow says:\n' + '\n'.join(f'  {line}' for line in dict.fromkeys(lines))


def _printed(command: list[str], **environment: str) -> tuple[str, str]:
  """Runs a program; returns what it prints and logs, '' if it cannot be run."""
  try:
    done = subprocess.run(command, env={**os.environ, **environment}, timeout=_SECONDS,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors='replace', check=False)
  except (OSError, subprocess.TimeoutExpired):
    return '', ''
  return done.stdout, done.stderr
