"""Drawing a QR code: work for a core, done in another process."""

from __future__ import annotations

from io import BytesIO

import segno

__all__ = ["draw"]

_MODULE_PX = 8  # of one of the little squares
_BORDER = 4  # squares; what the standard wants, for cameras to find the code


def draw(text: str, kind: str) -> bytes:
    """A QR code of the text, black on white in dark mode too, as ``"svg"`` or ``"png"``.

    Error correction Q: it can be read with a quarter of it covered.
    """
    out = BytesIO()
    code = segno.make_qr(text, error="q", boost_error=False)
    code.save(out, kind=kind, scale=_MODULE_PX, border=_BORDER, dark="#000", light="#fff")
    return out.getvalue()
