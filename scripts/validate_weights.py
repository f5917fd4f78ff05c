r"""Evaluates published weights on ImageNet's validation images: is it the accuracy they came with?

    python scripts/validate_weights.py --weights='mobilenet_v1_*,torchvision_resnet50' \
      --dataset_name=folder --dataset_dir=imagenet/val --dataset_split_name=all

Each set of weights is downloaded, unless it is there already, and evaluated by
eval_image_classifier.py in a process of its own. The flags of the data are those of that program.
A row per set is added to the CSV file as soon as it is measured, in percent; weights that cannot
be had or evaluated get a row with the reason. A second run continues: what was measured for the
same weights, images and preparation of the images is taken from the file.

At the end a table is printed. The exit code is 1 if an accuracy differs from the published one by
more than --tolerance, an evaluation failed, or nothing could be measured.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import difflib
import fnmatch
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any

import benchmark_results

from files import downloads
from files.errors import unknown_name
from slim_zoo.config import command_line, flag_values
from slim_zoo.config.data import EvaluationData
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.model import Computation, Geometry
from slim_zoo.config.option import Path, absolute, option

Row = dict[str, str]

# What a row of an earlier run must agree in to be taken.
_KEY = ('weights', 'digest', 'network', 'image_size', 'geometry', 'fingerprint')
_SHOWN = ('weights', 'network', 'images', 'published_top_1', 'published_top_5', 'top_1', 'top_5',
          'difference_top_1', 'difference_top_5', 'images_per_second', 'reason')
_FAILED = 'the evaluation failed: '
_RESULTS = benchmark_results.ROOT / 'results' / 'validate_weights.csv'


@dataclasses.dataclass(frozen=True)
class Selection:
  """Weights."""
  weights: str = option('*', 'Names of published weights, separated by commas, with shell '
                        'wildcards; zoo:<name> elsewhere.', common=True)
  checkpoint_path: str | None = option(
      None, 'Weights at hand to evaluate instead, a path.', path=Path.READ, common=True)
  model_name: str | None = option(
      None, 'Name of the network, if --checkpoint_path does not tell it.', common=True)


@dataclasses.dataclass(frozen=True)
class Output:
  """Results."""
  output_path: str = option(str(_RESULTS), 'CSV file that gets the rows.', path=Path.WRITTEN,
                            common=True)
  tolerance: float = option(0.3, 'Largest difference from a published accuracy, in percentage '
                            'points.', lower=0, common=True)


@dataclasses.dataclass(frozen=True)
class Validate:
  """validate_weights.py."""
  selection: Selection = Selection()
  data: EvaluationData = EvaluationData()  # noqa: RUF009 (it is frozen)
  output: Output = Output()
  computation: Computation = Computation()  # noqa: RUF009 (it is frozen)


OPTIONS = Validate


@dataclasses.dataclass(frozen=True)
class Candidate:
  """Weights to evaluate.

  Attributes:
    name: in `PUBLISHED_FILES`, or of the file.
    path: what --checkpoint_path of other programs takes.
    model_name: the network, if the user named it.
    top_1, top_5: the published accuracies, in percent; None if there is none.
  """
  name: str
  path: str
  model_name: str | None = None
  top_1: float | None = None
  top_5: float | None = None


def choose(selection: Selection) -> list[Candidate]:
  """Lists the weights that were asked for; files without a classifier are left out.

  Raises:
    ValueError: if a name is unknown, or nothing is left.
  """
  from slim_zoo.weights.published import find_by_filename
  from slim_zoo.weights.published_files import PUBLISHED_FILES
  if selection.checkpoint_path:
    path = absolute(selection.checkpoint_path)
    file = find_by_filename(path)
    return [Candidate(os.path.basename(path), path, selection.model_name,
                      file and file.top_1, file and file.top_5)]
  names: dict[str, None] = {}
  for pattern in filter(None, (part.strip() for part in selection.weights.split(','))):
    found = fnmatch.filter(PUBLISHED_FILES, pattern)
    if not found:
      raise unknown_name('published weights', pattern, difflib.get_close_matches(
          pattern, PUBLISHED_FILES, n=20, cutoff=0))
    names |= dict.fromkeys(found)
  chosen = [Candidate(name, f'zoo:{name}', None, file.top_1, file.top_5)
            for name, file in ((name, PUBLISHED_FILES[name]) for name in names) if file.classes]
  if not chosen:
    raise ValueError(f'--weights={selection.weights}: expected weights with a classifier. '
                     f'Received: {", ".join(names) or "no name"}.')
  return chosen


def identify(candidate: Candidate) -> Row:
  """Opens weights, which downloads them if necessary.

  Returns:
    The columns that say what is evaluated: of `_KEY`, all but the images.

  Raises:
    ValueError: if they are damaged, or do not tell their network.
    OSError: if they cannot be read or downloaded.
  """
  from nets import nets_factory
  from slim_zoo.evaluation import classifier
  from slim_zoo.weights import opening, transforms
  weights, known = opening.open_weights(candidate.path, model_name=candidate.model_name)
  network = candidate.model_name or known.get('model_name')
  if network is None:
    raise ValueError(f'{candidate.path} does not tell its network. Expected: --model_name. '
                     'Received: none.')
  recipe = known.get('preprocessing_name') or nets_factory.get_net(network).preprocessing
  size = classifier.image_size(None, known, network)
  geometry = transforms.settle(known, recipe, Geometry()).describe(size)
  return {'weights': candidate.name, 'digest': digest_of(weights.path), 'network': network,
          'image_size': str(size), 'geometry': geometry}


def digest_of(path: str) -> str:
  """Returns the first 16 digits of the SHA-256 of a file, or of a checkpoint's files."""
  file = pathlib.Path(path)
  files = [file] if file.is_file() else sorted(
      other for other in file.parent.iterdir()
      if other.name.startswith((f'{file.name}.data-', f'{file.name}.index')))
  digests = ''.join(downloads.digest_of(other) for other in files)
  return hashlib.sha256(digests.encode()).hexdigest()[:16]


