"""Default arguments for the layers of a block of code, as slim's `arg_scope`.

tf-slim keeps its arg scopes for all threads at once. The replicas of a `MirroredStrategy` are
traced in threads that take turns wherever they exchange tensors, as synchronized batch norm does,
and one would go on under the arg scope of another: with its dropout masks, for example. Here each
thread has its own.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

Scope = Mapping[Callable, Mapping[str, Any]]  # {function: {argument: default}}.
_Function = TypeVar('_Function', bound=Callable)

# A new thread starts with the default.
_scope: contextvars.ContextVar[Scope] = contextvars.ContextVar(
    'arg_scope', default=types.MappingProxyType({}))


def add_arg_scope(function: _Function) -> _Function:
  """Decorates a function so that `arg_scope` can set its arguments; those of a call come first."""

  @functools.wraps(function)
  def with_defaults(*args, **kwargs):
    return function(*args, **{**_scope.get().get(with_defaults, {}), **kwargs})

  with_defaults.has_arg_scope = True  # type: ignore[attr-defined]
  return with_defaults  # type: ignore[return-value]


def current_arg_scope() -> Scope:
  """Returns the defaults that apply here, as `{function: {argument: default}}`."""
  return _scope.get()


@contextlib.contextmanager
def arg_scope(functions: Sequence[Callable] | Scope,
              **arguments) -> Iterator[Scope]:
  """Sets default arguments of functions within a `with` block.

  Args:
    functions: functions decorated with `add_arg_scope`; or a scope from an earlier `arg_scope`,
      which replaces the current one.
    **arguments: what to add to the current defaults of each function.

  Yields:
    The scope.

  Raises:
    TypeError: if `functions` is neither, or a scope with further arguments.
    ValueError: if one of the functions is not decorated.
  """
  if isinstance(functions, Mapping):
    if arguments:
      raise TypeError('arg_scope: expected a scope alone, or functions with arguments. Received: a '
                      f'scope with the arguments {", ".join(arguments)}.')
    scope: dict[Callable, Mapping[str, Any]] = dict(functions)
  else:
    if not isinstance(functions, list | tuple):
      raise TypeError('arg_scope: expected a list of functions, or a scope. Received: '
                      f'{type(functions).__name__}.')
    for function in functions:
      if not hasattr(function, 'has_arg_scope'):
        raise ValueError('arg_scope: expected functions decorated with nets.layers.add_arg_scope. '
                         f'Received: {getattr(function, "__name__", function)}.')
    scope = dict(_scope.get())
    for function in functions:
      scope[function] = {**scope.get(function, {}), **arguments}
  token = _scope.set(scope)
  try:
    yield scope
  finally:
    _scope.reset(token)
