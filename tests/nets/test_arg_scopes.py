"""Arg scopes, beside tf-slim's."""

from __future__ import annotations

import threading

import pytest
import tf_slim

from nets import arg_scopes


def made_by(module):
  """Makes two functions that return their arguments, decorated by a module."""
  @module.add_arg_scope
  def first(inputs, a=1, b=2):
    return inputs, a, b

  @module.add_arg_scope
  def second(inputs, a=1, c=3):
    return inputs, a, c
  return first, second


def results_in_scopes(module):
  """Calls both functions in all kinds of scopes."""
  first, second = made_by(module)
  results = [first(0), second(0)]
  with module.arg_scope([first, second], a=10) as outer:
    results += [first(0), second(0), first(0, a=11), first(0, b=12)]
    with module.arg_scope([second], c=30):
      results += [first(0), second(0), second(0, a=5)]
      with module.arg_scope(outer):
        results += [first(0), second(0)]
    results.append(second(0))
  with pytest.raises(KeyError), module.arg_scope([first], a=9):
    raise KeyError
  return [*results, first(0), second(0)]


def test_scopes_equal_tf_slims():
  assert results_in_scopes(arg_scopes) == results_in_scopes(tf_slim)


def test_each_thread_has_its_own_scopes():
  first, _ = made_by(arg_scopes)
  turns = [threading.Event(), threading.Event()]
  results = {}

  def other():
    results['before'] = first(0)
    with arg_scopes.arg_scope([first], a=20):
      turns[0].set()
      turns[1].wait()
      results['within'] = first(0)

  thread = threading.Thread(target=other)
  with arg_scopes.arg_scope([first], a=10):
    thread.start()
    turns[0].wait()
    results['here'] = first(0)
  turns[1].set()
  thread.join()
  assert results == {'before': (0, 1, 2), 'here': (0, 10, 2), 'within': (0, 20, 2)}


@pytest.mark.parametrize(('functions', 'arguments', 'error'), [
  ([print], {'end': ''}, ValueError), ('conv2d', {}, TypeError), ({}, {'a': 1}, TypeError)])
def test_mistakes(functions, arguments, error):
  with pytest.raises(error, match='arg_scope'), arg_scopes.arg_scope(functions, **arguments):
    pass
