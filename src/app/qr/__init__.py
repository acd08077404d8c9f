"""QR codes of links. Imports nothing: the processes that draw them import :mod:`app.qr.drawing` alone."""