def run_evaluation(flags: Sequence[str]) -> str:
  """Runs eval_image_classifier.py in a process; returns why it failed, '' if it did not."""
  last = ''
  with subprocess.Popen([sys.executable, 'eval_image_classifier.py', *flags],
                        cwd=benchmark_results.ROOT, stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE, text=True, errors='backslashreplace') as process:
    for line in process.stderr:
      print(line, end='', file=sys.stderr, flush=True)
      last = line.strip() or last
  return f'code {process.returncode}: {last}' if process.returncode else ''


def data_flags(parsed: Parsed[Validate]) -> list[str]:
  """Returns the flags of data and computation that were given, for another program."""
  options = flag_values.options_of(Validate)
  values = flag_values.values_of(parsed.config)
  own = {*vars(parsed.config.selection), *vars(parsed.config.output)}
  return [f'--{name}={absolute(values[name]) if options[name].path else values[name]}'
          for name in sorted(parsed.given - own)]


def measure(candidate: Candidate, flags: Sequence[str]) -> Row:
  """Evaluates weights; returns the columns of the result, or of the reason without one.

  Images per second include the start of the program.
  """
  named = [f'--model_name={candidate.model_name}'] if candidate.model_name else []
  start = time.monotonic()
  with tempfile.TemporaryDirectory() as folder:
    reason = run_evaluation([f'--checkpoint_path={candidate.path}', *named,
                             f'--eval_dir={folder}', *flags])
    if reason:
      return {'reason': _FAILED + reason}
    found = json.loads((pathlib.Path(folder) / 'eval.json').read_text(encoding='utf-8'))
  row = {'images': str(found['count']),
         'images_per_second': f'{found["count"] / (time.monotonic() - start):.1f}'}
  for name in ('top_1', 'top_5'):
    published, value = getattr(candidate, name), 100 * found[name]
    row |= {name: f'{value:.3f}',
            f'difference_{name}': '' if published is None else f'{value - published:+.3f}'}
  return row


