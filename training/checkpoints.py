"""Writing name-based checkpoints, as `tf.compat.v1.train.Saver` does, each complete or absent.

A checkpoint `model.ckpt-1000` is the files `.data-00000-of-00001`, `.json` (the metadata) and
`.index`; `checkpoint` names the newest one. They are written in a folder aside, flushed to the
disk, and renamed in this order, so that whatever has an index is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Mapping

import tensorflow as tf
from google.protobuf import text_format

_NAME = 'model.ckpt'
_ASIDE = '.saving'
_DATA = '.data-00000-of-00001'


class CheckpointError(ValueError):
  """A checkpoint cannot be read or written; the message says which and what to do."""


def save(folder: str | os.PathLike, step: int, values: Mapping[str, tf.Tensor], metadata: dict, *,
         max_to_keep: int) -> str:
  """Writes a checkpoint and removes those that are too many.

  Args:
    folder: where checkpoints lie; made if need be.
    step: the global step, part of the name.
    values: what to save, `{name: tensor}`.
    metadata: written as JSON beside the checkpoint.
    max_to_keep: how many checkpoints to keep in the folder, the newest; at least 1.

  Returns:
    The checkpoint's prefix, `folder/model.ckpt-<step>`.

  Raises:
    CheckpointError: if it cannot be written; what was saved before is as it was.
  """
  folder = pathlib.Path(folder)
  prefix = folder / f'{_NAME}-{step}'
  aside = folder / _ASIDE
  try:
    aside.mkdir(parents=True, exist_ok=True)
    _write_aside(aside / prefix.name, values, metadata)
    # Rather none for a moment than, interrupted, an index of other data.
    with contextlib.suppress(FileNotFoundError):
      os.remove(f'{prefix}.index')
    for suffix in (_DATA, '.json', '.index'):
      os.replace(f'{aside / prefix.name}{suffix}', f'{prefix}{suffix}')
    _sync(folder)
    # What a kill kept out of the state file is old as well, and is dropped first.
    listed = [p for p in _listed(folder) if p != str(prefix)]
    unlisted = [p for p in _numbered(folder) if _step_of(p) < step and p not in listed]
    ordered = [*unlisted, *listed, str(prefix)]
    kept, dropped = ordered[-max_to_keep:], ordered[:-max_to_keep]
    _write_state(folder, [os.path.basename(p) for p in kept])
    for old in dropped:
      remove(old)
  except (OSError, tf.errors.OpError) as error:
    reason = str(error).split('\n')[0]
    last = latest(folder, missing_ok=True) if folder.is_dir() else None
    raise CheckpointError(
        f'The checkpoint {prefix} could not be written: {reason}. Free some space or mend the '
        f'folder, then run the same command again; it goes on from '
        f'{last or "the start, since nothing was saved before"}.') from error
  finally:
    shutil.rmtree(aside, ignore_errors=True)
  return str(prefix)


def _write_aside(prefix: pathlib.Path, values: Mapping[str, tf.Tensor], metadata: dict) -> None:
  names = sorted(values)
  with tf.device('CPU:0'):
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[''] * len(names),
                      tensors=[tf.convert_to_tensor(values[name]) for name in names])
  pathlib.Path(f'{prefix}.json').write_text(json.dumps(metadata, indent=1) + '\n', encoding='utf-8')
  for suffix in (_DATA, '.json', '.index'):
    _sync(f'{prefix}{suffix}')


def _write_state(folder: pathlib.Path, names: list[str]) -> None:
  """Writes the file `checkpoint` that names the newest checkpoint and all, the oldest first."""
  state = tf.compat.v1.train.generate_checkpoint_state_proto(
      str(folder), names[-1], all_model_checkpoint_paths=names)
  aside = folder / _ASIDE / 'checkpoint'
  aside.write_text(text_format.MessageToString(state), encoding='utf-8')
  _sync(aside)
  os.replace(aside, folder / 'checkpoint')
  _sync(folder)


def _sync(path) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def remove(prefix: str) -> None:
  """Removes a checkpoint, its index first."""
  for suffix in ('.index', '.json', _DATA):
    with contextlib.suppress(FileNotFoundError):
      os.remove(f'{prefix}{suffix}')


def _listed(folder: pathlib.Path) -> list[str]:
  """Prefixes of the whole checkpoints that the state file of a folder names, the oldest first."""
  try:
    state = tf.train.get_checkpoint_state(str(folder))
  except ValueError:  # It is damaged; where it cannot be parsed, TensorFlow returns None.
    state = None
  names = []
  if state:  # People edit `model_checkpoint_path` alone to choose one, and TensorFlow goes by it.
    newest = state.model_checkpoint_path
    names = [*(n for n in state.all_model_checkpoint_paths if n != newest), newest]
  # A folder may have been moved since: only the last component is believed.
  prefixes = [folder / os.path.basename(name) for name in names]
  return [str(p) for p in prefixes if _exists(str(p))]


def _numbered(folder: pathlib.Path) -> list[str]:
  """Prefixes of the whole checkpoints of a folder that are named as ours are, by their step."""
  prefixes = [str(p)[:-len('.index')] for p in folder.glob(f'{_NAME}-*.index')]
  return sorted((p for p in prefixes if _step_of(p) >= 0), key=_step_of)


def _step_of(prefix: str) -> int:
  """The step in a checkpoint's name, or -1 if it has none."""
  found = re.search(rf'{re.escape(_NAME)}-(\d+)$', prefix)
  return int(found[1]) if found else -1


