"""Where the variables of a run come from: its own checkpoint, or weights of another."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

import checkpoint_flags
from nets import custom_head, scopes
from nets.record import Net
from slim_zoo.training.trainer import Trainer
from slim_zoo.weights import restore, sources
from slim_zoo.weights.reader import Checkpoint

FLAGS = flags.FLAGS


def excluded_scopes(options: Mapping[str, Any], saved: Mapping[str, Any]) -> tuple[str, ...]:
  """Lists what a warm start leaves out: as the flag says, and a head that the weights lack.

  Args:
    options: the run's flags.
    saved: what is known about the weights.
  """
  excluded = scopes.split(FLAGS.checkpoint_exclude_scopes)
  theirs = checkpoint_flags.as_flags(saved)
  is_new = options['head'] and any((options[name] or None) != (theirs.get(name) or None)
                                   for name in ('head', 'head_from'))
  if is_new and custom_head.SCOPE not in excluded:
    return (*excluded, custom_head.SCOPE)
  return excluded


def keeps_head(net: Net, excluded: tuple[str, ...]) -> bool:
  """Whether a warm start takes the classifier along: all of it, for a part alone is of no use."""
  return not any(scopes.matches_any(net.head[0], [scope]) or scopes.matches(scope, net.head[0])
                 for scope in excluded)


def resume(trained: Trainer, prefix: str) -> None:
  """Restores the whole state of a run; nothing may differ."""
  checkpoint, state = Checkpoint(prefix), trained.state()
  wanted = {n: v.shape for n, v in state.items()}
  report = restore.plan(checkpoint, wanted,
                        restore.same_names(checkpoint, wanted, use_averages=False))
  restore.check(report, advice='Use the flags that the run was started with, or another '
                '--train_dir with --checkpoint_path for a warm start.')
  restore.apply(report, checkpoint, state)


def warm_start(trained: Trainer, weights: sources.Weights, options: Mapping[str, Any], net: Net,
               excluded: tuple[str, ...], folder: pathlib.Path) -> None:
  """Restores the network's variables but those that are excluded, and keeps the table.

  Args:
    trained: whose network it is.
    weights: where from.
    options: the run's flags.
    net: the network's record.
    excluded: from `excluded_scopes`.
    folder: of the run.

  Raises:
    ValueError: if a variable is missing or does not fit.
  """
  variables = trained.network.variables
  report = checkpoint_flags.plan(weights, options['model_name'], variables, exclude=excluded)
  if not FLAGS.dry_run:
    (folder / 'restored.txt').write_text(report.table(), encoding='utf-8',
                                         errors='backslashreplace')
  print(report.table(unused=FLAGS.dry_run), end='')
  restore.check(report, exclude=excluded, head=net.head, ignore_missing=FLAGS.ignore_missing_vars)
  restore.apply(report, weights.source, variables)
  checkpoint_flags.warn_of_unused(weights, report)
  trained.start_averages()
  untouched = [row.name for row in report.rows if row.status != restore.RESTORED
               and row.name not in trained.network.trainable]
  if untouched:
    print(f'Warning: {len(untouched)} variables are neither restored nor trained and keep their '
          f'initial values: {", ".join(untouched[:4])}'
          + (', …' if len(untouched) > 4 else '') + '. See --trainable_scopes.')
