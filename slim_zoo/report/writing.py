"""Writing a report: the statistics, the images, the tables and the page."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from datasets.dataset import Dataset
from files.replacing import replacing
from slim_zoo.evaluation.evaluated import Evaluated
from slim_zoo.evaluation.outcomes import Outcomes
from slim_zoo.report import duplicates, examples, page, pictures, statistics, tables

_MOST_MISTAKES, _MOST_OTHERS, _MOST_PAIRS, _MOST_IN_MATRIX = 24, 12, 50, 25
# Hashing takes about a millisecond per image.
_MOST_COMPARED = 200_000
_LEVEL = 0.05

# From an image file and a class to uint8 [height, width, 3].
Explain = Callable[[bytes, int], np.ndarray]


def write(folder: pathlib.Path, evaluated: Evaluated, dataset: Dataset, *, positions: np.ndarray,
          details: Mapping[str, str], training: Dataset | None = None,
          other: Evaluated | None = None, explain: Explain | None = None) -> pathlib.Path:
  """Writes `report.html`, `predictions.csv`, `per_class.csv` and `confusion.csv`.

  Args:
    folder: made if need be.
    evaluated: what was evaluated.
    dataset: the split.
    positions: of the examples in it, int64 [n].
    details: what was evaluated, and how.
    training: the training split of the dataset, to look for the same images there.
    other: another checkpoint on the same examples, to compare with.
    explain: function (image file, class) -> a picture of what speaks for the class.

  Returns:
    The path of the page.
  """
  folder.mkdir(parents=True, exist_ok=True)
  names = [dataset.examples.names[position] for position in positions]
  tables.write(folder, evaluated.outcomes, names=names, class_names=evaluated.class_names)
  path = folder / 'report.html'
  made = _make(evaluated, dataset, positions=positions, details=details, training=training,
               other=other, explain=explain)
  with replacing(path) as aside:
    aside.write_text(page.render(made), encoding='utf-8', errors='backslashreplace')
  return path


def _make(evaluated: Evaluated, dataset: Dataset, *, positions: np.ndarray,
          details: Mapping[str, str], training: Dataset | None, other: Evaluated | None,
          explain: Explain | None) -> page.Page:
  outcomes, class_names = evaluated.outcomes, evaluated.class_names
  comparison = statistics.compare(outcomes, other.outcomes) if other else None
  chosen = _chosen(outcomes, comparison)
  pairs, notes = _duplicates(dataset, positions, training)
  shown = {int(positions[number]): int(outcomes.predicted[number])
           for _, _, numbers in chosen for number in numbers[1]}
  images = _pictures(dataset, shown, explain)
  names = dataset.examples.names

  def tile(number: int) -> page.Tile:
    position = int(positions[number])
    predicted = class_names[outcomes.predicted[number]]
    lines = [f'label: {class_names[outcomes.labels[number]]} ({outcomes.right[number]:.3f})',
             f'predicted: {predicted} ({outcomes.confidences[number]:.3f})']
    if other:
      theirs = other.outcomes
      lines.append(f'other: {other.class_names[theirs.predicted[number]]} '
                   f'({theirs.confidences[number]:.3f})')
    return page.Tile(images.get(position, ()), names[position], lines)

  galleries = [page.Gallery(title, note, [tile(int(number)) for number in numbers], total)
               for title, note, (total, numbers) in chosen]
  if training is not None and not notes:
    galleries.append(_of_duplicates(pairs, of=dataset, among=training))
  calibration = statistics.calibrate(outcomes)
  return page.Page(
      title=f'{details["network"]} on {dataset.name}, {dataset.split_name}',
      subtitle=evaluated.checkpoint,
      facts=_facts(evaluated, calibration),
      comparison=_sentences(evaluated, other, comparison) if other and comparison else (),
      calibration=pictures.draw_calibration(calibration),
      classes=_in_order(statistics.per_class(outcomes)), class_names=class_names,
      matrix=statistics.confusion(outcomes, _MOST_IN_MATRIX),
      pairs=statistics.confused_pairs(outcomes)[:_MOST_PAIRS], galleries=galleries,
      details=details, notes=notes)


def _in_order(classes: list[statistics.OfClass]) -> list[statistics.OfClass]:
  """Sorts many classes by recall, the worst first, and then those without examples."""
  if len(classes) <= _MOST_IN_MATRIX:
    return classes
  return sorted(classes, key=lambda row: (row.interval is None, row.recall))


# Title, note, and the number of all examples with the numbers of those to show.
_Chosen = tuple[str, str, tuple[int, np.ndarray]]


def _chosen(outcomes: Outcomes, comparison: statistics.Comparison | None) -> list[_Chosen]:
  """Chooses the examples of the galleries."""
  wrong, right = np.flatnonzero(~outcomes.is_right), np.flatnonzero(outcomes.is_right)
  mistakes = wrong[np.argsort(-outcomes.confidences[wrong], kind='stable')]
  hits = right[np.argsort(outcomes.confidences[right], kind='stable')]
  suspects = statistics.suspects(outcomes)
  found = []
  if comparison:
    found += [
        ('Better than the other', 'Only this checkpoint is right.',
         (len(comparison.gained), comparison.gained[:_MOST_OTHERS])),
        ('Worse than the other', 'Only the other checkpoint is right.',
         (len(comparison.lost), comparison.lost[:_MOST_OTHERS]))]
  return [
      *found,
      ('Most confident mistakes', 'With the probabilities of the label and of the predicted class.',
       (len(mistakes), mistakes[:_MOST_MISTAKES])),
      ('Least certain hits', 'Right, but with a low probability.',
       (len(hits), hits[:_MOST_OTHERS])),
      ('Labels that may be wrong', 'As likely to be of another class as examples of that class '
       'are, and less likely to be of their own (confident learning).',
       (len(suspects), suspects[:_MOST_MISTAKES]))]


def _duplicates(dataset: Dataset, positions: np.ndarray, training: Dataset | None
                ) -> tuple[list[duplicates.Pair], list[str]]:
  """Finds images that are also in the training split, or says why this is not done."""
  if training is None:
    return [], []
  count = dataset.num_examples + training.num_examples
  if count > _MOST_COMPARED:
    return [], [f'Near-duplicates were not looked for: the splits have {count:,} images, more than '
                f'{_MOST_COMPARED:,}.']
  hashes, evaluated = duplicates.hashes_of(dataset), set(positions.tolist())
  return duplicates.find({position: hashed for position, hashed in hashes.items()
                          if position in evaluated}, duplicates.hashes_of(training)), []


def _of_duplicates(pairs: Sequence[duplicates.Pair], *, of: Dataset, among: Dataset
                   ) -> page.Gallery:
  """Shows pairs, each an image of one split and one of the other."""
  shown = pairs[:_MOST_OTHERS]
  images = _pictures(of, [pair.position for pair in shown])
  others = _pictures(among, [pair.other for pair in shown])
  tiles = []
  for number, pair in enumerate(shown, start=1):
    for split, position, found in ((of, pair.position, images), (among, pair.other, others)):
      label = split.label_name(int(split.labels[position]))
      if split is among and label != of.label_name(int(of.labels[pair.position])):
        label += ' (another class)'
      tiles.append(page.Tile(found.get(position, ()), split.examples.names[position],
                             [f'pair {number}, {split.split_name}: {label}']))
  return page.Gallery(
      f'Near-duplicates in {among.split_name}',
      f'Images that look like one of the split {among.split_name} (perceptual hash), in pairs. If '
      f'the network was trained on that split, they say little about new images. Found: '
      f'{len(pairs)}; shown: {len(shown)}.', tiles, len(tiles))


def _pictures(dataset: Dataset, shown: Collection[int], explain: Explain | None = None
              ) -> dict[int, list[str]]:
  """Returns the pictures of examples, by position.

  Args:
    dataset: the split.
    shown: positions; to explain them, a mapping to the class to explain.
    explain: see `write`.
  """
  found: dict[int, list[str]] = {}
  for position, image in examples.read(dataset, shown) if shown else ():
    small = pictures.thumbnail(image)
    found[position] = [] if small is None else [small]
    if explain and isinstance(shown, Mapping):
      found[position].append(pictures.small_picture(explain(image, shown[position])))
  return found


def _facts(evaluated: Evaluated, calibration: statistics.Calibration) -> list[page.Fact]:
  found, count = evaluated.found, evaluated.found.count
  shares = sorted({1: found.top_1, found.k: found.top_k, **dict(found.more)}.items())
  facts = []
  for k, value in shares:
    interval = statistics.share(round(value * count), count)
    facts.append(page.Fact(f'top-{k}', f'{value:.4f}',
                           f'{interval.low:.4f} to {interval.high:.4f}'))
  return [*facts,
          page.Fact('mean recall', f'{found.mean_recall:.4f}', 'over classes'),
          page.Fact('loss', f'{found.loss:.4f}', 'cross-entropy'),
          page.Fact('calibration error', f'{calibration.error:.4f}',
                    f'{len(calibration.bins)} bins'),
          page.Fact('examples', f'{count:,}', f'{found.num_present:,} classes'),
          page.Fact('images/s', f'{count / evaluated.seconds:.3g}',
                    'including reading and start-up')]


def _sentences(evaluated: Evaluated, other: Evaluated, comparison: statistics.Comparison
               ) -> list[str]:
  difference = evaluated.found.top_1 - other.found.top_1
  verdict = ('unlikely to be due to chance' if comparison.p_value < _LEVEL
             else 'which may be due to chance')
  return [
      f'Other checkpoint: {other.checkpoint}',
      f'Its top-1 is {other.found.top_1:.4f}, that of this one {evaluated.found.top_1:.4f}: a '
      f'difference of {difference:+.4f}.',
      f'{len(comparison.gained)} examples are right only here, {len(comparison.lost)} only there: '
      f'p = {comparison.p_value:.3g} (exact McNemar test), {verdict}.']
