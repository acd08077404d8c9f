"""QR codes. Drawing one is work for a core: done in a process of its own, so that the threads here go on."""

import multiprocessing
from io import BytesIO

import segno

from .extensions import cache

KEPT_S = 86400
DEADLINE_S = 30
# Not plainly forked: this process has threads, and a fork would copy their locks as they happen to be. The server from
# which it forks starts with the first drawing, and imports us once.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["__main__", __name__])


def draw(text, kind):
    out = BytesIO()
    segno.make_qr(text, error="q", boost_error=False).save(out, kind=kind, scale=8, border=4, dark="#000", light="#fff")
    return out.getvalue()


def draw_into(pipe, text, kind):
    pipe.send_bytes(draw(text, kind))
    pipe.close()


@cache.memoize(timeout=KEPT_S)
def drawn(text, kind):
    """The image, drawn once a day at most."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=draw_into, args=(sender, text, kind), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(DEADLINE_S):
            raise TimeoutError(f"a QR code was not drawn within {DEADLINE_S} s")
        return receiver.recv_bytes()
    finally:
        receiver.close()
        process.join(timeout=1)
        if process.is_alive():
            process.kill()
            process.join()


def draw_ahead(app, text):
    """In a thread, right after a link was made."""
    with app.app_context():
        try:
            drawn(text, "svg")
        except Exception:
            app.logger.exception("the QR code of %s was not drawn", text)
