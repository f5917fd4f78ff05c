"""Recipes: flags of a whole training run, chosen from the data and the network.

`--recipe=finetune` stands for `--phases` and other flags. They are chosen once, printed, and kept
in `recipe.flags` in --train_dir: a file for `--flagfile`, from which a resumed run takes them.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import pathlib
import shlex
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tabulate

from datasets import dataset_factory
from files.replacing import replacing
from nets import nets_factory
from slim_zoo.config import flag_values
from slim_zoo.config.flag_values import Parsed, options_of
from slim_zoo.config.programs import Train
from slim_zoo.training import distribution, optimizers, phases, rates
from slim_zoo.training.estimate import Estimate
from slim_zoo.training.progress import Stopwatch
from slim_zoo.weights import checkpoint_files, opening

FILE = 'recipe.flags'
# Examples that are seen while all layers are trained, within a number of epochs.
_EXAMPLES, _EPOCHS = 30_000, (5, 30)
# The same for the head alone, which costs little on kept features.
_HEAD_EXAMPLES, _HEAD_EPOCHS = 60_000, (5, 30)
_VALIDATIONS = 10
# Share of a training step's time that the same images take without gradients.
_FORWARD = 0.4
# Starting, compiling and saving: seconds, and times of the first step, which compiles.
_OVERHEAD, _COMPILATIONS = 30, 3
_LENGTH = ('epochs', 'validation_interval_epochs')
# What the user decides about for the last phase alone.
_OF_LAST_PHASE = (*_LENGTH, 'trainable_scopes')
_NEED_IMAGES = ('augmentation_repeats', 'mixup_alpha', 'cutmix_alpha', 'teacher_path',
                'distillation_weight', 'distillation_temperature')
# Factor of the learning rate of the lowest layer.
_LOWEST = 0.1
# From this ratio of the largest class to the smallest on, classes are weighted.
_UNEVEN = 5
# Steps that batch norm's averages remember: a share of all, within bounds.
_MEMORY_SHARE, _MEMORY = 0.1, (10, 1000)


@dataclasses.dataclass(frozen=True)
class Budget:
  """The time that a recipe has.

  Attributes:
    seconds: that are left.
    first_step, step: seconds of the first step of all layers, which compiles, and of a later one.
    num_validation: examples of a validation.
    head_passes: how often the network sees the examples while the head is trained.
  """
  seconds: float
  first_step: float
  step: float
  num_validation: int
  head_passes: float = 1.0

  def epochs(self, num_examples: int, batch_size: int) -> float:
    """Returns how many epochs of all layers there is time for, after those of the head."""
    epoch = self.step / batch_size * num_examples
    validation = _FORWARD * self.step / batch_size * self.num_validation
    of_head = self.head_passes * _FORWARD * epoch + validation
    left = self.seconds - _OVERHEAD - _COMPILATIONS * self.first_step - of_head
    # There is a validation after each epoch, but no more than _VALIDATIONS.
    return max(left / (epoch + validation), (left - _VALIDATIONS * validation) / epoch)


@dataclasses.dataclass(frozen=True)
class Facts:
  """What a recipe depends on.

  Attributes:
    num_examples: in the training split.
    num_classes: of the data.
    batch_size: global.
    head: scopes of the classifiers.
    num_layers: below the classifiers; see `rates.layers`.
    has_batch_norm: whether the network has any.
    decouples_decay: whether the optimizer decays weights itself.
    epochs: in which all layers are trained, if the user decided that.
    budget: in which the recipe has to finish.
    smallest_class, largest_class: numbers of examples; 0 if classes cannot be weighted.
  """
  num_examples: int
  num_classes: int
  batch_size: int
  head: Sequence[str]
  num_layers: int
  has_batch_norm: bool
  decouples_decay: bool = True
  epochs: float | None = None
  budget: Budget | None = None
  smallest_class: int = 0
  largest_class: int = 0


class Choice(NamedTuple):
  """One flag of a recipe.

  Attributes:
    phase: that it belongs to, from 1; 0 for all.
    flag: the name of the option.
    value: as on the command line.
    why: a few words for the user.
  """
  phase: int
  flag: str
  value: str
  why: str


def finetune(facts: Facts) -> list[Choice]:
  """Chooses the flags of a fine-tuning: a new head on kept features, then all layers.

  The learning rates of the layers are discriminative, with a warm-up and a decay to zero, as in
  ULMFiT (Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.2).
  """
  head = ','.join(facts.head)
  epochs, why = _epochs(facts)
  head_epochs = _within(_HEAD_EXAMPLES / facts.num_examples, _HEAD_EPOCHS)
  steps = epochs * facts.num_examples / facts.batch_size
  memory = min(max(_MEMORY_SHARE * steps, _MEMORY[0]), _MEMORY[1])
  warmup = min(1.0, epochs / 10)
  choices = [
      Choice(0, 'checkpoint_exclude_scopes', head, f'a new head for {facts.num_classes} classes'),
      Choice(0, 'optimizer', 'adamw', ''),
      Choice(0, 'learning_rate_decay_type', 'cosine', 'reaches 0 at the end of each phase'),
      Choice(0, 'label_smoothing', '0.1', ''),
      Choice(1, 'trainable_scopes', head, 'the head alone, on features that are computed once'),
      Choice(1, 'augmentations_per_image', '0', ''),
      Choice(1, 'epochs', f'{head_epochs}', f'{facts.num_examples:,} examples'),
      Choice(1, 'learning_rate', '0.003', ''),
      Choice(1, 'validation_interval_epochs', f'{head_epochs}', 'once, at the end'),
      Choice(2, 'epochs', f'{epochs:g}', why),
      Choice(2, 'learning_rate', '0.001', 'all layers'),
      Choice(2, 'layer_decay', f'{_LOWEST ** (1 / facts.num_layers):.3f}',
             f'the lowest of {facts.num_layers} layers learns at {_LOWEST:g} of this rate'),
      Choice(2, 'validation_interval_epochs', f'{math.ceil(epochs / _VALIDATIONS)}',
             f'at most {_VALIDATIONS} times' if epochs > _VALIDATIONS else ''),
      Choice(2, 'warmup_epochs', f'{warmup:.3g}', ''),
      Choice(2, 'min_crop_area', '0.35', 'a moderate random crop'),
  ]
  if facts.decouples_decay:
    choices += [
        Choice(1, 'weight_decay', '3', 'regularizes the head, which could learn every example'),
        Choice(2, 'weight_decay', '0.05', 'not of biases and normalizations')]
  if facts.largest_class >= _UNEVEN * facts.smallest_class > 0:
    choices.append(Choice(0, 'class_weights', 'balanced', f'classes have {facts.smallest_class:,} '
                          f'to {facts.largest_class:,} examples'))
  if facts.has_batch_norm:
    choices.append(Choice(2, 'batch_norm_decay', f'{1 - 1 / memory:.3g}',
                          f'averages over about {memory:.0f} of {steps:.0f} steps'))
  return sorted(choices, key=lambda one: one.phase)


RECIPES = {'finetune': finetune}


def _epochs(facts: Facts) -> tuple[float, str]:
  """Returns in how many epochs all layers are trained, and why."""
  if facts.epochs:
    return facts.epochs, f'{facts.num_examples:,} examples'
  if not facts.budget:
    return (_within(_EXAMPLES / facts.num_examples, _EPOCHS), f'{facts.num_examples:,} examples')
  fitting = facts.budget.epochs(facts.num_examples, facts.batch_size)
  speed = f'{facts.batch_size / facts.budget.step:.3g} images/s'
  if fitting < 1:
    return 1, f'at least one; at {speed} it takes longer than --recipe_minutes'
  return min(math.floor(fitting), _EPOCHS[1]), f'as many as there is time for at {speed}'


def apply(parsed: Parsed[Train], *, measure: Callable[[Parsed[Train]], tuple[Estimate, int]]
          ) -> Parsed[Train]:
  """Replaces --recipe by the flags that it stands for; a flag that is given counts instead.

  A given length, and given layers to train, apply to the last phase. What changes the images of
  each step does not hold for the first one, whose features are kept.

  Args:
    parsed: the command line.
    measure: measures the first steps of a command and counts its validation examples, for
      --recipe_minutes.

  Raises:
    ValueError: if the recipe lacks something, or contradicts the command line.
  """
  config = parsed.config
  name, train_dir = config.session.recipe, pathlib.Path(config.saving.train_dir or '')
  if name is None:
    return parsed
  if config.session.recipe_minutes and {'epochs', 'max_number_of_steps'} & parsed.given:
    raise ValueError('--recipe_minutes chooses a length. Expected: no other one. Received: '
                     '--epochs or --max_number_of_steps as well.')
  if config.session.phases:
    raise ValueError('--recipe and --phases exclude each other: a recipe is made of phases. '
                     'Expected: one of them. Received: both.')
  if not config.weights.checkpoint_path:
    raise ValueError(f'--recipe={name}: expected pretrained weights, --checkpoint_path. Received: '
                     'none. For example: --checkpoint_path=zoo:mobilenet_v1_1.0_224; '
                     'list_networks.py names others.')
  distribution.strategy_for(config.hardware)  # Before TensorFlow runs anything.
  file, taken = train_dir / FILE, _taken(parsed.given)
  if file.exists() and checkpoint_files.last_phase(train_dir):
    print(f'--recipe={name}: as when the run began, in {file}.')
    chosen = [one for one in _read(file) if _counts(one, taken)]
  else:
    facts = _facts(parsed)
    if config.session.recipe_minutes:
      facts = dataclasses.replace(facts, budget=_budget(parsed, facts, measure))
    chosen = [one for one in RECIPES[name](facts) if _counts(one, taken)]
    print(f'--recipe={name} stands for these flags; one that you give yourself counts instead.')
    chosen += [Choice(1, flag, '' if default is None else f'{default}', 'the features are kept')
               for flag, default in _of_images(parsed.given)]
    if not config.session.dry_run:
      train_dir.mkdir(parents=True, exist_ok=True)
      _write(file, name, chosen)
  print(_table(chosen))
  return _with_flags(parsed, chosen)


def _counts(choice: Choice, taken: set[str]) -> bool:
  """Returns whether a choice counts beside the options that the user decided about."""
  is_own = choice.phase == 1 and choice.flag in (*_OF_LAST_PHASE, *_NEED_IMAGES)
  return is_own or choice.flag not in taken


def _of_images(given: frozenset[str]) -> list[tuple[str, object]]:
  """Returns the given options that need the images in each step, with their defaults."""
  options = options_of(Train)
  return [(name, options[name].default) for name in _NEED_IMAGES if name in given]


def _within(value: float, bounds: tuple[int, int]) -> int:
  """Rounds a number of epochs, within bounds."""
  return round(min(max(value, bounds[0]), bounds[1]))


def _facts(parsed: Parsed[Train]) -> Facts:
  """Finds what a recipe depends on."""
  config, data = parsed.config, parsed.config.data
  _, known = opening.open_weights(
      config.weights.checkpoint_path or '',
      channel_order=config.weights.checkpoint_channel_order,
      model_name=config.model.model_name if 'model_name' in parsed.given else None)
  kept = opening.as_options(known)
  name, head, head_from = (
      getattr(config.model, option) if option in parsed.given
      else kept.get(option, getattr(config.model, option))
      for option in ('model_name', 'head', 'head_from'))
  net = nets_factory.get_net(name, head=head or None, head_from=head_from or None)
  names = opening.shapes_of(name)
  train = dataset_factory.get_dataset(
      data.dataset_name, split_name=data.dataset_split_name, dataset_dir=data.dataset_dir,
      **data.of_source())
  optimization, epochs = config.optimization, config.duration.epochs
  batch_size = (optimization.batch_size * config.hardware.num_replicas
                * optimization.gradient_accumulation_steps)
  if config.duration.max_number_of_steps is not None:
    epochs = config.duration.max_number_of_steps * batch_size / train.num_examples
  kind = optimizers.get_optimizer(
      optimization.optimizer if 'optimizer' in parsed.given else 'adamw')
  counts = train.class_counts[train.class_counts > 0]
  if data.multi_label or data.sampling != 'uniform':
    counts = counts[:0]
  return Facts(train.num_examples, train.num_classes, batch_size, net.head,
               len(rates.layers(names, head=nets_factory.get_net(name).head)),
               any(name.endswith('/moving_mean') for name in names),
               kind.decouples_decay, epochs,
               smallest_class=int(min(counts, default=0)),
               largest_class=int(max(counts, default=0)))


def _budget(parsed: Parsed[Train], facts: Facts,
            measure: Callable[[Parsed[Train]], tuple[Estimate, int]]) -> Budget:
  """Measures what the recipe's last phase takes, as it is without a budget."""
  watch, minutes = Stopwatch(), parsed.config.session.recipe_minutes or 0
  taken = _taken(parsed.given)
  words = [f'--{one.flag}={one.value}'
           for one in RECIPES[parsed.config.session.recipe or ''](facts)
           if one.phase != 1 and _counts(one, taken)]
  found, num_validation = measure(
      _given_as_well(parsed.without('recipe', 'recipe_minutes'), words))
  fine_tuning, views = parsed.config.fine_tuning, parsed.config.data.augmentations_per_image
  passes = float(views or 1)
  if fine_tuning.cache_features == 'off':
    passes = _within(_HEAD_EXAMPLES / facts.num_examples, _HEAD_EPOCHS)
  gc.collect()  # Python does not count the GPU memory that a network holds.
  return Budget(60 * minutes - watch.seconds, found.first_seconds, found.step_seconds,
                num_validation, passes)


