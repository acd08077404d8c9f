"""What ``decant serve`` says when it serves: what runs where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .options import Options

__all__ = ["banner"]


def banner(options: Options, facts: dict[str, Any], addresses: Sequence[str]) -> str:
    """Lines, each with a name and what is so.

    :param facts: what the first process said of itself.
    """
    count = options.workers
    lines = {
        "target": f"{options.target} ({facts['kind']})",
        "views": facts["views"],
        "faces": facts.get("faces", ""),
        "databases": facts.get("databases", ""),
        "server": f"{facts['server']}, {count} process{'es' if count > 1 else ''}",
        "proxies": f"{options.proxy_hops} in front are believed" if options.proxy_hops else "",
        "health": facts.get("health", ""),
        "drain": f"{options.drain_s:g} s, streams and sockets {options.open_s:g} s",
        "listening": " ".join(addresses),
        "caution": facts["caution"],
    }
    return "\n".join(["decant serve", *(f"  {name:<10} {text}" for name, text in lines.items() if text)])
