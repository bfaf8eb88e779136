"""Order, bounds and clusters of the task runner."""

import threading
import time

import dask
import pytest

from gim_cv.scheduling import ordered_map


def slow_square(x: int) -> int:
    time.sleep(0.002 * (x % 3))
    return x * x


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers):
    with dask.config.set(num_workers=workers):
        assert list(ordered_map(slow_square, range(20), progress=None)) == [
            x * x for x in range(20)
        ]


def test_synchronous_runs_in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        found = list(ordered_map(lambda _: threading.get_ident(), range(3), progress=None))
    assert found == [threading.get_ident()] * 3


def test_no_more_tasks_run_than_the_consumer_can_take():
    started = []
    with dask.config.set(num_workers=2):
        results = ordered_map(lambda x: started.append(x) or x, range(50), progress=None)
        for taken, _ in enumerate(results):
            time.sleep(0.002)
            assert len(started) <= taken + 1 + 3


def test_a_failure_ends_the_run_and_leaves_no_thread():
    def fail(x):
        if x == 3:
            raise ValueError("three")
        return x

    before = threading.active_count()
    with dask.config.set(num_workers=2), pytest.raises(ValueError, match="three"):
        list(ordered_map(fail, range(100), progress=None))
    assert threading.active_count() == before


def test_whatever_ends_a_call_in_a_thread_reaches_the_caller():
    begun = threading.Event()

    def leave(x):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(timeout=30)
            return x
        begun.set()
        raise SystemExit("a thread leaves")

    with dask.config.set(num_workers=2), pytest.raises(SystemExit, match="a thread leaves"):
        list(ordered_map(leave, range(9), progress=None))


def test_leaving_early_leaves_no_thread():
    before = threading.active_count()
    results = ordered_map(slow_square, range(100), progress=None)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_nothing_to_do_is_nothing():
    assert list(ordered_map(slow_square, [], progress="none")) == []


def test_a_dask_client_takes_the_tasks():
    distributed = pytest.importorskip("distributed")
    with distributed.Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0"
    ):
        for _ in range(9):  # one after the other: what a call sent may be forgotten by then
            assert list(ordered_map(abs, [-1, 2, -3], progress=None)) == [1, 2, 3]
        assert list(ordered_map(slow_square, range(7), progress=None)) == [x * x for x in range(7)]


def test_the_caller_works_while_it_waits():
    second_ran = threading.Event()

    def wait_for_second(x):
        if x == 1:
            second_ran.set()
        elif x == 0:
            assert second_ran.wait(timeout=30)
        return threading.get_ident()

    with dask.config.set(num_workers=2):
        first, second, *_ = ordered_map(wait_for_second, range(3), progress=None)
    assert {first, second} > {threading.get_ident()}


def test_an_interrupt_of_the_caller_ends_the_run():
    def interrupted(x):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        time.sleep(0.05)
        return x

    before = threading.active_count()
    with dask.config.set(num_workers=2), pytest.raises(KeyboardInterrupt):
        list(ordered_map(interrupted, range(9), progress=None))
    assert threading.active_count() == before