def _exists(prefix: str) -> bool:
  """Whether there is a checkpoint; those of TensorFlow's first format are one file, the prefix."""
  return os.path.exists(f'{prefix}.index') or os.path.isfile(prefix)


def latest(path: str | os.PathLike, *, missing_ok: bool = False) -> str | None:
  """Finds the checkpoint that a path means.

  Args:
    path: a checkpoint's prefix, its index or data file, a folder with checkpoints, or the one file
      that a checkpoint of TensorFlow's first format is.
    missing_ok: whether None may be returned where there is none.

  Returns:
    The prefix of the newest checkpoint.

  Raises:
    CheckpointError: if there is none.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    known = _listed(path) or _numbered(path)
    if known:
      return known[-1]
    loose = sorted([str(p)[:-len('.index')] for p in path.glob('*.index')]
                   + [str(p) for p in path.glob('*.ckpt') if p.is_file()])
    if len(loose) == 1:
      return loose[0]
    if missing_ok and not loose:
      return None
    raise CheckpointError(
        f'{path}: expected a folder with a checkpoint. Received: '
        + (f'several, and no file named "checkpoint" that names one: {", ".join(loose)}. '
           'Give the path of one of them.' if loose else 'a folder without any (*.index).'))
  prefix = re.sub(r'\.(index|data-\d{5}-of-\d{5}|meta|json)$', '', str(path))
  if _exists(prefix):
    return prefix
  if missing_ok:
    return None
  hint = sorted(p.name for p in path.parent.glob('*.index')) if path.parent.is_dir() else []
  raise CheckpointError(f'{prefix}: expected a checkpoint. Received: no file {prefix}.index.'
                        + (f' The folder has: {", ".join(hint)}.' if hint else ''))


def read_metadata(prefix: str) -> dict:
  """Reads the metadata beside a checkpoint; TF-Slim's checkpoints have none, which gives {}."""
  path = pathlib.Path(f'{prefix}.json')
  if not path.exists():
    return {}
  try:
    metadata = json.loads(path.read_text(encoding='utf-8'))
  except (ValueError, UnicodeDecodeError) as error:
    raise CheckpointError(f'{path} is damaged ({error}). Restore it, or remove it and name the '
                          'model and its classes by flags.') from error
  if not isinstance(metadata, dict):
    raise CheckpointError(f'{path}: expected a JSON object. Received: {type(metadata).__name__}.')
  return metadata
