"""Writing name-based checkpoints, as `tf.compat.v1.train.Saver` does, each complete or absent.

A checkpoint `model.ckpt-1000` is the files `.data-00000-of-00001`, `.json` (the metadata) and
`.index`; `checkpoint` names the newest one. They are written to a temporary folder, flushed to
the disk, and renamed in this order, so that a checkpoint with an index is always complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping

import tensorflow as tf
from google.protobuf import text_format

from files.reasons import short_reason
from files.replacing import sync
from slim_zoo.weights import checkpoint_files
from slim_zoo.weights.checkpoint_files import NAME, CheckpointError

_ASIDE = '.saving'
_DATA = '.data-00000-of-00001'


def save(folder: str | os.PathLike, step: int, values: Mapping[str, tf.Tensor], *,
         metadata: dict, max_to_keep: int) -> str:
  """Writes a checkpoint and removes the oldest ones beyond `max_to_keep`.

  Args:
    folder: folder of the checkpoints; created if necessary.
    step: the global step, part of the name.
    values: what to save, `{name: tensor}`.
    metadata: written as JSON beside the checkpoint.
    max_to_keep: how many of the newest checkpoints to keep in the folder; at least 1.

  Returns:
    The checkpoint's prefix, `folder/model.ckpt-<step>`.

  Raises:
    CheckpointError: if it cannot be written; earlier checkpoints are left unchanged.
  """
  folder = pathlib.Path(folder)
  prefix = folder / f'{NAME}-{step}'
  aside = folder / _ASIDE
  try:
    aside.mkdir(parents=True, exist_ok=True)
    _write_aside(aside / prefix.name, values, metadata)
    # An interruption must not leave an index that belongs to other data.
    with contextlib.suppress(FileNotFoundError):
      os.remove(f'{prefix}.index')
    for suffix in (_DATA, '.json', '.index'):
      os.replace(f'{aside / prefix.name}{suffix}', f'{prefix}{suffix}')
    sync(folder)
    # A kill may have kept older checkpoints out of the state file; they are dropped first.
    listed = [p for p in checkpoint_files.listed(folder) if p != str(prefix)]
    unlisted = [p for p in checkpoint_files.numbered(folder)
                if checkpoint_files.step_of(p) < step and p not in listed]
    ordered = [*unlisted, *listed, str(prefix)]
    kept, dropped = ordered[-max_to_keep:], ordered[:-max_to_keep]
    _write_state(folder, [os.path.basename(p) for p in kept])
    for old in dropped:
      remove(old)
  except (OSError, tf.errors.OpError) as error:
    last = checkpoint_files.latest(folder, missing_ok=True) if folder.is_dir() else None
    raise CheckpointError(
        f'The checkpoint {prefix} could not be written: {short_reason(error)}. Free some space or '
        f'repair the folder, then run the same command again; it continues from '
        f'{last or "the start, since nothing was saved before"}.') from error
  finally:
    shutil.rmtree(aside, ignore_errors=True)
  return str(prefix)


def _write_aside(prefix: pathlib.Path, values: Mapping[str, tf.Tensor], metadata: dict) -> None:
  names = sorted(values)
  with tf.device('CPU:0'):
    tf.raw_ops.SaveV2(
        prefix=os.fsencode(prefix),  # A path need not be UTF-8.
        tensor_names=names, shape_and_slices=[''] * len(names),
        tensors=[tf.convert_to_tensor(values[name]) for name in names])
  pathlib.Path(f'{prefix}.json').write_text(json.dumps(metadata, indent=1) + '\n', encoding='utf-8')
  for suffix in (_DATA, '.json', '.index'):
    sync(f'{prefix}{suffix}')


def _write_state(folder: pathlib.Path, names: list[str]) -> None:
  """Writes the file `checkpoint`: the newest checkpoint, then all of them, oldest first."""
  # For a relative folder, TensorFlow would write paths relative to the working directory.
  state = tf.compat.v1.train.generate_checkpoint_state_proto(
      os.path.abspath(folder), names[-1], all_model_checkpoint_paths=names)
  aside = folder / _ASIDE / 'checkpoint'
  aside.write_text(text_format.MessageToString(state), encoding='utf-8')
  sync(aside)
  os.replace(aside, folder / 'checkpoint')
  sync(folder)


def remove(prefix: str) -> None:
  """Removes a checkpoint, its index first."""
  for suffix in ('.index', '.json', _DATA):
    with contextlib.suppress(FileNotFoundError):
      os.remove(f'{prefix}{suffix}')
