"""One sentence of an error, whole and without a graph's names."""

from __future__ import annotations

import json
import re

import pytest
import tensorflow as tf

from files.reasons import FAILURES, listed, short_reason

_LONG = 'word ' * 100


@pytest.mark.parametrize(('error', 'expected'), [
  (ValueError('a word'), 'a word'),
  (ValueError(''), 'ValueError'),
  (ValueError('one\ntwo'), 'one'),
  (tf.errors.NotFoundError(None, None, '/x; No such file'), '/x; No such file'),
  (tf.errors.InvalidArgumentError(
      None, None, '{{function_node __wrapped__A_device_/job:localhost/CPU:0}} {{node B}} Bad. Good'
      '\n\t [[{{node B}}]] [Op:A] name: '), 'Bad. Good'),
  (tf.errors.InvalidArgumentError(None, None, 'It is bad. [Op:IteratorGetNext] name: x'),
   'It is bad.'),
  (ValueError('Graph execution error:\n\nDetected at node x\nIt is bad.'), 'It is bad.'),
  (KeyError('name'), "'name' is missing"),
  (KeyError("There is no item named 'x' in the archive"),
   "There is no item named 'x' in the archive"),
  (ValueError('a\x00b'), 'a\ufffdb'),
  # Long messages are cut after the first sentence, or after a word.
  (ValueError(f'First of 1.5 in a.b. {_LONG}'), f'First of 1.5 in a.b. {_LONG}'[:300] + ' …'),
  (ValueError(f'First of 1.5 in a.b. Then {_LONG}'), 'First of 1.5 in a.b.'),
  (ValueError('/' + 500 * 'a' + ' is wrong'), '/' + 500 * 'a' + ' …'),
])
def test_first_informative_sentence(error, expected):
  found = short_reason(error)
  assert found == expected
  assert '\n' not in found


def _text():
  return b'ab\xff'.decode()


def _nested():
  return json.loads('[' * 100_000)


@pytest.mark.parametrize(('make', 'expected'), [
  (_text, 'utf-8.* 2'), (_nested, 'nested')])
def test_errors_with_uninformative_messages(make, expected):
  with pytest.raises(FAILURES) as error:
    make()
  assert re.search(expected, short_reason(error.value))


@pytest.mark.parametrize(('names', 'expected'), [
  ([], 'none'), (['a', 2], 'a, 2'), (range(20), ', '.join(map(str, range(20)))),
  (range(25), ', '.join(map(str, range(20))) + ' and 5 more')])
def test_names_are_listed(names, expected):
  assert listed(names) == expected