def _taken(given: frozenset[str]) -> set[str]:
  """Returns the options that the user decided about: given, or another that says the same."""
  pairs = [{name, option.instead_of} for name, option in options_of(Train).items()
           if option.instead_of]
  return set(given).union(*(pair for pair in pairs if pair & given))


def _table(choices: Sequence[Choice]) -> str:
  """Returns the choices as a table."""
  of_phase = {0: 'both', 1: 'head', 2: 'all layers'}
  rows = [(of_phase[one.phase], f'--{one.flag}={one.value}', one.why) for one in choices]
  return tabulate.tabulate(rows, ('phase', 'flag', ''), 'simple', disable_numparse=True)


def _with_flags(parsed: Parsed[Train], choices: Sequence[Choice]) -> Parsed[Train]:
  """Returns the command line with the flags of a recipe given as well."""
  words = [f'--{one.flag}={one.value}' for one in choices if not one.phase]
  return _given_as_well(parsed.without('recipe', 'recipe_minutes'), words).with_given(
      phases=_phases(choices))


def _given_as_well(parsed: Parsed[Train], words: list[str]) -> Parsed[Train]:
  """Returns the command line with more flags."""
  own = flag_values.parse(Train, words)[0]
  values = flag_values.values_of(own.config)
  return parsed.with_given(**{name: values[name] for name in own.given})


