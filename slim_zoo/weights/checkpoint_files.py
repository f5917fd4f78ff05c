"""Finding checkpoints and their metadata: ours, TF-Slim's and other name-based ones."""

from __future__ import annotations

import difflib
import json
import os
import pathlib
import re
from typing import overload

import tensorflow as tf

from files.plain_paths import plain
from files.reasons import short_reason
from preprocessing import transform

NAME = 'model.ckpt'  # Name of our checkpoints, before the step.


class CheckpointError(ValueError):
  """A checkpoint cannot be read or written; the message says which and what to do."""


def listed(folder: pathlib.Path) -> list[str]:
  """Lists the complete checkpoints in a folder's state file, as prefixes, oldest first."""
  try:
    with plain(folder) as place:
      state = tf.train.get_checkpoint_state(place)
  except ValueError:  # It is damaged; if it cannot be parsed, TensorFlow returns None.
    state = None
  names = []
  if state:  # Users may edit only `model_checkpoint_path` to choose one, as TensorFlow allows.
    newest = state.model_checkpoint_path
    names = [*(n for n in state.all_model_checkpoint_paths if n != newest), newest]
  # The folder may have been moved since, so only the last component is used.
  prefixes = [folder / os.path.basename(name) for name in names]
  return [str(p) for p in prefixes if exists(str(p))]


def numbered(folder: pathlib.Path) -> list[str]:
  """Lists a folder's complete checkpoints that are named like ours, as prefixes sorted by step."""
  prefixes = [str(p)[:-len('.index')] for p in folder.glob(f'{NAME}-*.index')]
  return sorted((p for p in prefixes if step_of(p) >= 0), key=step_of)


def last_phase(folder: pathlib.Path) -> pathlib.Path | None:
  """Returns the folder of the last of a run's --phases that has a checkpoint; None if none has."""
  found = [path for path in folder.glob('phase_*') if re.fullmatch(r'phase_\d+', path.name)
           and (listed(path) or numbered(path))]
  return max(found, key=lambda path: int(path.name.partition('_')[2]), default=None)


def step_of(prefix: str) -> int:
  """Returns the step in a checkpoint's name, or -1 if it has none."""
  found = re.search(rf'{re.escape(NAME)}-(\d+)$', prefix)
  return int(found[1]) if found else -1


def exists(prefix: str) -> bool:
  """Returns whether a checkpoint exists; in TensorFlow's V1 format the prefix is the only file."""
  return os.path.exists(f'{prefix}.index') or os.path.isfile(prefix)


def is_state_file(path: str | os.PathLike) -> bool:
  """Returns whether a file is the one that lists a folder's checkpoints."""
  return os.path.basename(path) == 'checkpoint' and os.path.isfile(path)


@overload
def latest(path: str | os.PathLike) -> str: ...
@overload
def latest(path: str | os.PathLike, *, missing_ok: bool) -> str | None: ...
def latest(path: str | os.PathLike, *, missing_ok: bool = False) -> str | None:
  """Finds the checkpoint that a path refers to.

  Args:
    path: a checkpoint's prefix, its index or data file, a folder with checkpoints or its file
      `checkpoint`, or a single-file checkpoint in TensorFlow's V1 format.
    missing_ok: whether to return None if there is none.

  Returns:
    The prefix of the newest checkpoint.

  Raises:
    CheckpointError: if there is none.
  """
  path = pathlib.Path(path)
  if is_state_file(path):
    path = path.parent
  if path.is_dir():
    known = listed(path) or numbered(path)
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
        + (f'several, and no file "checkpoint" that selects one: {", ".join(loose)}. '
           'Give the path of one of them.' if loose else 'a folder without any (*.index).'))
  prefix = re.sub(r'\.(index|data-\d{5}-of-\d{5}|meta|json)$', '', str(path))
  if exists(prefix):
    return prefix
  if missing_ok:
    return None
  hint = sorted(p.name for p in path.parent.glob('*.index')) if path.parent.is_dir() else []
  if prefix == str(path) and re.search(r'\.[a-z]\w{1,11}$', path.name) and (
      not path.name.endswith('.ckpt')):
    raise CheckpointError(f'{path}: expected weights. Received: no such file.'
                          + _similar_files(path))
  raise CheckpointError(f'{prefix}: expected a checkpoint, or a directory with one. Received: '
                        f'neither such a directory nor a file {prefix}.index.'
                        + (f' The folder has: {", ".join(hint)}.' if hint else ''))


