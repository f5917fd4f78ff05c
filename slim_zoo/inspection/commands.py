"""The commands that evaluate weights, predict with them, and train from them."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from datasets import imagenet
from nets import custom_head, nets_factory
from slim_zoo.inspection.fits import Fit
from slim_zoo.weights import opening

PHOTOS = 'photos'  # Stands for the user's directory.
EVALUATE, PREDICT, TRAIN = 'evaluate', 'predict', 'fine-tune'
_WIDTH = 76  # Of a line, without its indentation.
_EPOCHS = 5


@dataclasses.dataclass(frozen=True)
class Command:
  """A command line.

  Attributes:
    purpose: `EVALUATE`, `PREDICT` or `TRAIN`.
    words: its words, which the shell has to quote.
  """
  purpose: str
  words: tuple[str, ...]

  def text(self) -> str:
    """Returns it for a shell, on several lines."""
    lines = ['']
    for word in map(shlex.quote, self.words):
      if lines[-1] and len(lines[-1]) + len(word) + 3 > _WIDTH:
        lines.append('')
      lines[-1] = f'{lines[-1]} {word}'.lstrip()
    return ' \\\n    '.join(lines)


@dataclasses.dataclass(frozen=True)
class Subject:
  """The weights that commands are for.

  Attributes:
    path: as the user gave it.
    known: what the programs know about them by themselves: the metadata.
    fit: the network.
    facts: what has to be said to the programs: options by name, such as those of a published file
      that was renamed.
    channel_order: what the file does not tell; None if there is nothing to say.
  """
  path: str
  known: Mapping[str, Any]
  fit: Fit
  facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  channel_order: str | None = None


def commands(subject: Subject) -> list[Command]:
  """Lists the commands for weights.

  Weights without a classifier can only be trained from; so can those that lack other variables.
  """
  fit = subject.fit
  found = []
  if fit.has_trunk and (fit.num_classes is not None or _own_head(subject)):
    found = [Command(EVALUATE, _evaluation(subject)), Command(PREDICT, _prediction(subject))]
  return [*found, Command(TRAIN, _training(subject))]


def _own_head(subject: Subject) -> str | None:
  """Returns the custom head that the metadata state; None if there is none."""
  return opening.as_options(subject.known).get('head') or None


def _evaluation(subject: Subject) -> tuple[str, ...]:
  kept = opening.as_options(subject.known)
  flags = [*_of_weights(subject), *_of_images(subject, 'eval_image_size')]
  if kept.get('dataset_name'):  # The checkpoint of a run, which knows its data.
    directory = kept.get('dataset_dir')
    flags += [] if directory is None or os.path.exists(directory) else [f'--dataset_dir={PHOTOS}']
    return 'python', 'eval_image_classifier.py', *flags
  flags += ['--dataset_name=folder', f'--dataset_dir={PHOTOS}', '--dataset_split_name=all']
  if 'class_names' not in subject.known and imagenet.output_names(
      subject.fit.num_classes or 0) is None:
    flags.append('--labels_are_indices')
  return 'python', 'eval_image_classifier.py', *flags


def _prediction(subject: Subject) -> tuple[str, ...]:
  return ('python', 'predict_image.py', *_of_weights(subject),
          *_of_images(subject, 'eval_image_size'), PHOTOS)


def _training(subject: Subject) -> tuple[str, ...]:
  new = ','.join(new_scopes(subject))
  return ('python', 'train_image_classifier.py', '--train_dir=fine_tuned', '--dataset_name=folder',
          f'--dataset_dir={PHOTOS}', *_of_weights(subject),
          *_of_images(subject, 'train_image_size'), f'--checkpoint_exclude_scopes={new}',
          f'--trainable_scopes={new}', f'--epochs={_EPOCHS}')


def new_scopes(subject: Subject) -> list[str]:
  """Lists the scopes that fine-tuning trains from scratch: the head, and what is missing."""
  head = [custom_head.SCOPE] if _own_head(subject) else [
    *nets_factory.get_net(subject.fit.network).head]
  missing: Iterable[str] = (row.name.rpartition('/')[0] or row.name for row in subject.fit.missing)
  return [*dict.fromkeys(scope.removesuffix('/BatchNorm') for scope in missing), *head]


def _of_weights(subject: Subject) -> list[str]:
  """Returns the flags that name the weights and their network."""
  flags = [f'--checkpoint_path={subject.path}']
  if 'model_name' not in subject.known:
    flags.append(f'--model_name={subject.fit.network}')
  if subject.channel_order:
    flags.append(f'--checkpoint_channel_order={subject.channel_order}')
  head = _own_head(subject)
  if head and custom_head.is_function(head):
    flags.append(f'--head={head}')
  return flags


def _of_images(subject: Subject, size: str) -> list[str]:
  """Returns the flags for images; `size` is the name of the flag for their size."""
  flags = [f'--{size if name == "image_size" else name}={value}'
           for name, value in subject.facts.items()]
  return flags + (['--use_grayscale'] if subject.fit.channels == 1
                  and 'channels' not in subject.known else [])
