"""Set-up of all tests: a quiet TensorFlow on two logical CPUs, and temporary caches."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types

import pytest

from slim_zoo.config import command_line

# All of this is set before TensorFlow is imported, and in the environment rather than by calls, so
# that the programs that tests start as processes of their own inherit it.
_HOME = tempfile.mkdtemp(prefix='slim-zoo-tests-')
os.environ.update({
  'TF_CPP_MIN_LOG_LEVEL': '3',  # Else it logs as errors that there is no GPU and no AVX-512.
  'CUDA_VISIBLE_DEVICES': '-1',  # The same result on every machine.
  'XDG_CACHE_HOME': os.path.join(_HOME, 'cache'),  # Leaves the user's caches unchanged.
  'KERAS_HOME': os.path.join(_HOME, 'keras'),
  'TFDS_DATA_DIR': os.path.join(_HOME, 'tfds'),
})
if int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1')) > 1:
  # The workers share the cores: more threads than cores only wait for each other.
  for _name in ('TF_NUM_INTRAOP_THREADS', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')


def pytest_configure(config):
  if config.getoption('dist', 'no') != 'no' and not hasattr(config, 'workerinput'):
    return  # This process only distributes tests to xdist's workers and needs no TensorFlow.
  import tensorflow as tf

  # Tests of replicas need a second device, and the number of devices cannot change once TensorFlow
  # has run anything. Code that names no device runs on the first one, bit for bit as with one CPU.
  tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2
  )


def pytest_unconfigure():
  shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope='session')
def zoo_assets() -> pathlib.Path:
  """The folder of real images and weights in the environment variable ZOO_ASSETS."""
  folder = os.environ.get('ZOO_ASSETS')
  if not folder:
    pytest.skip('needs real images and weights: set ZOO_ASSETS to their folder')
  path = pathlib.Path(folder)
  if not path.is_dir():
    raise FileNotFoundError(f'Expected ZOO_ASSETS to name a folder. Received: {folder!r}.')
  return path


_ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def start_script():
  """Starts one of the programs as a user does: `start_script('train_image_classifier', …flags)`."""

  def start(name: str, *flags: str, **arguments) -> subprocess.Popen:
    command = [sys.executable, str(_ROOT / f'{name}.py'), *flags]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **arguments)

  return start


@pytest.fixture(scope='session')
def run_script(start_script):
  """Runs one of the programs to its end; returns (exit code, stdout, stderr)."""

  def run(name: str, *flags: str, **arguments) -> tuple[int, str, str]:
    process = start_script(name, *flags, **arguments)
    out, err = process.communicate(timeout=500)
    return process.returncode, out, err

  return run


@pytest.fixture(scope='session')
def in_process():
  """Runs programs in this process, which is quicker than starting them.

  `with in_process('predict_image') as run:` loads one; `run(*arguments)` parses the arguments,
  calls its `main`, and returns the exit code. Errors are raised.
  """

  @contextlib.contextmanager
  def loaded(name: str):
    module = importlib.import_module(name)

    def run(*arguments) -> int:
      with pytest.MonkeyPatch.context() as patch:
        # A second or two for each of hundreds of runs; the recorder's tests draw them.
        for method in ('draw', 'draw_curves'):
          patch.setattr(f'slim_zoo.training.recorder.Recorder.{method}',
                        lambda recorder, *unused, **unused_too: None)
        return command_line.call(module.main, module.OPTIONS, [*map(str, arguments)],
                                 retired=getattr(module, 'RETIRED', None),
                                 takes_arguments=name == 'predict_image')

    yield run

  return loaded


@pytest.fixture(scope='session')
def run_here(in_process):
  """Like `run_script`, but in this process, which is faster.

  Tests about processes need `run_script`. Errors other than user errors are raised.
  """
  import tensorflow as tf

  def run(name: str, *flags: str) -> tuple[int, str, str]:
    out, errors = io.StringIO(), io.StringIO()
    with in_process(name) as program, contextlib.redirect_stdout(out), \
        contextlib.redirect_stderr(errors):
      try:
        code = program(*flags) or 0
      except (ValueError, OSError, tf.errors.OpError) as error:
        code = 1
        print(f'Error: {command_line.message(error)}', file=errors)
    return code, out.getvalue(), errors.getvalue()

  return run


class _Killed(BaseException):
  """Simulates the end of the process."""


@pytest.fixture
def killed(monkeypatch):
  """Simulates a kill at any step that changes the disk.

  `with killed(n) as outcome:` ends the block at its n-th step; `outcome.reached` then states
  whether there were that many.
  """
  names = ('fsync', 'replace', 'truncate', 'posix_fallocate', 'mkdir', 'rmdir', 'unlink')

  @contextlib.contextmanager
  def at(number: int):
    outcome, calls = types.SimpleNamespace(reached=False), 0

    def watch(original):
      def step(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls == number:
          raise _Killed
        return original(*arguments, **keywords)

      return step

    with monkeypatch.context() as patches:
      for name in [name for name in names if hasattr(os, name)]:
        patches.setattr(os, name, watch(getattr(os, name)))
      try:
        yield outcome
      except _Killed:
        outcome.reached = True

  return at
