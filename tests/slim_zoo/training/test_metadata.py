"""The JSON next to a checkpoint survives a round trip."""

from __future__ import annotations

import dataclasses
import json
import platform

import numpy as np
import tensorflow as tf

from preprocessing.preprocessing_factory import get_recipe
from slim_zoo.training import metadata
from slim_zoo.training.loop import ValidationState
from slim_zoo.weights import checkpoint_files

_MODEL = metadata.ModelFacts('lenet', ('', 'Äpfel', 'pears'), 28, 1, 'lenet',
                             get_recipe('lenet').transform, -1)


def _describe(**changes) -> dict:
  return metadata.describe(_MODEL, **{
    'step': 1000, 'dataset': {'name': 'folder', 'split': 'train'},
    'flags': {'seed': 0, 'weight_decay': 4e-5, 'trainable_scopes': None, 'moving': ['a', 'b']},
    'validation_state': ValidationState(0.1, 20, 3, stopped_early=True),
    'bad_images': {'train': ('a.jpg',)},
    'started_from': 'other/model.ckpt-7',
    **changes})


def test_metadata_are_complete():
  assert json.loads(json.dumps(_describe())) == {
    'format': metadata.FORMAT, 'model_name': 'lenet', 'class_names': ['', 'Äpfel', 'pears'],
    'num_classes': 3, 'image_size': 28, 'channels': 1, 'preprocessing_name': 'lenet',
    'transform': get_recipe('lenet').transform.to_json(),
    'labels_offset': -1, 'step': 1000, 'dataset': {'name': 'folder', 'split': 'train'},
    'flags': {'seed': 0, 'weight_decay': 4e-5, 'trainable_scopes': None, 'moving': ['a', 'b']},
    'standing': {'best_value': 0.1, 'best_step': 20, 'validations_since_best': 3,
                 'stopped_early': True, 'validation_due': False, 'validations_on_plateau': 0,
                 'rate_drops': 0},
    'bad_images': {'train': ['a.jpg']}, 'started_from': 'other/model.ckpt-7',
    'versions': {'python': platform.python_version(), 'tensorflow': tf.__version__,
                 'numpy': np.__version__}}


def test_validation_state_round_trip():
  for state in (ValidationState(), ValidationState(1 / 3, 7, 2),
                ValidationState(float('-inf'), 1, 0)):
    saved = json.loads(json.dumps(_describe(validation_state=state)))
    assert ValidationState(**saved['standing']) == state


def test_arguments_are_copied():
  flags = {'seed': 0}
  described = _describe(flags=flags)
  flags['seed'] = 1
  assert described['flags'] == {'seed': 0}


def test_what_the_loop_keeps_can_be_read():
  assert set(checkpoint_files._STANDING) == {
    field.name for field in dataclasses.fields(ValidationState)}
