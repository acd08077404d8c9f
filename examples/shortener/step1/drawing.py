"""Drawing QR codes: each process that draws imports this, and so no more than it needs."""

from io import BytesIO

import segno


def draw(text, kind):
    out = BytesIO()
    segno.make_qr(text, error="q", boost_error=False).save(out, kind=kind, scale=8, border=4, dark="#000", light="#fff")
    return out.getvalue()
