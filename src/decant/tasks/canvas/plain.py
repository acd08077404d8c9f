"""Signatures as plain dictionaries, to be stored."""

from __future__ import annotations

from typing import Any

from .signature import Signature, maybe_signature

__all__ = ["plain"]


def plain(sig: Signature, shifted: bool = False) -> dict[str, Any]:
    """A dictionary of dictionaries, whose arguments can be encoded.

    :param shifted: whether it will be called with a result before its own arguments.
    """
    options = dict(sig.options)
    for name in ("link", "link_error"):
        if options.get(name):
            options[name] = [plain(maybe_signature(one, sig._app), shifted=True) for one in options[name]]
    queue = options.get("queue")
    if queue is not None:
        options["queue"] = getattr(queue, "name", queue)
    args, kwargs = _arguments(sig, shifted)
    return {**sig, "args": args, "kwargs": kwargs, "options": options}


def _arguments(sig: Signature, shifted: bool) -> tuple[list[Any], dict[str, Any]]:
    kwargs = dict(sig.kwargs)
    if sig.KIND == "chain":
        kwargs["tasks"] = [plain(one, shifted or index > 0) for index, one in enumerate(kwargs["tasks"])]
    elif sig.KIND == "group":
        kwargs["tasks"] = [plain(one, shifted) for one in kwargs["tasks"]]
    elif sig.KIND == "chord":
        kwargs["header"] = plain(kwargs["header"], shifted)
        kwargs["body"] = None if kwargs["body"] is None else plain(kwargs["body"], shifted=True)
    elif sig.KIND is not None:
        kwargs["task"] = plain(kwargs["task"])
    else:
        return _converted(sig, shifted and not sig.immutable)
    return list(sig.args), kwargs


def _converted(sig: Signature, shifted: bool) -> tuple[list[Any], dict[str, Any]]:
    task = None if sig._app is None else sig._app.tasks.get(sig.task)
    if task is None:
        return list(sig.args), dict(sig.kwargs)
    args, kwargs = task.to_plain([None, *sig.args] if shifted else sig.args, sig.kwargs)
    return args[1:] if shifted else args, kwargs