def _similar_files(path: pathlib.Path) -> str:
  """Names the files with a similar name in the folder of a missing one."""
  if not path.parent.is_dir():
    return f' There is no folder {path.parent} either.'
  names = sorted(other.name for other in path.parent.iterdir() if other.is_file())
  close = difflib.get_close_matches(path.name, names, n=3)
  return f' Its folder has: {", ".join(close)}.' if close else ''


def read_metadata(prefix: str, *, of_export: bool = False, of_run: bool = False) -> dict:
  """Reads the metadata next to a checkpoint; {} if there is none, as for TF-Slim's checkpoints.

  Args:
    prefix: prefix of the checkpoint, or the path of a file in another format.
    of_export: whether to accept only a description written by `export`; unrelated JSON next to such
      files gives {}.
    of_run: whether a run is resumed, which needs more entries.

  Raises:
    CheckpointError: if the metadata are damaged.
  """
  path = pathlib.Path(f'{prefix}.json')
  if not path.exists():
    return {}
  try:
    metadata = json.loads(path.read_text(encoding='utf-8'))
  except (ValueError, RecursionError) as error:
    raise CheckpointError(f'{path} is damaged ({short_reason(error)}). Restore it, or remove it '
                          'and set the model and its classes by flags.') from error
  if of_export and not (isinstance(metadata, dict) and 'export' in metadata):
    return {}
  if not isinstance(metadata, dict):
    raise CheckpointError(f'{path}: expected a JSON object. Received: {type(metadata).__name__}.')
  wrong = [f'{key} is {metadata[key]!r:.80}' for key, is_valid in _VALID.items()
           if key in metadata and not is_valid(metadata[key])]
  if of_run and 'format' in metadata:  # Converted weights have no format.
    wrong += [f'{key} is missing' for key in _OF_RUNS if key not in metadata]
    wrong += [f'{key} of dataset is missing' for key in ('validation_fingerprint',)
              if key not in metadata.get('dataset', ())]
  if wrong:
    raise CheckpointError(f'{path} is damaged: {wrong[0]}. Restore it, or remove it and set the '
                          'model and its classes by flags.')
  return metadata


def _are_counts(value: object) -> bool:
  return isinstance(value, dict) and all(map(_is_count, value.values()))


def _is_name(value: object) -> bool:
  return isinstance(value, str)


def _is_transform(value: object) -> bool:
  try:
    transform.from_json(value)
  except ValueError:
    return False
  return True


def _is_count(value: object) -> bool:
  return type(value) is int and value >= 0


_OF_RUNS = ('dataset', 'flags', 'standing', 'step')
_STANDING = {
    'best_value': lambda value: value is None or type(value) in (int, float),
    'best_step': lambda value: value is None or _is_count(value),
    'validations_since_best': _is_count,
    'stopped_early': lambda value: type(value) is bool,
    'validation_due': lambda value: type(value) is bool,
    'validations_on_plateau': _is_count,
    'rate_drops': _is_count,
}
# Checks of the metadata that the programs rely on.
_VALID = {
    'model_name': _is_name,
    'preprocessing_name': _is_name,
    'transform': _is_transform,
    'class_names': lambda value: isinstance(value, list) and all(map(_is_name, value)),
    'image_size': lambda value: type(value) is int and 1 <= value <= 10_000,
    'channels': lambda value: type(value) is int and value in (1, 3),
    'flags': lambda value: isinstance(value, dict) and all(
        isinstance(flag, (str, int, float, type(None))) for flag in value.values()),
    'step': _is_count,
    'labels_offset': _is_count,
    'standing': lambda value: isinstance(value, dict) and all(
        key in _STANDING and _STANDING[key](entry) for key, entry in value.items()),
    'dataset': lambda value: isinstance(value, dict) and {'fingerprint', 'num_examples'} <= {
        *value} and _are_counts(value.get('class_counts', {})),
    'bad_images': lambda value: isinstance(value, dict) and all(
        isinstance(names, list) and all(map(_is_name, names)) for names in value.values()),
    'started_from': lambda value: value is None or _is_name(value),
}
