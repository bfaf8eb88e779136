"""Independent tasks run side by side, their results in order, few of them in memory."""

from __future__ import annotations

import operator
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import dask
from dask.system import CPU_COUNT
from rich.console import Console
from rich.progress import Progress, track

from gim_cv.errors import GimError

In = TypeVar("In")
Out = TypeVar("Out")


def ordered_map(
    function: Callable[[In], Out], items: Sequence[In], *, progress: str | None
) -> Iterator[Out]:
    """Yield ``function(item)`` for each item, in the order of `items`, whatever finishes first.

    Runs on the current dask client or, where dask's configuration has a ``scheduler-address`` (as
    the variable DASK_SCHEDULER_ADDRESS sets it), on that cluster; else on threads, as many as
    dask's ``num_workers`` (all CPUs by default; one under ``scheduler="synchronous"``). The
    caller's is one of them: it works while it would wait. One task more than there are workers is
    under way or waiting to be taken, so memory does not grow with the number of items.

    Parameters
    ----------
    function
        Pure and picklable: results must not depend on where it runs.
    items
        Arguments, one for each call.
    progress
        Title of a progress bar on stderr, drawn where that is a terminal; None: no bar.
    """
    with _pool(function) as (submit, take, limit), _bar(progress, len(items)) as advance:
        under_way: deque[Any] = deque()
        for item in items:
            if len(under_way) == limit:
                yield take(under_way)
                advance()
            under_way.append(submit(item))
        while under_way:
            yield take(under_way)
            advance()


class _Call:
    """A call that is made once, by a thread of the pool or by who waits for its result."""

    def __init__(self, function: Callable[[Any], Any], item: Any) -> None:
        self._function, self._item, self._claim = function, item, threading.Lock()
        self.future: Future[Any] = Future()

    def __call__(self) -> None:
        """Make the call unless somebody does."""
        if not self._claim.acquire(blocking=False):
            return
        try:
            self.future.set_result(self._function(self._item))
        except BaseException as err:
            self.future.set_exception(err)  # or who takes the result would wait for ever
            if not isinstance(err, Exception):
                raise  # an interrupt of the caller does not wait for its turn


@contextmanager
def _pool(
    function: Callable[[Any], Any],
) -> Iterator[tuple[Callable[[Any], Any], Callable[[deque[Any]], Any], int]]:
    """Give what starts a call, what takes the first one's result, and how many may be under way."""
    client, own = _client()
    if client is not None:
        workers = sum(client.nthreads().values()) or 1
        shared = client.scatter(function, hash=False)  # once, by a new name
        try:
            submit = partial(client.submit, operator.call, shared, pure=False)
            yield submit, lambda calls: calls.popleft().result(), workers + 1
        finally:
            if own:
                client.close()
        return
    if dask.config.get("scheduler", None) in ("sync", "synchronous", "single-threaded"):
        workers = 1
    else:
        workers = dask.config.get("num_workers", None) or CPU_COUNT
    if workers == 1:
        yield partial(_Call, function), _helped, 1
        return
    with ThreadPoolExecutor(workers - 1, thread_name_prefix="gim_cv") as pool:

        def start(item: Any) -> _Call:
            call = _Call(function, item)
            pool.submit(call)
            return call

        try:
            yield start, _helped, workers + 1
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _helped(calls: deque[_Call]) -> Any:
    """Take the first call's result; until it is there, make calls that no thread has begun."""
    for call in calls:
        if calls[0].future.done():
            break
        call()
    return calls.popleft().future.result()


def _client() -> tuple[Any, bool]:
    """Return the dask client to use, or None, and whether it was opened here."""
    address = dask.config.get("scheduler-address", None)
    if "distributed" not in sys.modules and not address:
        return None, False
    distributed = import_module("distributed")  # takes a second, so only where it is used
    try:
        return distributed.default_client(), False
    except ValueError:
        return (distributed.Client(address), True) if address else (None, False)


def tracked(items: Iterable[In], title: str | None, *, total: int, done: int = 0) -> Iterable[In]:
    """Return `items` with a progress bar on stderr, drawn where that is a terminal; None: no bar.

    Parameters
    ----------
    items
        What is gone through.
    title
        Of the bar.
    total, done
        How many there are, and how many of them are not among `items` any more.
    """
    console = Console(stderr=True)
    quiet = title is None or not console.is_terminal
    return track(items, title or "", total=total, completed=done, console=console, disable=quiet)


def one_by_one(
    step: Callable[[In], Out],
    items: Iterable[In],
    *,
    failed: Callable[[In, GimError], None] | None,
) -> list[Out]:
    """Return ``step(item)`` of each item for which it works.

    Parameters
    ----------
    step
        Raises a GimError where it does not work.
    items
        Its arguments.
    failed
        Told of each failure; None: the first one is raised.
    """
    done = []
    for item in items:
        try:
            done.append(step(item))
        except GimError as err:
            if failed is None:
                raise
            failed(item, err)
    return done


@contextmanager
def _bar(title: str | None, total: int) -> Iterator[Callable[[], None]]:
    console = Console(stderr=True)
    if title is None or not console.is_terminal:
        yield lambda: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)