def _phases(choices: Sequence[Choice]) -> str:
  """Returns the argument of --phases."""
  words: dict[int, list[str]] = {}
  for one in choices:
    if one.phase:
      words.setdefault(one.phase, []).append(f'{one.flag}={one.value}')
  return '; '.join(shlex.join(of_phase) for of_phase in words.values())


def _write(file: pathlib.Path, name: str, choices: Sequence[Choice]) -> None:
  """Writes a recipe's flags as a file for --flagfile."""
  lines = [f'# --recipe={name}. Edit a copy of this file, and use it as --flagfile.',
           *(f'--{one.flag}={one.value}' for one in choices if not one.phase),
           f'--phases={_phases(choices)}']
  with replacing(file) as aside:
    aside.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def _pair(word: str) -> tuple[str, str]:
  """Divides a word such as flag=value."""
  flag, _, value = word.partition('=')
  return flag, value


def _read(file: pathlib.Path) -> list[Choice]:
  """Reads the flags of a recipe from its file.

  Raises:
    ValueError: if there are none.
  """
  choices: list[Choice] = []
  for line in file.read_text(encoding='utf-8', errors='replace').splitlines():
    if not line.startswith('--'):
      continue
    flag, value = _pair(line.removeprefix('--'))
    if flag != 'phases':
      choices.append(Choice(0, flag, value, ''))
      continue
    for number, words in enumerate(phases.parse(value), start=1):
      choices += [Choice(number, *_pair(word), '') for word in words]
  if not any(one.phase for one in choices):
    raise ValueError(f'{file}: expected the flags of a recipe. Received: a file without --phases. '
                     'Restore it, or use another --train_dir.')
  return choices
