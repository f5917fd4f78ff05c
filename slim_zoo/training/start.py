"""Where the variables of a run come from: its own checkpoint, or weights of another."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from nets import custom_head, scopes
from nets.record import Net
from slim_zoo.config.model import StartingWeights
from slim_zoo.training.trainer import Trainer
from slim_zoo.weights import kept_heads, opening, restore, sources
from slim_zoo.weights.reader import Checkpoint


def excluded_scopes(exclude: str | None, head: kept_heads.Head,
                    saved: Mapping[str, Any]) -> tuple[str, ...]:
  """Lists what a warm start leaves out: as the user says, and a head that the weights lack.

  Args:
    exclude: scopes separated by commas.
    head: the run's.
    saved: what is known about the weights.
  """
  excluded = scopes.split(exclude)
  theirs, kept = opening.as_options(saved), head.kept
  is_new = kept['head'] and any((kept[name] or None) != (theirs.get(name) or None)
                                for name in ('head', 'head_from'))
  if is_new and custom_head.SCOPE not in excluded:
    return (*excluded, custom_head.SCOPE)
  return excluded


def keeps_head(net: Net, excluded: tuple[str, ...]) -> bool:
  """Returns whether a warm start restores the classifier, all of it."""
  return not any(scopes.matches_any(net.head[0], [scope]) or scopes.matches(scope, net.head[0])
                 for scope in excluded)


def resume(trainer: Trainer, prefix: str) -> None:
  """Restores the whole state of a run; nothing may differ."""
  checkpoint, state = Checkpoint(prefix), trainer.state()
  wanted = {name: variable.shape for name, variable in state.items()}
  report = restore.plan(checkpoint, wanted,
                        restore.same_names(checkpoint, wanted, use_averages=False))
  restore.check(report, advice='Use the flags that the run was started with, or another '
                '--train_dir with --checkpoint_path for a warm start.')
  restore.apply(report, checkpoint, state)


def warm_start(trainer: Trainer, weights: sources.Weights, config: StartingWeights, *,
               model_name: str, net: Net, excluded: tuple[str, ...],
               folder: pathlib.Path | None) -> None:
  """Restores the network's variables except excluded ones, and keeps the table.

  Args:
    trainer: whose network it is.
    weights: where from.
    config: how to read them.
    model_name: the network.
    net: the network's record.
    excluded: from `excluded_scopes`.
    folder: where the table is written; None to print what is not restored instead.

  Raises:
    ValueError: if a variable is missing or does not fit.
  """
  variables = trainer.network.variables
  report = opening.plan(weights, model_name, variables, exclude=excluded,
                        use_averages=config.use_moving_averages,
                        change_channels=config.convert_input_channels)
  if folder:
    table = folder / 'restored.txt'
    table.write_text(report.table(), encoding='utf-8', errors='backslashreplace')
    print(f'{report.summary()}; the table is in {table}.')
  else:
    print(report.table(restored=False), end='')
  restore.check(report, exclude=excluded, head=net.head, ignore_missing=config.ignore_missing_vars)
  restore.apply(report, weights.source, variables)
  opening.warn_of_unused(weights, report)
  if weights.integers:
    print(f'Warning: training starts from weights that were rounded to {weights.integers}. '
          'Prefer the float weights that they were made from, if you can get them.')
  trainer.start_averages()
  untouched = [row.name for row in report.rows if row.status != restore.RESTORED
               and row.name not in trainer.network.trainable]
  if untouched:
    print(f'Warning: {len(untouched)} variables are neither restored nor trained and keep their '
          f'initial values: {", ".join(untouched[:4])}'
          + (', …' if len(untouched) > 4 else '') + '. See --trainable_scopes.')
