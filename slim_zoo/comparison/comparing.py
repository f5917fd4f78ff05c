"""Comparing networks, from the command line to the best one."""

from __future__ import annotations

import dataclasses
import functools
import gc
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tabulate

from datasets.dataset import Dataset
from files import progress
from files.locks import locked
from slim_zoo.comparison import (
  best,
  candidates,
  kept,
  measuring,
  picture,
  planning,
  results,
  scoring,
)
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.programs import Compare, Comparison
from slim_zoo.features import extraction, formats, linear_classifiers
from slim_zoo.features.extraction import Images
from slim_zoo.report.texts import shortened
from slim_zoo.training import distribution
from slim_zoo.training.progress import Stopwatch

_TABLE, _PICTURE = 'compared.csv', 'compared.png'
_MOST = 40  # Characters of the weights' name in the plan.


class _Task(NamedTuple):
  """The flags, and what they name.

  Attributes:
    config: the flags.
    folder: --output_dir.
    images: of the training split.
    strengths: of the regularization; () for the default ones.
  """
  config: Compare
  folder: pathlib.Path
  images: Images
  strengths: Sequence[float]

  @property
  def comparison(self) -> Comparison:
    """The flags of this program alone."""
    return self.config.comparison

  @property
  def dataset(self) -> Dataset:
    """The images that can be decoded."""
    return self.images.dataset


@dataclasses.dataclass
class _Entrant:
  """A network in the comparison.

  Attributes:
    candidate: the network.
    kept: its folder.
    speed: how fast it is.
    head_seconds: what its cross-validation takes.
    score: its accuracy; None before it is tried.
    needs: seconds that it needs, if there is not enough time.
  """
  candidate: candidates.Candidate
  kept: kept.Kept
  speed: measuring.Speed
  head_seconds: float
  score: scoring.Score | None = None
  needs: float = 0.0


def compare(parsed: Parsed[Compare]) -> int:
  """Compares the networks; returns an exit code."""
  watch, config = Stopwatch(), parsed.config
  folder = _open_folder(config.comparison.output_dir)
  strengths = linear_classifiers.parse_strengths(config.comparison.regularization_strengths)
  with locked(folder / 'comparison'):
    best.check_free(folder / best.FOLDER)
    distribution.prepare_devices()
    task = _Task(config, folder, extraction.open_images(config.data), strengths)
    _check_classes(task.dataset, config.comparison.cross_validation_folds)
    before = watch.seconds
    found = candidates.open_all(parsed, task.images.whole)
    watch = Stopwatch()  # Downloads are not counted.
    entrants = [_measure(candidate, task) for candidate in
                progress.show(found, len(found), unit='network', description='measuring')]
    seconds = 60 * config.comparison.minutes - before
    _announce(entrants, task, seconds - watch.seconds)
    for number, entrant in enumerate(entrants):
      left = seconds - watch.seconds
      work = _work(entrant, task)
      if not planning.choose([work], left)[0]:
        entrant.needs = work.seconds
        print(f'Not tried: {entrant.candidate.name} needs about '
              f'{planning.minutes(entrant.needs)}; {planning.minutes(left)} are left.', flush=True)
        continue
      entrant.score = _try(entrant, task)
      results.write(folder / _TABLE, _rows(entrants[:number + 1], task))
    _finish(entrants, task)
  return 0


def _open_folder(output_dir: str | None) -> pathlib.Path:
  """Makes --output_dir, and checks that it can be written to."""
  if not output_dir:
    raise ValueError('--output_dir: expected a directory for the results, from which the same '
                     'command continues. Received: none. For example: --output_dir=compared')
  folder = pathlib.Path(output_dir)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    raise ValueError(f'--output_dir={output_dir}: expected a directory that can be written to. '
                     f'Received: {error.strerror}. Choose another.') from error
  return folder


def _check_classes(dataset: Dataset, folds: int) -> None:
  """Checks that there are enough images of each class for the cross-validation.

  Raises:
    ValueError: if not.
  """
  counts = dataset.class_counts
  if dataset.num_classes < 2:
    raise ValueError('--dataset_dir: expected images of at least two classes, to tell apart. '
                     f'Received: one, {dataset.class_names[0]}.')
  few = [f'{dataset.class_names[label]} ({counts[label]})'
         for label in np.flatnonzero(counts < folds).tolist()]
  if few:
    raise ValueError(
        f'--cross_validation_folds={folds}: expected at least as many images of each class in the '
        f'split {dataset.split_name!r}. Received fewer of: {", ".join(few[:10])}'
        + (' …' if len(few) > 10 else '') + '. Add images, or lower --cross_validation_folds (at '
        'least 3) or --validation_fraction.')


