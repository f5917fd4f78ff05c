"""Training in phases, such as the head first and then everything, by one command.

    --phases="trainable_scopes=MobilenetV1/Logits epochs=5; epochs=10 learning_rate=0.0001"

Each phase is a run of its own, in `train_dir/phase_1`, `train_dir/phase_2` …, with its flags over
those of the command line; each starts from the checkpoint of the one before. What the command line
says about the first weights goes for the first phase.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import os
import shlex
from collections.abc import Callable, Iterator, Sequence

from absl import flags
from absl.testing import flagsaver

from slim_zoo.weights import checkpoint_files

FLAGS = flags.FLAGS

# What holds for all phases.
_COMMON = ('phases', 'train_dir', 'dry_run', 'flagfile', 'undefok')
# What says how the first phase takes over weights, and is wrong for those that others start from.
_OF_THE_START = ('checkpoint_exclude_scopes', 'ignore_missing_vars', 'use_moving_averages',
                 'checkpoint_channel_order', 'convert_input_channels')
_ENDS = ('epochs', 'max_number_of_steps', 'early_stopping_patience')


def define_flag() -> None:
  """Defines the flag, for the script that calls it."""
  flags.DEFINE_string('phases', None, 'Runs to make one after the other, separated by semicolons, '
                      'each given by the flags that are its own, without dashes: '
                      '"trainable_scopes=head epochs=2; learning_rate=0.0001 epochs=3". They lie '
                      'in --train_dir, in phase_1, phase_2 …; each starts from the one before.')


@dataclasses.dataclass(frozen=True)
class _Phase:
  """A phase: its number from 1, its flags without dashes, its folder and that of the one before."""
  number: int
  words: list[str]
  folder: str
  before: str | None

  @property
  def own(self) -> set[str]:
    """Names of the flags that it sets itself."""
    return {_name(word, self) for word in self.words}

  @property
  def step(self) -> int | None:
    """The step of its newest checkpoint; None before the first."""
    newest = checkpoint_files.latest(self.folder, missing_ok=True)
    return checkpoint_files.step_of(newest) if newest else None

  @property
  def has_followed(self) -> bool:
    """Whether it has begun from where the one before had come."""
    return bool(self.before and self.step is not None and 'checkpoint_path' not in self.own)


@dataclasses.dataclass(frozen=True)
class Turn:
  """What a script is told of the phase whose turn it is, and of the one after it, if any."""
  phase: _Phase | None = None
  after: _Phase | None = None

  def goes_for_all(self, name: str) -> bool:
    """Whether there are phases, of which this one does not set a flag itself."""
    return self.phase is not None and name not in self.phase.own

  def check_may_train(self) -> None:
    """Stops a phase that would train on though the next one has begun from it.

    Raises:
      ValueError: with what to do.
    """
    if self.after and self.after.has_followed:
      raise ValueError(
          f'--phases: phase {self.phase.number} would train on from step {self.phase.step}, from '
          f'which phase {self.after.number} has begun. Expected: the length that it had. Received: '
          f'a longer one. Leave it as it was, or remove {self.after.folder} and what comes after '
          'it, to train them anew.')


def run(main: Callable[[Turn], int | None], *, rivals: Sequence[tuple[str, str]] = ()) -> int:
  """Calls a script's `main` for each phase in order; without phases, once.

  All phases' flags are read before the first one starts. The same command goes on in the phase
  where it stopped: phases that are finished find that themselves.

  Args:
    main: the script, which is told whose turn it is; returns an exit code, 0 for a run that is
      finished.
    rivals: pairs of flags that say the same: one that a phase sets puts the other out of force.

  Returns:
    The exit code of the first phase that does not return 0, after which none follows; or 0.

  Raises:
    ValueError: if the phases cannot be understood.
  """
  if not FLAGS.phases:
    return main(Turn()) or 0
  phases = _phases()
  for phase in phases:
    with _flags_of(phase, rivals):
      if phase is not phases[-1] and all(FLAGS[name].value is None for name in _ENDS):
        raise ValueError(f'--phases: expected an end of phase {phase.number}, for another to '
                         f'begin: --{" or --".join(_ENDS)}. Received none of them.')
  for before, phase in itertools.pairwise(phases):
    _check_start(before, phase)
  for phase, after in itertools.zip_longest(phases, phases[1:]):
    if FLAGS.dry_run and not _has_start(phase):
      print(f'Phase {phase.number} of {len(phases)} starts from what phase {phase.number - 1} '
            'leaves, and cannot be tried before. Its flags can be read.')
      return 0
    print(f'Phase {phase.number} of {len(phases)}: {shlex.join(phase.words)}', flush=True)
    with _flags_of(phase, rivals):
      code = main(Turn(phase, after)) or 0
    if code:
      return code
    gc.collect()  # What a network holds of a GPU's memory is not what Python counts.
  if not FLAGS.dry_run:
    print(f'All {len(phases)} phases are finished. The last one lies in {phases[-1].folder}.')
  return 0


def _check_start(before: _Phase, phase: _Phase) -> None:
  """Stops if a phase has begun from another state of the one before than there is now."""
  if not phase.has_followed:
    return
  start = checkpoint_files.read_metadata(checkpoint_files.latest(phase.folder)).get('started_from')
  if start and checkpoint_files.step_of(start) != before.step:
    raise ValueError(
        f'--phases: phase {phase.number} began from {start}. Expected: phase {before.number} as it '
        f'was then. Received: {before.folder}, which '
        + ('has no checkpoint' if before.step is None else f'is at step {before.step}')
        + f' now. Remove {phase.folder} and what comes after it, to train them anew, or put '
        f'{before.folder} back.')


def _phases() -> list[_Phase]:
  phases = []
  for number, words in enumerate(parse(FLAGS.phases), start=1):
    phases.append(_Phase(number, words, os.path.join(FLAGS.train_dir, f'phase_{number}'),
                         phases[-1].folder if phases else None))
  return phases


def parse(text: str) -> list[list[str]]:
  """Splits phases into words, as a shell would, of which `;` is one that separates them.

  Returns:
    The words of each phase, without dashes in front.

  Raises:
    ValueError: if a quotation mark is not closed, or a phase is empty.
  """
  lexer = shlex.shlex(text, posix=True, punctuation_chars=';')
  lexer.whitespace_split, lexer.commenters = True, ''
  phases = [[]]
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
                     f'semicolons. Received none in phase {phases.index([]) + 1}: {text!r}.')
  return phases


@contextlib.contextmanager
def _flags_of(phase: _Phase, rivals: Sequence[tuple[str, str]]) -> Iterator[None]:
  """Sets the flags of a phase for a while."""
  own = phase.own
  dropped = {rival for pair in rivals for name, rival in (pair, pair[::-1]) if name in own}
  arguments = [f'--train_dir={phase.folder}']
  if phase.before:
    arguments.append(f'--checkpoint_path={phase.before}')
    dropped |= {name for name in _OF_THE_START if name in FLAGS}
  saved = flagsaver.save_flag_values(FLAGS)
  try:
    for name in dropped - own:
      FLAGS[name].unparse()
    try:
      FLAGS(['phases', *arguments, *(f'--{word}' for word in phase.words)])
    except (flags.Error, ValueError) as error:
      raise ValueError(f'--phases: phase {phase.number}: {error}') from error
    yield
  finally:
    flagsaver.restore_flag_values(saved, FLAGS)


def _name(word: str, phase: _Phase) -> str:
  """Returns which flag a word sets, if a phase may set it."""
  name, has_value, _ = word.partition('=')
  if name not in FLAGS and name.startswith('no') and name[2:] in FLAGS:
    name = name[2:]
  if name in _COMMON:
    raise ValueError(f'--phases: phase {phase.number}: expected flags that a phase may have for '
                     f'itself. Received: {name}, which goes for all of them. Set it beside '
                     '--phases, if at all.')
  if not name.isidentifier() or (
      name in FLAGS and not has_value and not FLAGS[name].boolean):
    raise ValueError(f'--phases: phase {phase.number}: expected flag=value, without spaces around '
                     f'the sign. Received: {word!r}.')
  return name


def _has_start(phase: _Phase) -> bool:
  """Whether a phase has begun, or has what it starts from."""
  return not phase.before or any(checkpoint_files.latest(folder, missing_ok=True)
                                 for folder in (phase.folder, phase.before))
