"""A pytest plugin: the names of ``unittest`` that Python 3.12 removed, for tests of 2017."""

from __future__ import annotations

import unittest

if not hasattr(unittest.TestCase, "assertEquals"):
    unittest.TestCase.assertEquals = unittest.TestCase.assertEqual  # type: ignore[attr-defined]