def _measure(candidate: candidates.Candidate, task: _Task) -> _Entrant:
  """Measures how fast a network is, unless an earlier call did."""
  watch = Stopwatch()
  extractor = extraction.build(candidate.source, task.images)
  own = kept.open_kept(task.folder, extractor.facts)
  speed = measuring.parse(own.state.get('speed'))
  if speed is None:
    speed = measuring.measure(extractor, watch.seconds)
    own.update(speed=dataclasses.asdict(speed))
  del extractor
  gc.collect()  # One network at a time is in memory.
  return _Entrant(
      candidate, own, speed, 0.0 if _is_scored(own, task) else
      measuring.head_seconds(
          task.dataset.num_examples, candidate.width, num_classes=task.dataset.num_classes,
          folds=task.comparison.cross_validation_folds, num_strengths=len(_strengths(task))))


def _strengths(task: _Task) -> Sequence[float]:
  """Returns the strengths to choose from."""
  return task.strengths or linear_classifiers.KINDS[scoring.KIND].strengths


def _settings(task: _Task) -> dict[str, Any]:
  """Returns what the scores of features depend on, as JSON values."""
  return {'folds': task.comparison.cross_validation_folds, 'seed': task.comparison.seed,
          'strengths': sorted(set(_strengths(task)))}


def _is_scored(own: kept.Kept, task: _Task) -> bool:
  """Returns whether the scores of these settings are there."""
  scores = own.state.get('scores')
  return (isinstance(scores, dict) and scores.get('settings') == _settings(task)
          and len(scores.get('is_right', ())) == task.dataset.num_examples)


def _work(entrant: _Entrant, task: _Task) -> planning.Work:
  """Returns what is left to do for a network."""
  speed = entrant.speed
  return planning.Work(entrant.kept.num_missing(task.dataset.num_examples),
                       speed.seconds_per_image, speed.setup_seconds, entrant.head_seconds)


def _announce(entrants: Sequence[_Entrant], task: _Task, seconds: float) -> None:
  """Prints the plan.

  Raises:
    ValueError: if there is not enough time for a single network.
  """
  works = [_work(entrant, task) for entrant in entrants]
  chosen, count = planning.choose(works, seconds), task.dataset.num_examples
  rows = [(entrant.candidate.model_name, shortened(entrant.candidate.short_name, _MOST),
           f'{entrant.candidate.multiply_adds / 1e6:,.0f}', f'{entrant.speed.latency_ms:.1f}',
           f'{count - work.num_missing:,} of {count:,}',
           f'{(work.seconds - work.head_seconds) / 60:.1f}', f'{work.head_seconds / 60:.1f}',
           'yes' if is_chosen else f'not tried: needs about {planning.minutes(work.seconds)}')
          for entrant, work, is_chosen in zip(entrants, works, chosen, strict=True)]
  print(f'The plan, for the {max(seconds, 0) / 60:.1f} of {task.comparison.minutes:g} minutes that '
        'are left, the least arithmetic first:\n' + tabulate.tabulate(
            rows, ('network', 'weights', 'million multiply-adds', 'ms per image', 'features there',
                   'minutes for the others', 'for classifiers', 'tried'), 'simple',
            disable_numparse=True, colalign=('left', 'left', *['right'] * 5, 'left')), flush=True)
  if not any(chosen):
    least = min(works, key=lambda work: work.seconds)
    raise ValueError(
        f'--minutes={task.comparison.minutes:g}: expected time for one network at least. Received '
        f'{max(seconds, 0) / 60:.1f} minutes after measuring, of which the fastest network, '
        f'{entrants[works.index(least)].candidate.name}, needs {planning.minutes(least.seconds)}. '
        'What was measured is kept. Set more --minutes, or add a smaller network.')