def whole_row(candidate: Candidate, fingerprint: str, found: Mapping[str, str]) -> Row:
  """Returns all columns, in their order; those that were not found are empty."""
  now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')
  row = {'date': now, 'commit': benchmark_results.commit(), 'weights': candidate.name,
         'network': '', 'image_size': '', 'geometry': '',
         'published_top_1': _text(candidate.top_1), 'published_top_5': _text(candidate.top_5),
         'top_1': '', 'top_5': '', 'difference_top_1': '', 'difference_top_5': '', 'images': '',
         'images_per_second': '', 'digest': '', 'fingerprint': fingerprint, 'reason': ''}
  return {**row, **found}


def _text(value: Any) -> str:
  return '' if value is None else str(value)


def read(path: pathlib.Path) -> list[Row]:
  """Reads the rows of a file; [] if there is none."""
  if not path.exists():
    return []
  with path.open(newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


def find(rows: Sequence[Row], wanted: Mapping[str, str], names: Sequence[str]) -> Row | None:
  """Finds the last row with the same values in some columns."""
  return next((row for row in reversed(rows)
               if all(row.get(name) == wanted[name] for name in names)), None)


def validate(candidate: Candidate, done: Sequence[Row], fingerprint: str, *,
             flags: Sequence[str], path: pathlib.Path) -> Row:
  """Finds the row of some weights in the file, or measures them and adds it."""
  try:
    known = identify(candidate)
  except (ValueError, OSError) as error:
    known, found = {}, {'reason': ' '.join(command_line.message(error).split())}
  else:
    old = find([row for row in done if row.get('top_1')], {**known, 'fingerprint': fingerprint},
               _KEY)
    if old:
      print(f'{candidate.name}: measured on {old["date"]}.', flush=True)
      return _compared(old, candidate)
    print(f'{candidate.name}: {known["geometry"]}.', flush=True)
    found = measure(candidate, flags)
  row = whole_row(candidate, fingerprint, {**known, **found})
  if not (row['reason'] and find(done, row, ('weights', 'fingerprint', 'reason'))):
    benchmark_results.append(path, [row], flag='--output_path')
  return row


def _compared(row: Row, candidate: Candidate) -> Row:
  """Compares an earlier row with the published accuracies, which may have been corrected."""
  result = dict(row)
  for name in ('top_1', 'top_5'):
    published = getattr(candidate, name)
    result |= {f'published_{name}': _text(published), f'difference_{name}': (
        '' if published is None else f'{float(row[name]) - published:+.3f}')}
  return result


def failures(rows: Sequence[Row], tolerance: float) -> list[str]:
  """Says what is wrong, one line each."""
  lines = [f'{row["weights"]}: {name} {row[name]}, published {row[f"published_{name}"]}, differs '
           f'by {row[f"difference_{name}"]}'
           for row in rows for name in ('top_1', 'top_5')
           if row[f'difference_{name}'] and abs(float(row[f'difference_{name}'])) > tolerance]
  lines += [f'{row["weights"]}: {row["reason"]}' for row in rows
            if row['reason'].startswith(_FAILED)]
  if not any(row['top_1'] for row in rows):
    lines.append(f'nothing could be measured of {", ".join(row["weights"] for row in rows)}')
  return lines


def main(parsed: Parsed[Validate]) -> int:
  """Evaluates the weights, and prints the table."""
  import tabulate
  import tensorflow as tf

  from slim_zoo.evaluation import classifier
  tf.config.set_visible_devices([], 'GPU')  # The evaluations need all of its memory.
  config, path = parsed.config, pathlib.Path(parsed.config.output.output_path)
  chosen = choose(config.selection)
  fingerprint = classifier.get_dataset(config.data).fingerprint
  done, rows = read(path), []
  for candidate in chosen:
    rows.append(validate(candidate, done, fingerprint, flags=data_flags(parsed), path=path))
  cells = [[textwrap.shorten(row[name], 70, placeholder='…') for name in _SHOWN] for row in rows]
  print(tabulate.tabulate(cells, [name.replace('_', ' ').replace('top ', 'top-')
                                  for name in _SHOWN], 'github', disable_numparse=True))
  wrong = failures(rows, config.output.tolerance)
  if wrong:
    print(f'Expected accuracies within {config.output.tolerance} points of the published ones '
          '(--tolerance). Received:', *wrong, sep='\n  ', file=sys.stderr)
  return int(bool(wrong))


if __name__ == '__main__':
  command_line.run(main, OPTIONS)
