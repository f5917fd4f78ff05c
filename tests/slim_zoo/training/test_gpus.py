"""The reasons why no GPU is found, on simulated machines."""

from __future__ import annotations

import os
import pathlib
import re

import pytest

from slim_zoo.training import distribution, gpus

_VERSION = ('NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Sat Apr  6 01:22:33 UTC 2024\n'
            'GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n')
_OPEN = 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs)\n'
_CUDA = {'is_cuda_build': True, 'cuda_version': '12.5.1'}
_LOG = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795630966.538498     858 port.cc:153] oneDNN custom operations are on.
W0000 00:00:1795630966.539305     858 gpu_device.cc:2365] Cannot dlopen some GPU libraries.
W0000 00:00:1795630966.539306     858 gpu_device.cc:2365] Cannot dlopen some GPU libraries.
E0000 00:00:1795630970.311431     858 cuda_platform.cc:52] failed call to cuInit
"""


def _fail() -> str:
  raise AssertionError('TensorFlow is asked where the reason is known')


def _machine(root: pathlib.Path, *, version: str = '', devices=('nvidia0', 'nvidiactl'),
             environment=None, build=None, packages=('nvidia-cudnn-cu12',), listed='',
             probe=_fail) -> gpus.Machine:
  for name in devices:
    (root / 'dev').mkdir(exist_ok=True)
    (root / 'dev' / name).touch()
  if version:
    (root / 'proc/driver/nvidia').mkdir(parents=True)
    (root / 'proc/driver/nvidia/version').write_text(version)
  return gpus.Machine(root, environment or {}, build or _CUDA, frozenset(packages), lambda: listed,
                      probe)


_NEW = _VERSION.format('550.54.14')
_CASES = {
  'hidden': ({'environment': {'CUDA_VISIBLE_DEVICES': '-1'}}, "CUDA_VISIBLE_DEVICES='-1'"),
  'hidden by nothing': ({'environment': {'CUDA_VISIBLE_DEVICES': ''}}, "DEVICES=''"),
  'hidden by the scheduler': ({'environment': {'CUDA_VISIBLE_DEVICES': 'NoDevFiles'}},
                              'NoDevFiles'),
  'hidden by a number too large': ({'environment': {'CUDA_VISIBLE_DEVICES': '2,0'},
                                    'devices': ('nvidia0', 'nvidia1')}, "DEVICES='2,0'"),
  'the build for the CPU': ({'build': {'is_cuda_build': False}},
                            'setup_env.sh --gpu'),
  'no libraries': ({'packages': ('numpy', 'tensorflow')}, 'setup_env.sh --gpu'),
  'an old driver': ({'version': _VERSION.format('470.256.02')},
                    r'470.256.02.*12\.5\.1.* 525\b'),
  'an old open driver': ({'version': _OPEN.format('515.43.04')}, r'515.43.04.* 525\b'),
  'a container without devices': ({'devices': (), 'version': _NEW}, '/dev/nvidia0.*--gpus all'),
  'Windows': ({'devices': (), 'listed': 'GPU 0: NVIDIA GeForce', 'packages': ()}, 'setup_env.sh'),
  'another reason': (
    {'version': _NEW, 'probe': lambda: _LOG},
    r'(?s)\n  gpu_device.cc:2365\] Cannot dlopen some GPU libraries.\n'
    r'  cuda_platform.cc:52\] failed call to cuInit$'),
  'a reason of which nothing is known': ({'version': _NEW, 'probe': lambda: ''}, 'nvidia-smi'),
  'a version that is not understood': ({'version': 'NVRM\n', 'probe': lambda: ''}, 'nvidia-smi'),
  'libraries from elsewhere': (
    {'packages': (), 'environment': {'LD_LIBRARY_PATH': '/cuda'}, 'probe': lambda: _LOG}, 'dlopen'),
  'one of several': ({'environment': {'CUDA_VISIBLE_DEVICES': '0'}, 'probe': lambda: _LOG},
                     'dlopen'),
  'one by its name': ({'environment': {'CUDA_VISIBLE_DEVICES': 'GPU-4f'}, 'probe': lambda: _LOG},
                      'dlopen'),
}


@pytest.mark.parametrize('case', _CASES)
def test_reason_is_reported(tmp_path, case):
  arguments, expected = _CASES[case]
  assert re.search(expected, gpus.why_none(_machine(tmp_path, **arguments)))


def test_device_without_permission(tmp_path, monkeypatch):
  def refuse(path, flags):
    raise PermissionError(1, 'Operation not permitted', path)

  machine = _machine(tmp_path, version=_NEW)
  monkeypatch.setattr(os, 'open', refuse)
  assert re.search('/dev/nvidia0.*Operation not permitted', gpus.why_none(machine))


@pytest.mark.parametrize('environment', [{}, {'CUDA_VISIBLE_DEVICES': '-1'}])
def test_no_report_without_a_gpu(tmp_path, environment):
  machine = _machine(tmp_path, devices=(), packages=(), environment=environment)
  assert gpus.why_none(machine) is None
  (tmp_path / 'dev').mkdir()
  (tmp_path / 'dev' / 'nvidiactl').touch()
  assert gpus.why_none(machine) is None


@pytest.mark.slow
def test_tensorflow_is_probed_in_a_separate_process():
  assert re.search('GPU|CUDA', gpus.Machine.here().probe())


def test_reason_is_printed_once_and_not_for_cpu_runs(monkeypatch, capsys):
  distribution._say_why_no_gpu.cache_clear()
  monkeypatch.setattr(gpus, 'why_none', lambda machine: 'it is hidden')
  distribution.prepare_devices(clone_on_cpu=True)
  assert capsys.readouterr().err == ''
  for _ in range(2):
    distribution.prepare_devices()
  assert capsys.readouterr().err.count('it is hidden') == 1
  distribution._say_why_no_gpu.cache_clear()
