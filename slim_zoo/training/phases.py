"""Training in phases, such as the head first and then everything, with one command.

    --phases="trainable_scopes=MobilenetV1/Logits epochs=5; epochs=10 learning_rate=0.0001"

Each phase is a run of its own in `train_dir/phase_1`, `train_dir/phase_2` …, whose flags override
those of the command line; each starts from the checkpoint of the one before. What the command line
says about the starting weights only holds for the first phase.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import os
import shlex
from collections.abc import Callable, Sequence

from slim_zoo.config import flag_values
from slim_zoo.config.flag_values import Parsed, options_of
from slim_zoo.config.programs import Train
from slim_zoo.weights import checkpoint_files

# What holds for all phases.
_COMMON = ('phases', 'recipe', 'recipe_minutes', 'train_dir', 'dry_run', 'model_name', 'flagfile',
           'undefok', 'strategy', 'worker_replicas', 'task', 'sync_replicas',
           'replicas_to_aggregate')
# How the first phase takes over its starting weights; wrong for those that others start from.
_OF_THE_START = ('checkpoint_exclude_scopes', 'ignore_missing_vars', 'use_moving_averages',
                 'checkpoint_channel_order', 'convert_input_channels')
_ENDS = ('epochs', 'max_number_of_steps', 'early_stopping_patience')


@dataclasses.dataclass(frozen=True)
class Phase:
  """One run of a command.

  Attributes:
    parsed: the command line of the run alone.
    number: from 1; 0 if there are no phases.
    words: the phase's own flags, without dashes.
    own: names of the options that they set.
    before: directory of the phase before.
    after: the phase after it.
  """
  parsed: Parsed[Train]
  number: int = 0
  words: Sequence[str] = ()
  own: frozenset[str] = frozenset()
  before: str | None = None
  after: Phase | None = None

  @property
  def folder(self) -> str:
    """The directory of the run."""
    return self.parsed.config.saving.train_dir or ''

  @property
  def step(self) -> int | None:
    """The step of its newest checkpoint; None if there is none."""
    newest = checkpoint_files.latest(self.folder, missing_ok=True)
    return checkpoint_files.step_of(newest) if newest else None

  @property
  def has_followed(self) -> bool:
    """Whether it has started from the phase before."""
    return bool(self.before and self.step is not None and 'checkpoint_path' not in self.own)

  def shares(self, name: str) -> bool:
    """Returns whether an option holds for several phases, and is not set by this one."""
    return self.number > 0 and name not in self.own

  def check_may_train(self) -> None:
    """Stops a phase that would train further although the next one has started from it.

    Raises:
      ValueError: with what to do.
    """
    if self.after and self.after.has_followed:
      raise ValueError(
          f'--phases: phase {self.number} would train further from step {self.step}, from which '
          f'phase {self.after.number} has started. Expected: the length that it had. Received: a '
          f'longer one. Leave it as it was, or remove {self.after.folder} and the phases after it '
          'to train them again.')


def run(main: Callable[[Phase], int], parsed: Parsed[Train]) -> int:
  """Runs each phase in order; without --phases, a single run.

  All phases' flags are read before the first one starts. The same command continues in the phase
  where it stopped; phases that are finished notice that themselves.

  Args:
    main: makes one run; returns an exit code, 0 if the run is finished.
    parsed: the command line.

  Returns:
    The exit code of the first phase that does not return 0, after which no other is run; or 0.

  Raises:
    ValueError: if the phases cannot be understood.
  """
  if not parsed.config.session.phases:
    return main(Phase(parsed))
  phases = split(parsed)
  for before, phase in itertools.pairwise(phases):
    _check_start(before, phase)
  is_dry = parsed.config.session.dry_run
  for phase in phases:
    if is_dry and not _has_start(phase):
      print(f'Phase {phase.number} of {len(phases)} starts from the result of phase '
            f'{phase.number - 1} and cannot be tried before. Its flags can be read.')
      return 0
    print(f'Phase {phase.number} of {len(phases)}: {shlex.join(phase.words)}', flush=True)
    code = main(phase)
    if code:
      return code
    gc.collect()  # Python does not count the GPU memory that a network holds.
  if not is_dry:
    print(f'All {len(phases)} phases are finished. The last one is in {phases[-1].folder}.')
  return 0


def split(parsed: Parsed[Train]) -> list[Phase]:
  """Returns the phases of a command line.

  Raises:
    ValueError: if they cannot be understood, or one has no end.
  """
  phases: list[Phase] = []
  folder = parsed.config.saving.train_dir or ''
  for number, words in enumerate(parse(parsed.config.session.phases or ''), start=1):
    before = phases[-1].folder if phases else None
    own = _read(number, words)
    shared = parsed.without(*_overridden(own.given), *(_OF_THE_START if before else ()))
    values = flag_values.values_of(own.config)
    given = {name: values[name] for name in own.given}
    if before and 'checkpoint_path' not in given:
      given['checkpoint_path'] = before
    phases.append(Phase(
        shared.with_given(**given, train_dir=os.path.join(folder, f'phase_{number}')), number,
        words, own.given, before))
  _check_overridden(parsed, phases)
  for phase in phases[:-1]:
    values = flag_values.values_of(phase.parsed.config)
    if all(values[name] is None for name in _ENDS):
      raise ValueError(f'--phases: expected an end of phase {phase.number}, so that another can '
                       f'start: --{" or --".join(_ENDS)}. Received: none of them.')
  return _linked(phases)


def _check_overridden(parsed: Parsed[Train], phases: Sequence[Phase]) -> None:
  """Stops at a flag that no phase takes from the command line."""
  for name in sorted(parsed.given - set(_COMMON)):
    if all(name in phase.own | _overridden(phase.own) for phase in phases):
      raise ValueError(f'--{name}: expected a flag that some phase uses. Received: one that every '
                       'phase of --phases sets for itself. Leave it out.')


def _linked(phases: Sequence[Phase]) -> list[Phase]:
  """Tells each phase the one after it."""
  linked: list[Phase] = []
  for phase in reversed(phases):
    linked.insert(0, dataclasses.replace(phase, after=linked[0] if linked else None))
  return linked


def _overridden(given: frozenset[str]) -> set[str]:
  """Returns the options that these override, as they say the same thing."""
  pairs = [{name, option.instead_of} for name, option in options_of(Train).items()
           if option.instead_of]
  return {name for pair in pairs if pair & given for name in pair - given}


def parse(text: str) -> list[list[str]]:
  """Splits phases into words as a shell would; `;` separates phases.

  Returns:
    The words of each phase, without leading dashes.

  Raises:
    ValueError: if a quotation mark is not closed, or a phase is empty.
  """
  lexer = shlex.shlex(text, posix=True, punctuation_chars=';')
  lexer.whitespace_split, lexer.commenters = True, ''
  phases: list[list[str]] = [[]]
  try:
    for word in lexer:
      if word.strip(';'):
        phases[-1].append(word.removeprefix('--'))
      else:
        phases += ([] for _ in word)
  except ValueError as error:
    raise ValueError(f'--phases: expected flags as in a shell. Received: {text!r} '
                     f'({str(error).lower()}).') from error
  if not all(phases):
    raise ValueError(f'--phases: expected flags in each of the {len(phases)} phases between '
                     f'semicolons. Received: none in phase {phases.index([]) + 1}: {text!r}.')
  return phases


def _read(number: int, words: Sequence[str]) -> Parsed[Train]:
  """Reads the flags of one phase."""
  for word in words:
    _check_word(number, word)
  try:
    return flag_values.parse(Train, [f'--{word}' for word in words])[0]
  except ValueError as error:
    raise ValueError(f'--phases: phase {number}: {error}') from error


def _check_word(number: int, word: str) -> None:
  """Stops at a word that is not a flag which a phase may have."""
  known = options_of(Train)
  name, has_value, _ = word.partition('=')
  if name not in known and name.startswith('no') and name[2:] in known:
    name = name[2:]
  if name in _COMMON:
    raise ValueError(f'--phases: phase {number}: expected flags that a phase may have for itself. '
                     f'Received: {name}, which holds for all phases. Give it next to --phases, if '
                     'at all.')
  if not name.isidentifier() or (
      name in known and not has_value and known[name].kind is not bool):
    raise ValueError(f'--phases: phase {number}: expected flag=value, without spaces around the '
                     f'equals sign. Received: {word!r}.')


def _check_start(before: Phase, phase: Phase) -> None:
  """Stops if a phase has started from another state of the one before than there is now."""
  if not phase.has_followed:
    return
  newest = checkpoint_files.latest(phase.folder)
  begin = checkpoint_files.read_metadata(newest).get('started_from')
  if begin and checkpoint_files.step_of(begin) != before.step:
    raise ValueError(
        f'--phases: phase {phase.number} started from {begin}. Expected: phase {before.number} as '
        f'it was then. Received: {before.folder}, which '
        + ('has no checkpoint' if before.step is None else f'is at step {before.step}')
        + f' now. Remove {phase.folder} and the phases after it to train them again, or restore '
        f'{before.folder}.')


def _has_start(phase: Phase) -> bool:
  """Returns whether a phase has begun, or has what it starts from."""
  return not phase.before or any(checkpoint_files.latest(folder, missing_ok=True)
                                 for folder in (phase.folder, phase.before))
