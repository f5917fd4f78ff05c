"""Writing a report: the statistics, the images, the tables and the page."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from datasets.dataset import Dataset
from files.replacing import replacing
from slim_zoo.evaluation.evaluated import Evaluated
from slim_zoo.evaluation.evaluator import Measurement
from slim_zoo.evaluation.multi_label import MultiLabelMeasurement
from slim_zoo.evaluation.outcomes import LabelOutcomes, Outcomes
from slim_zoo.report import galleries, one_label, page, parts, several_labels, statistics, tables

_LEVEL = 0.05


def write(folder: pathlib.Path, evaluated: Evaluated, dataset: Dataset, *, positions: np.ndarray,
          labels: Sequence[Sequence[str]], details: Mapping[str, str],
          training: Dataset | None = None, other: Evaluated | None = None,
          explain: galleries.Explain | None = None) -> pathlib.Path:
  """Writes `report.html`, `predictions.csv`, `per_class.csv` and `confusion.csv`.

  Args:
    folder: made if need be.
    evaluated: what was evaluated.
    dataset: the split.
    positions: of the examples in it, int64 [n].
    labels: the names of the right classes of each example, [n].
    details: what was evaluated, and how.
    training: the training split of the dataset, to look for the same images there.
    other: another checkpoint on the same examples, to compare with.
    explain: function (image file, class) -> a picture of the evidence for the class.

  Returns:
    The path of the page.
  """
  folder.mkdir(parents=True, exist_ok=True)
  names = [dataset.examples.names[position] for position in positions]
  tables.write(folder, evaluated.outcomes, names=names, class_names=evaluated.class_names)
  comparison = (statistics.compare(evaluated.outcomes.is_right, other.outcomes.is_right)
                if other else None)
  facts, sections, chosen = _contents(evaluated, [parts.SEPARATOR.join(one) for one in labels],
                                      comparison=comparison, other=other)
  sections += galleries.sections(chosen, dataset, positions=positions, explain=explain)
  notes: list[str] = []
  if training is not None:
    more, notes = galleries.of_duplicates(dataset, positions, training)
    sections += more
  made = page.Page(
      title=f'{details["network"]} on {dataset.name}, {dataset.split_name}',
      subtitle=evaluated.checkpoint,
      facts=[*facts, page.Fact('images/s', f'{len(positions) / evaluated.seconds:.3g}',
                               'including reading and start-up')],
      comparison=_sentences(evaluated, other, comparison) if other and comparison else (),
      sections=sections, details=details, notes=notes)
  path = folder / 'report.html'
  with replacing(path) as aside:
    aside.write_text(page.render(made), encoding='utf-8', errors='backslashreplace')
  return path


def _contents(evaluated: Evaluated, labels: Sequence[str], *,
              comparison: statistics.Comparison | None, other: Evaluated | None
              ) -> tuple[list[page.Fact], list[page.Section], list[galleries.Gallery]]:
  """Returns the numbers, the tables and plots, and the galleries."""
  found, outcomes, names = evaluated.found, evaluated.outcomes, evaluated.class_names
  theirs = [f'other: {text}' for text in _says(other)] if other else []
  if isinstance(found, Measurement) and isinstance(outcomes, Outcomes):
    calibration = one_label.calibrate(outcomes)
    return (one_label.facts(found, calibration),
            one_label.sections(outcomes, names, calibration),
            one_label.galleries(outcomes, names, labels, comparison=comparison, other=theirs))
  if isinstance(found, MultiLabelMeasurement) and isinstance(outcomes, LabelOutcomes):
    calibration = several_labels.calibrate(outcomes)
    return (several_labels.facts(found, outcomes, calibration),
            several_labels.sections(found, outcomes, class_names=names, calibration=calibration),
            several_labels.galleries(outcomes, names, labels, comparison=comparison, other=theirs))
  raise TypeError(f'Expected outcomes of the measurement. Received: {type(outcomes).__name__} and '
                  f'{type(found).__name__}.')


def _says(evaluated: Evaluated) -> list[str]:
  """Returns what a network predicts for each example, [n]."""
  outcomes = evaluated.outcomes
  return (several_labels.says(outcomes, evaluated.class_names)
          if isinstance(outcomes, LabelOutcomes)
          else one_label.says(outcomes, evaluated.class_names))


def _sentences(evaluated: Evaluated, other: Evaluated, comparison: statistics.Comparison
               ) -> list[str]:
  mine, theirs = (float(one.outcomes.is_right.mean()) for one in (evaluated, other))
  what = ('share of images with exactly the right classes'
          if isinstance(evaluated.outcomes, LabelOutcomes) else 'top-1')
  verdict = ('unlikely to be due to chance' if comparison.p_value < _LEVEL
             else 'which may be due to chance')
  return [
      f'Other checkpoint: {other.checkpoint}',
      f'Its {what} is {theirs:.4f}, that of this one {mine:.4f}: a difference of '
      f'{mine - theirs:+.4f}.',
      f'{len(comparison.gained)} examples are right only here, {len(comparison.lost)} only there: '
      f'p = {comparison.p_value:.3g} (exact McNemar test), {verdict}.']
