"""What a comparison keeps of each network: its features, and what was measured."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from slim_zoo.features import formats
from slim_zoo.features.row_store import replace_json

FOLDER = 'networks'
_STATE, _FEATURES = 'measured.json', 'features.npz'
_DIGITS = 12


@dataclasses.dataclass
class Kept:
  """The folder of one network, named after everything that its features depend on.

  Attributes:
    folder: where.
    state: what was measured, as JSON values; {} if nothing was yet.
  """
  folder: pathlib.Path
  state: dict[str, Any]

  @property
  def features(self) -> pathlib.Path:
    """The file of the features."""
    return self.folder / _FEATURES

  def num_missing(self, num_examples: int) -> int:
    """Returns how many of the images have no features yet."""
    done = formats.count_rows(self.features)
    return 0 if done is None else max(num_examples - done, 0)

  def update(self, **values: Any) -> None:
    """Changes the state, and writes it to the disk."""
    self.state |= json.loads(json.dumps(values))
    replace_json(self.folder / _STATE, self.state)


def open_kept(output_dir: pathlib.Path, facts: Mapping[str, Any]) -> Kept:
  """Opens the folder of a network; makes it if need be.

  Args:
    output_dir: of the comparison.
    facts: everything that the features depend on; see `extraction.Extractor`.

  Raises:
    OSError: if the folder cannot be written to.
  """
  key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:_DIGITS]
  folder = output_dir / FOLDER / f'{facts["model_name"]}-{key}'
  folder.mkdir(parents=True, exist_ok=True)
  return Kept(folder, _read(folder / _STATE))


def _read(path: pathlib.Path) -> dict[str, Any]:
  """Reads the state; one that is lost or damaged is measured again."""
  try:
    state = json.loads(path.read_text(encoding='utf-8'))
  except (OSError, RecursionError, ValueError):
    return {}
  return state if isinstance(state, dict) else {}