def _try(entrant: _Entrant, task: _Task) -> scoring.Score:
  """Computes what is missing of a network's features and of its score."""
  own, candidate = entrant.kept, entrant.candidate
  print(f'\n{candidate.name}', flush=True)
  if own.num_missing(task.dataset.num_examples):
    watch = Stopwatch()
    try:
      extraction.write(extraction.build(candidate.source, task.images), str(own.features))
    finally:
      own.update(feature_seconds=own.state.get('feature_seconds', 0) + watch.seconds)
      gc.collect()
  else:
    print(f'Found all {task.dataset.num_examples:,} features in {own.features}.', flush=True)
  settings = _settings(task)
  if not _is_scored(own, task):
    watch = Stopwatch()
    features = formats.read(own.features)
    found = linear_classifiers.cross_predict(
        linear_classifiers.rows_of(features.values, candidate.head), features.labels,
        kind=scoring.KIND, strengths=settings['strengths'], folds=settings['folds'],
        seed=settings['seed'], show=functools.partial(
            progress.show, unit='fold', description='cross-validation'))
    scores = {'settings': settings, 'is_right': (found.labels == features.labels).tolist(),
              'strengths': found.strengths, 'num_stopped': found.num_stopped,
              'seconds': watch.seconds}
    own.update(scores=scores)
  scores = own.state['scores']
  score = scoring.Score(np.array(scores['is_right'], bool), scores['strengths'],
                        scores['num_stopped'])
  share, low, high = score.accuracy
  print(f'Accuracy {share:.4f} ({low:.4f} to {high:.4f}) in {settings["folds"]}-fold '
        f'cross-validation; C in the folds: {", ".join(f"{c:g}" for c in score.strengths)}.'
        + (f' {score.num_stopped} fits stopped before they converged.' if score.num_stopped
           else ''), flush=True)
  return score


def _judged(entrants: Sequence[_Entrant]) -> dict[str, scoring.Verdict]:
  """Compares the networks that were tried, by their folders' names."""
  return scoring.judge({entrant.kept.folder.name: entrant.score for entrant in entrants
                        if entrant.score})


def _rows(entrants: Sequence[_Entrant], task: _Task) -> list[results.Row]:
  """Returns the table so far, the most accurate networks first."""
  verdicts, rows = _judged(entrants), []
  for entrant in entrants:
    candidate, state = entrant.candidate, entrant.kept.state
    verdict = verdicts.get(entrant.kept.folder.name)
    seconds = state.get('feature_seconds', 0) + state.get('scores', {}).get('seconds', 0)
    rows.append(results.Row(
        candidate.model_name, candidate.weights_name,
        entrant.score.accuracy if entrant.score else None,
        short_name=candidate.short_name, num_classes=task.dataset.num_classes,
        latency_ms=entrant.speed.latency_ms, num_bytes=candidate.num_bytes,
        parameters=candidate.parameters, image_size=candidate.source.image_size,
        width=candidate.width, minutes=seconds / 60 if entrant.score else None,
        note=verdict.text() if verdict else
        f'not tried: needs about {planning.minutes(entrant.needs)}',
        is_good=bool(verdict and not verdict.is_distinguishable)))
  return results.sort(rows)


def _finish(entrants: Sequence[_Entrant], task: _Task) -> None:
  """Writes table, picture and the best network; prints the table and what to do next."""
  folder, rows = task.folder, _rows(entrants, task)
  tried = [entrant for entrant in entrants if entrant.score]
  if not tried:
    raise ValueError(f'--minutes={task.comparison.minutes:g}: expected time for one network at '
                     'least. Received: less, because other programs were busy. The features are '
                     'kept. Set more --minutes.')
  results.write(folder / _TABLE, rows)
  picture.draw(folder / _PICTURE, rows)
  verdicts = _judged(entrants)
  winner = next(one for one in tried if verdicts[one.kept.folder.name].is_best)
  print(f'\n{results.text(rows)}\n')
  print(f'Of {task.dataset.num_examples:,} images; accuracy of a linear classifier on features of '
        'the network as it is. ms per image: the network alone, one image at a time.')
  alike = [one for one in tried if not verdicts[one.kept.folder.name].is_distinguishable
           and one.speed.latency_ms < winner.speed.latency_ms]
  if alike:
    fastest = min(alike, key=lambda one: one.speed.latency_ms)
    ratio = winner.speed.latency_ms / fastest.speed.latency_ms
    print(f'{fastest.candidate.name} cannot be distinguished from the best, and is {ratio:.1f} '
          'times as fast.')
  strength = best.write(folder / best.FOLDER, winner.candidate, winner.kept,
                        data=task.config.data, images=task.images, strengths=task.strengths,
                        seed=task.comparison.seed)
  print(f'The table is in {folder / _TABLE}, the picture in {folder / _PICTURE}.\n'
        f'{winner.candidate.name}, with a classifier fitted to all {task.dataset.num_examples:,} '
        f'images (C = {strength:g}), is in {folder / best.FOLDER}.')
  print(best.next_steps(folder / best.FOLDER, winner.candidate, data=task.config.data,
                        dataset=task.dataset))
