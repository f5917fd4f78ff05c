"""Feature files as splits: matching files, held-out examples, and content of batches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from datasets import dataset_factory
from slim_zoo.features import inputs as feature_inputs
from slim_zoo.features.features import Features
from slim_zoo.features.inputs import FeatureInputs

_FACTS = {'model_name': 'lenet', 'end_point': 'fc3', 'checkpoint_digest': 'ab', 'image_size': 28}


def _features(count=6, classes=3, seed=0, **fields):
  values = np.random.default_rng(seed).normal(size=[count, 2, 2, 3]).astype(np.float32)
  return Features(**{'values': values, 'labels': np.arange(count) % classes,
                     'names': tuple(f'{i}.jpg' for i in range(count)),
                     'class_names': tuple('abc'[:classes]), 'facts': _FACTS, **fields})


def test_batches_match_examples_with_their_outputs():
  found = _features(7)
  inputs = FeatureInputs.from_features(found, 'validation', ['c', 'a', 'b'])
  (first, second) = inputs.evaluation_batches(batch_size=4)
  values = np.concatenate([first['image'], second['image']])[:7]
  assert np.array_equal(values, found.values)
  labels = np.concatenate([first['label'], second['label']])[:7]
  assert labels.tolist() == [1, 2, 0, 1, 2, 0, 1]
  assert np.concatenate([first['weight'], second['weight']]).tolist() == [1] * 7 + [0]
  batches = iter(inputs.training_batches(batch_size=7, seed=1, start_step=0))
  order = [tuple(next(batches)['image'].numpy()[:, 0, 0, 0]) for _ in range(2)]
  assert order[0] != order[1]
  assert sorted(order[0]) == sorted(order[1]) == sorted(found.values[:, 0, 0, 0].tolist())


@pytest.mark.parametrize(('one', 'other', 'names'), [
  (('x', 'y', 'z'), ('x', 'y', 'z'), ('x', 'y', 'z')),
  (('x', 'y', 'z'), (), ('x', 'y', 'z')),
  ((), ('x', 'y', 'z'), ('x', 'y', 'z')),
  ((), (), ('0', '1', '2')),
])
def test_names_of_classes(one, other, names):
  files = _features(class_names=one), _features(classes=2, class_names=other)
  assert feature_inputs.name_classes(*files) == names


def test_held_out_examples_equal_the_datasets_validation_split():
  splits = [dataset_factory.get_dataset('digits', name, None, validation_fraction=fraction)
            for name, fraction in (('train', 0), ('train', 0.2), ('validation', 0.2))]
  def as_features(split):
    return Features(np.zeros([split.num_examples, 1], np.float32), split.labels,
                    split.examples.names, split.class_names)
  whole, *parts = splits
  held = feature_inputs.hold_out(as_features(whole), whole.class_names, 0.2)
  assert [part.names for part in held] == [part.examples.names for part in parts]
  assert [part.labels.tolist() for part in held] == [part.labels.tolist() for part in parts]


@pytest.mark.parametrize('split', ['train', 'validation'])
def test_part_of_a_dataset_is_not_divided_again(split):
  part = _features(facts={**_FACTS, 'split': split, 'is_part': True})
  with pytest.raises(ValueError, match=f"--training_file.*'{split}'"):
    feature_inputs.hold_out(part, 'abc', 0.1)


def test_fingerprint_depends_on_the_values():
  assert feature_inputs.digest(_features()) == feature_inputs.digest(_features(labels=np.zeros(
      6, np.int64)))
  assert feature_inputs.digest(_features()) != feature_inputs.digest(_features(seed=1))


@pytest.mark.parametrize(('fields', 'message'), [
  ({'values': np.zeros([6, 12], np.float32)}, r'\[2, 2, 3\] .*\[12\]'),
  ({'class_names': ('a', 'b', 'd')}, 'a, b, c .*a, b, d'),
  ({'facts': {**_FACTS, 'end_point': 'fc4'}}, 'end_point fc3 .*fc4'),
  ({'facts': {**_FACTS, 'checkpoint_digest': 'cd'}}, 'checkpoint_digest ab .*cd'),
  ({'values': _features().values}, '--validation_file.* 6 .*6 .*0.jpg'),
  ({'values': _features().values[2:4] * np.float32(1.00001), 'labels': np.arange(2),
    'names': ('2.jpg', 'new.jpg')}, '--validation_file.* 1 .*2 .*2.jpg'),
])
def test_mismatched_files_are_rejected(fields, message):
  with pytest.raises(ValueError, match=message):
    feature_inputs.check_together(_features(), _features(**{'seed': 1, **fields}))


@pytest.mark.parametrize('fields', [{}, {'facts': {}}, {'class_names': ()},
                                    {'class_names': ('c', 'b', 'a')}])
def test_matching_files_are_accepted(fields):
  feature_inputs.check_together(_features(), _features(seed=1, **fields))


def test_errors():
  with pytest.raises(ValueError, match="'train'.*'x' 2"):
    FeatureInputs.from_features(_features(2, names=('x', 'x')), 'train', ['a', 'b', 'c'])
  with pytest.raises(ValueError, match=r'\[0, 2\).*Received: 2'):
    feature_inputs.name_classes(_features(classes=2), _features(class_names=()))
  with pytest.raises(ValueError, match='Received: 0'):
    feature_inputs.name_classes(dataclasses.replace(_features(classes=1), class_names=()))
  with pytest.raises(ValueError, match='1000000000000'):
    feature_inputs.name_classes(_features(2, labels=np.array([5, 10**12]), class_names=()))
