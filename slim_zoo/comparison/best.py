"""The best network with its classifier, as a checkpoint that the other programs take."""

from __future__ import annotations

import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from datasets.dataset import Dataset
from nets import custom_head, nets_factory, scopes
from slim_zoo.comparison.candidates import Candidate
from slim_zoo.comparison.kept import Kept
from slim_zoo.comparison.scoring import KIND
from slim_zoo.config.data import Data
from slim_zoo.config.option import options_of_topic
from slim_zoo.features import formats, linear_classifiers, trunks
from slim_zoo.features.extraction import Images
from slim_zoo.training import loop, rates, recipes
from slim_zoo.weights import checkpoint_files, opening

FOLDER = 'best'
_FINE_TUNED = 'fine_tuned'
_BATCH = 32  # The default of train_image_classifier.py, with which the recipe was measured.
_LENGTH, _INDENT = 96, '      '


def check_free(folder: pathlib.Path) -> None:
  """Checks that the checkpoint replaces none but that of another comparison.

  Raises:
    ValueError: if it would.
  """
  latest = checkpoint_files.latest(folder, missing_ok=True) if folder.is_dir() else None
  if latest and 'comparison' not in checkpoint_files.read_metadata(latest).get('dataset', {}):
    raise ValueError(f'--output_dir: expected, in {folder}, only the checkpoint of a comparison. '
                     f'Received: {latest}. Choose another directory, or move them.')


def write(folder: pathlib.Path, candidate: Candidate, kept: Kept, *, data: Data, images: Images,
          strengths: Sequence[float], seed: int) -> float:
  """Fits the classifier of the best network to all images, and writes the whole network.

  Args:
    folder: where.
    candidate: the network.
    kept: its features.
    data: how the dataset was opened.
    images: the images.
    strengths: to choose from; () for the default ones.
    seed: of the choice.

  Returns:
    The strength that was chosen.
  """
  settings = {'network': kept.folder.name, 'strengths': list(strengths), 'seed': seed}
  dataset = images.dataset
  facts = {'name': dataset.name, 'split': dataset.split_name, 'num_examples': dataset.num_examples,
           'fingerprint': images.whole.fingerprint, 'validation_fingerprint': None}
  known = _strength(folder, facts, settings)
  if known is not None:
    return known
  features = formats.read(kept.features)
  fitted = linear_classifiers.fit(
      linear_classifiers.rows_of(features.values, candidate.head), features.labels, kind=KIND,
      strengths=strengths, num_parts=1, seed=seed)
  trunk = trunks.open_trunk(
      features.facts, candidate.head, features.class_names, config=candidate.source.config.weights,
      weights=candidate.source.weights)
  names = [name for name in trunk.network.variables if scopes.matches(name, custom_head.SCOPE)]
  trunk.save(folder, dict(zip(names, (fitted.weights, fitted.biases), strict=True)), step=0,
             dataset={**facts, 'comparison': {**settings, 'strength': fitted.strength}},
             run_flags=_flags(data), validation_state=loop.ValidationState())
  return fitted.strength


def _strength(folder: pathlib.Path, facts: Mapping[str, Any],
              settings: Mapping[str, Any]) -> float | None:
  """Returns the strength of the checkpoint that an earlier call wrote, if it is the same."""
  latest = checkpoint_files.latest(folder, missing_ok=True) if folder.is_dir() else None
  there = checkpoint_files.read_metadata(latest).get('dataset', {}) if latest else {}
  strength = there.get('comparison', {}).get('strength')
  wanted = json.loads(json.dumps({**facts, 'comparison': {**settings, 'strength': strength}}))
  return strength if strength is not None and there == wanted else None


def _flags(data: Data) -> dict[str, Any]:
  """Returns the options of the data, as a training run would keep them."""
  return {name: option.resolve(getattr(data, name))
          for name, option in options_of_topic(Data).items() if option.is_kept}


def next_steps(folder: pathlib.Path, candidate: Candidate, *, data: Data, dataset: Dataset) -> str:
  """Returns the commands that evaluate, use, export and fine-tune the best network.

  Args:
    folder, candidate, data: see `write`.
    dataset: the images.
  """
  checkpoint = f'--checkpoint_path={shlex.quote(str(folder))}'
  of_data = [f'--{name}={shlex.quote(str(value))}' for name, value in vars(data).items()
             if value != getattr(Data(), name) and name != 'dataset_split_name']
  commands = []
  if dataset.made_split:
    commands.append(('To evaluate it on the photos that were held out:',
                     ['eval_image_classifier.py', checkpoint, *of_data,
                      '--dataset_split_name=validation']))
  commands += [
      ('To use it:', ['predict_image.py', checkpoint, 'photo.jpg']),
      ('To export it:', ['export_model.py', checkpoint,
                         f'--output_path={shlex.quote(str(folder.parent / "best.tflite"))}']),
      ('To fine-tune all of its layers, with the settings of --recipe=finetune:',
       ['train_image_classifier.py', checkpoint,
        f'--train_dir={shlex.quote(str(folder.parent / _FINE_TUNED))}', *of_data,
        *_fine_tuning(candidate, dataset)])]
  return '\n'.join(f'{title}\n{_wrapped(["python", *words])}' for title, words in commands)


def _fine_tuning(candidate: Candidate, dataset: Dataset) -> list[str]:
  """Returns the flags of the recipe's last phase: the head is trained already."""
  name = candidate.model_name
  names = opening.shapes_of(name)
  counts = dataset.class_counts
  chosen = recipes.finetune(recipes.Facts(
      dataset.num_examples, dataset.num_classes, _BATCH, (custom_head.SCOPE,),
      len(rates.layers(names, head=nets_factory.get_net(name).head)),
      any(name.endswith('/moving_mean') for name in names),
      smallest_class=int(counts.min()), largest_class=int(counts.max())))
  return [f'--{one.flag}={one.value}' for one in chosen
          if one.phase != 1 and one.flag != 'checkpoint_exclude_scopes']


def _wrapped(words: Sequence[str]) -> str:
  """Formats a command line, over several lines if it is long."""
  lines = [f'  {words[0]}']
  for word in words[1:]:
    if len(lines[-1]) + len(word) + 1 > _LENGTH:
      lines.append(_INDENT + word)
    else:
      lines[-1] += f' {word}'
  return ' \\\n'.join(lines)
