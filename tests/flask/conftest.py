"""What tests of the Flask side share."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture
def polling() -> Iterator[None]:
    """For python-socketio's client: one that polls does not read the answers to what it sends, so that a connection
    may be left to the garbage collector. Which is asked here, before another test hears of it.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
