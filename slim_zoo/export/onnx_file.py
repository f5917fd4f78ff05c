"""ONNX models: `.onnx`, for ONNX Runtime and what else reads them.

tf2onnx converts the frozen graph, in a process of its own because it changes global state of
TensorFlow. It is in the extra `onnx`.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

from slim_zoo.export import frozen_graph, runner
from slim_zoo.export.model import LOGITS, PROBABILITIES, Model

INPUT = 'images'
# ONNX Runtime has had it since 2022, and with it everything that the networks need.
_OPSET = 17
_NEEDED = ('tf2onnx', 'onnxruntime')


def write(model: Model, path: str | os.PathLike[str]) -> None:
  """Converts the network.

  Raises:
    ValueError: if it cannot be converted, or the extra is not installed.
  """
  missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
  if missing:
    raise ValueError(f'Expected: the packages of ONNX. Received: no {" and no ".join(missing)}. '
                     'Install them with scripts/setup_env.sh --onnx.')
  with tempfile.TemporaryDirectory() as folder:
    graph = pathlib.Path(folder, 'graph.pb')
    frozen_graph.write(model, graph)
    command = [sys.executable, '-m', 'tf2onnx.convert', f'--graphdef={graph}',
               f'--output={os.fspath(path)}', f'--opset={_OPSET}',
               f'--inputs={frozen_graph.INPUT}:0', f'--rename-inputs={INPUT}',
               f'--outputs={LOGITS}:0,{PROBABILITIES}:0',
               f'--rename-outputs={LOGITS},{PROBABILITIES}']
    done = subprocess.run(command, capture_output=True, text=True, errors='replace', check=False)
  if done.returncode or not os.path.exists(path):
    reason = done.stderr.strip().rpartition('\n')[2] or f'exit code {done.returncode}'
    raise ValueError(f'Expected: a network that tf2onnx can convert. Received: {reason}. Choose '
                     'another target.')


def open_export(path: str | os.PathLike[str]) -> runner.Runner:
  """Loads a model on the CPU."""
  import onnxruntime  # Only in the extra.
  try:
    session = onnxruntime.InferenceSession(os.fspath(path), providers=['CPUExecutionProvider'])
  except Exception as error:  # Of private types.
    raise ValueError('Expected: a network that ONNX Runtime can run. Received: '
                     f'{error}. Choose another target.') from error
  return {runner.IMAGES: lambda batch: session.run([LOGITS], {INPUT: batch})[0]}
