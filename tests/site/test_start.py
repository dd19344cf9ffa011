"""The start of a command of the server."""

import gc

from promptops.__main__ import without_collecting


def test_what_a_start_loads_is_excluded_from_garbage_collection_and_nothing_later() -> None:
    loaded: list[object] = []

    def load() -> None:
        assert not gc.isenabled()
        loaded.append({"a": []})

    try:
        without_collecting(load)
        assert gc.isenabled()
        tracked = {id(each) for each in gc.get_objects()}
        assert id(loaded[0]) not in tracked
        later: list[object] = [[]]
        assert id(later) in {id(each) for each in gc.get_objects()}
    finally:
        gc.unfreeze()
