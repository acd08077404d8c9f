"""The synchronous face of an asynchronous class: one implementation for Quart, and for Flask.

A twin is written once, async, and marks what talks to the outside::

    class Cache:
        @io_method
        async def get(self, key: str) -> object: ...

        @io_property
        async def state(self) -> str: ...

``face(Cache)`` is the class that Flask code uses: ``cache.get("a")`` returns the value and ``cache.state`` is a plain
value, by way of :func:`decant.bridge.wait`, so in a thread, in a bridge on the loop, and in a script alike. ``async
with`` becomes ``with``, ``async for`` becomes ``for``, coroutine functions become functions, returned twins come as
their faces (in lists, tuples, sets and dictionaries too), and everything else passes through.

Functions that a user hands to a face run where that user waits: on the loop in the caller's bridge, or in the
caller's thread. Only there may they be called, so a twin calls every function of a user as ``await called(f, …)``.
What is merely callable, as an application or a class is, is handed over as it is.

A user's subclass of a face may override methods, as one of the extension could: the twin calls them, too.

An iterator that is left early is closed as an async generator is: soon, by the loop. To have it closed at once, use
``contextlib.closing``.
"""

from .classes import face
from .marks import called, io_method, io_property
from .values import Face, faced, twin_of

__all__ = ["Face", "called", "face", "faced", "io_method", "io_property", "twin_of"]
