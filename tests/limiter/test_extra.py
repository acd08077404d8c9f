"""Without the extra."""

from __future__ import annotations

import subprocess
import sys


def test_an_import_without_limits_says_what_to_install() -> None:
    code = "import sys; sys.modules['limits'] = None; import decant.limiter"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "decant.limiter needs 'limits': pip install 'quart-decant[limiter]'" in result.stderr
