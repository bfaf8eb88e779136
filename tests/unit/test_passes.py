"""Which batch comes next: the calls that Keras makes, one by one."""

from gim_cv.passes import Passes


def an_epoch(passes, steps):
    passes.begin()
    taken = [passes.take(0) for _ in range(steps)]
    passes.end()
    return taken


def a_call(passes, *, looks=0):
    """Begin `fit`; JAX looks at so many batches, on a device at one more."""
    passes.ask()
    if looks:
        passes.begin()
        for _ in range(looks):
            passes.take(0)
    passes.ask()
    passes.end()


def test_what_was_only_looked_at_comes_again():
    for steps in (1, 2, 5):
        for looks in (0, 1, min(2, steps)):
            passes = Passes(steps)
            for epoch in range(3):
                a_call(passes, looks=looks)
                for more in range(2):
                    whole = [(2 * epoch + more, index) for index in range(steps)]
                    assert an_epoch(passes, steps) == whole


def test_asking_as_an_epoch_ends_changes_nothing():
    """JAX makes the next epoch's iterator before it ends this one."""
    passes = Passes(2)
    a_call(passes)
    for epoch in range(3):
        passes.begin()
        passes.ask()
        assert [passes.take(9), passes.take(9)] == [(epoch, 0), (epoch, 1)]
        passes.ask()
        passes.end()


def test_short_epochs_go_on_and_a_new_call_begins_a_new_pass():
    passes = Passes(3)
    a_call(passes)
    found = [*an_epoch(passes, 2), *an_epoch(passes, 2)]
    assert found == [(0, 0), (0, 1), (0, 2), (1, 0)]
    a_call(passes, looks=1)
    assert an_epoch(passes, 3) == [(2, 0), (2, 1), (2, 2)]


def test_a_pass_that_was_broken_off_comes_again():
    passes = Passes(3)
    a_call(passes)
    passes.begin()
    passes.take(0)
    a_call(passes)
    assert an_epoch(passes, 3) == [(0, 0), (0, 1), (0, 2)]


def test_a_run_goes_on_within_a_pass():
    passes = Passes(4)
    passes.start(5, 2)
    assert (len(passes), passes.ask()) == (2, 2)
    a_call(passes, looks=1)
    assert an_epoch(passes, 2) == [(5, 2), (5, 3)]
    a_call(passes)
    assert (len(passes), an_epoch(passes, 4)[0]) == (4, (6, 0))


def test_outside_of_an_epoch_the_index_counts():
    passes = Passes(4)
    assert [passes.take(3), passes.take(1)] == [(0, 3), (0, 1)]
