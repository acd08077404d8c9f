"""Requests, byte by byte, each with a name."""

from __future__ import annotations

from collections.abc import Iterator

from .application import LONG

__all__ = ["CASES"]

_UUID = "8ad3b1c1-7a10-4b2c-8d7c-8b1f2d0f4c11"
_MULTIPART = (
    b'--frontier\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue\r\n'
    b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a \xc3\xbc.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nthe file\r\nof two lines\r\n"
    b'--frontier\r\nContent-Disposition: form-data; name="field"\r\n\r\nagain\r\n--frontier--\r\n'
)
_LINES = b"first\nsecond line\nthird\r\nlast"


def request(target: str | bytes, *headers: str | bytes, method: str = "GET", body: bytes | None = None) -> bytes:
    """A request of HTTP/1.1 to example.test, with the length of its body."""
    named = {_bytes(header).partition(b":")[0].lower() for header in headers}
    lines = [b" ".join((method.encode(), _bytes(target), b"HTTP/1.1"))]
    if b"host" not in named:
        lines.append(b"Host: example.test")
    if body is not None and not named & {b"content-length", b"transfer-encoding"}:
        lines.append(b"Content-Length: %d" % len(body))
    lines += map(_bytes, headers)
    return b"\r\n".join([*lines, b"", body or b""])


def post(target: str, body: bytes, kind: str = "application/octet-stream", *headers: str) -> bytes:
    return request(target, f"Content-Type: {kind}", *headers, method="POST", body=body)


def chunked(target: str, *chunks: bytes, kind: str = "text/plain", trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailer + b"\r\n"
    return post(target, body, kind, "Transfer-Encoding: chunked")


def _words(text: str) -> list[str]:
    return text.split()


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def _targets() -> Iterator[tuple[str, bytes]]:
    targets = _words("""
    / /nowhere /slash /slash/ /slash/?a=1 /no-slash /no-slash/ /slash// //slash/ /seen//double //seen/x
    /int/5 /int/-5 /int/05 /int/x /float/1.5 /float/5 /any/help /any/other /part/here /things /host/
    /seen/plain /seen/with%20space /seen/a+b /seen/a%2Bb /seen/a%2Fb /seen/a%252Fb /seen/%C3%BC /seen/%FF
    /seen/%e2%98%83 /seen/a;b=c /seen/a,b /seen/a:b@c /seen/a%3Fb /seen/a%23b /seen/%7Etilde/~ /seen/%zz /seen/100%
    /seen/a/../b
    /seen/a/./b /seen/%2e%2e/x /seen/"quoted" /seen/<b> /seen/a|b /seen/[x] /seen/{x} /seen/%00 /seen/%0A
    /seen/%C3 /seen/x/
    /stra%C3%9Fe/gr%C3%BC%C3%9Fe /stra%DFe/x /stra%c3%9fe/a%20b
    /seen/x?a=1&a=2&b= /seen/x?a=%C3%BC&b=%FF /seen/x?a=b=c&&d /seen/x?q=a+b%20c /seen/x?a;b /seen/x?%C3%BC=1
    /seen/x?a=<b> /seen/x?a="b" /seen/x?=1 /seen/x?a[]=1&a[]=2 /seen/x?a=1?b=2 /seen/x?a=%zz
    /environ/ /environ/a%20b/c /environ/%C3%BC?q=%C3%BC /environ/%FF%FE /environ/a%2Fb /environ/x?a=1&b=2 /environ/+
    /environ/;v=1 /environ//x //environ/x
    """)
    for target in targets:
        yield f"GET {target}", request(target)
    yield f"GET /uuid/{_UUID[:8]}…", request(f"/uuid/{_UUID}")
    yield "GET of a long path", request("/seen/" + "x" * 4000)
    yield "GET of a long query", request("/seen/x?q=" + "y" * 4000)
    yield "GET of an absolute target", request("http://example.test/seen/absolute?a=1")
    yield "GET of an absolute target without a path", request("http://example.test")
    yield "GET of an absolute target of another host", request("http://other.test/host/")
    yield "a stop in before_request", request("/hooks?stop=1")


def _methods() -> Iterator[tuple[str, bytes]]:
    for method in ("HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"):
        for target in ("/things", "/no-slash", "/give/text", "/slash", "/nowhere"):
            body = b"" if method in ("POST", "PUT", "PATCH") else None
            yield f"{method} {target}", request(target, method=method, body=body)
    yield "OPTIONS *", request("*", method="OPTIONS")
    for target in (*_words("/give/big /give/dict /give/no-length /streamed/5 /file /file/memory"), "/streamed/length"):
        yield f"HEAD {target}", request(target, method="HEAD")
    yield "HEAD of a WSGI body", request("/raw/head", method="HEAD")
    yield "DELETE with a body", request("/environ/", method="DELETE", body=b"x")


def _headers() -> Iterator[tuple[str, bytes]]:
    cases: dict[str, tuple[str | bytes, ...]] = {
        "one": ("X-One: 1",),
        "odd case": ("x-ONE: 1", "X-tWo: 2"),
        "twice": ("X-One: 1", "X-One: 2", "x-one: 3"),
        "underscores": ("X_One: 1", "X-Two: 2", "X_Two: 3", "_: 4"),
        "latin-1": (b"X-Latin: gr\xfc\xdfe",),
        "UTF-8": ("X-Utf: grüße".encode(),),
        "empty": ("X-Empty:", "X-Blank:   "),
        "spaces": ("X-Spaces:   a  b   ",),
        "tab": ("X-Tab: a\tb",),
        "symbols": ("X-!#$%&'*+.^`|~: 1",),
        "digits": ("X-1: 1", "1-X: 2"),
        "long": ("X-Long: " + "z" * 4000,),
        "many": tuple(f"X-Many-{number}: {number}" for number in range(60)),
        "languages": ("Accept-Language: de, en;q=0.5, *;q=0.1",),
        "accept": ("Accept: application/json;q=0.9, text/html;q=0.1",),
        "accept nothing": ("Accept:",),
        "cookies": ("Cookie: a=1; b=2",),
        "odd cookies": ('Cookie: a="x y"; b; c=; =d; e=1=2; a=2; \u00fc=\u00fc',),
        "basic": ("Authorization: Basic dXNlcjpwYXNz",),
        "bad basic": ("Authorization: Basic !!!",),
        "bearer": ("Authorization: Bearer a.b.c",),
        "agent": ("User-Agent: Mozilla/5.0 (X11)",),
        "no agent": (),
        "forwarded": ("X-Forwarded-For: 10.0.0.1, 10.0.0.2", "X-Forwarded-Host: else.test", "Forwarded: for=10.0.0.1"),
        "range": ("Range: bytes=0-4",),
        "bad range": ("Range: lines=1",),
        "since": ("If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT",),
        "not a date": ("If-Modified-Since: yesterday",),
        "tags": ('If-None-Match: "a", W/"b", *',),
        "type": ("Content-Type: text/plain; charset=utf-8",),
        "proxy": ("Proxy: evil", "Proxy-Connection: keep-alive"),
        "te": ("TE: trailers", "Trailer: X-T"),
        "origin": ("Origin: https://else.test", "Referer: https://else.test/x?y#z"),
        "keep-alive": ("Connection: keep-alive",),
        "close": ("Connection: close",),
        "upgrade": ("Upgrade: websocket",),
    }
    for name, headers in cases.items():
        for target in ("/seen/x", "/environ/x"):
            yield f"{name}: {target}", request(target, *headers)
    for host in (
        "EXAMPLE.test",
        "example.test:80",
        "example.test:8080",
        "127.0.0.1",
        "[::1]:5000",
        "",
        "a b",
        "ü.test",
    ):
        yield f"Host {host!r}", request("/host/", f"Host: {host}")
    yield "HTTP/1.0", b"GET /slash/ HTTP/1.0\r\n\r\n"
    yield "HTTP/1.0 with a host", b"GET /host/ HTTP/1.0\r\nHost: example.test\r\n\r\n"
    yield "HTTP/1.0, streamed", b"GET /streamed/3 HTTP/1.0\r\nHost: example.test\r\n\r\n"
    yield "HTTP/1.0 environ", b"GET /environ/x HTTP/1.0\r\nX-Old: 1\r\n\r\n"


def _bodies() -> Iterator[tuple[str, bytes]]:
    form, multipart, json = (
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=frontier",
        "application/json",
    )
    yield "a form", post("/form", b"a=1&a=2&b=%C3%BC&c=a+b&d", form)
    yield "an empty form", post("/form", b"", form)
    yield "a form that is not UTF-8", post("/form", b"a=%FF&b=\xff", form)
    yield "a form with a charset", post("/form", b"a=%FC", form + "; charset=latin-1")
    yield "a multipart form", post("/form", _MULTIPART, multipart)
    yield "a multipart form in chunks", chunked("/form", _MULTIPART[:50], _MULTIPART[50:], kind=multipart)
    yield "a multipart form cut off", post("/form", _MULTIPART[:100], multipart)
    yield "a multipart form without a boundary", post("/form", _MULTIPART, "multipart/form-data")
    yield "too many parts", post("/parts", _MULTIPART.replace(b"; filename", b"; x"), multipart)
    yield "JSON", post("/json", b'{"a": [1, "\xc3\xbc"]}', json)
    yield "JSON of a vendor", post("/json", b"[]", "application/vnd.x+json")
    yield "bad JSON", post("/json", b"{", json)
    yield "empty JSON", post("/json", b"", json)
    yield "JSON that is not UTF-8", post("/json", b'"\xff"', json)
    yield "JSON of a wrong type", post("/json", b"{}", "text/plain")
    yield "JSON in silence", post("/json/silent", b"{", json)
    yield "JSON by force", post("/json/silent", b"[1]", "text/plain")
    yield "JSON without a type", request("/json", method="POST", body=b"{}")
    yield "data", post("/data", bytes(range(256)))
    yield "no data", post("/data", b"")
    yield "no length", request("/length", method="POST")
    yield "no body, read", request("/data", method="POST")
    yield "data of a form", post("/data", b"a=1", form)
    yield "large data", post("/data", LONG)
    yield "too large", post("/form", b"a=" + b"x" * 1_000_001, form)
    yield "too large in chunks", chunked("/data", *[b"x" * 50_000] * 21)
    yield "too large for the view", post("/small", b"x" * 11)
    yield "large enough for the view", post("/small", b"x" * 10)
    yield "unread", post("/unread", b"x" * 1000)
    yield "chunks", chunked("/data", b"one ", b"two ", b"three")
    yield "no chunks", chunked("/data")
    yield "chunks with a trailer", chunked("/data", b"x", trailer=b"X-T: 1\r\n")
    yield (
        "chunks with an extension",
        post("/data", b"3;a=b\r\nabc\r\n0\r\n\r\n", "text/plain", "Transfer-Encoding: chunked"),
    )
    yield "chunks and their length", chunked("/length", b"12345", b"67890")
    yield "chunks, their environ", chunked("/environ/", b"12345")
    yield "Expect", post("/data", b"after all", "text/plain", "Expect: 100-continue")
    yield "Expect, unread", post("/unread", b"not read", "text/plain", "Expect: 100-continue")
    yield "a GET with a body", request("/environ/", "Content-Type: text/plain", body=b"body")
    for how in ("lines", "readline", "readlines", "pieces", "raw", "unknown"):
        yield f"a stream by {how}", post(f"/stream/{how}", _LINES, "text/plain")
        yield f"chunks by {how}", chunked(f"/stream/{how}", _LINES[:9], _LINES[9:20], _LINES[20:])
    yield "an echo", post("/streamed/echo", LONG[:10_500])
    yield "an echo of chunks", chunked("/streamed/echo", LONG[:700], LONG[700:2100])
    yield "leading zeros", request("/length", "Content-Length: 0005", method="POST", body=b"12345")


def _responses() -> Iterator[tuple[str, bytes]]:
    names = _words("""
    text unicode bytes empty dict list date status status-text headers triple latin spaces empty-header hop type no-type
    no-length 204 204-body 205 304 redirect redirect-308 see-other cookies jsonify template wsgi etag weak-etag modified
    cached vary www early big none number session flash url unknown
    """)
    for name in names:
        yield f"gives {name}", request(f"/give/{name}")
    for path in _words("0 1 5 bytes context context?q=1 length too-long events template empty large"):
        yield f"streams {path}", request(f"/streamed/{path}")
    raw = _words("""
    write late replaced raises raises-later reason
    odd-status status-alone nothing empty-first length file blocks errors head unknown
    """)
    for name in raw:
        yield f"raw {name}", request(f"/raw/{name}")
    for code in (400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423):
        yield f"aborts {code}", request(f"/abort/{code}")
    for code in (424, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 999):
        yield f"aborts {code}", request(f"/abort/{code}")
    for path in _words("/abort/response /abort/described /raise /raise/special /raise/key /hooks /hooks/failing"):
        yield f"GET {path}", request(path)


def _files() -> Iterator[tuple[str, bytes]]:
    paths = _words("""
    /file /file/attached /file/memory /file/directory/words.txt /file/directory/style.css /file/directory/no.txt
    /file/directory/../application.py /file/directory/%2e%2e/application.py /static/style.css /static/words.txt
    /static/no.css /static/ /static/../application.py
    """)
    for path in paths:
        yield f"file {path}", request(path)
    for target in ("/file", "/file/memory", "/static/words.txt", "/give/etag"):
        for bounds in ("0-4", "5-", "-3", "2-1", "9999999-", "0-0,2-3", "abc"):
            yield f"bytes {bounds} of {target}", request(target, f"Range: bytes={bounds}")
    for target in ("/give/etag", "/give/weak-etag", "/file/memory"):
        for tag in ('"v1"', 'W/"v1"', '"long"', '"other"', "*"):
            yield f"{target} unless {tag}", request(target, f"If-None-Match: {tag}")
            yield f"{target} if {tag}", request(target, f"If-Match: {tag}")
    for target in ("/give/modified", "/static/words.txt"):
        for since in ("Mon, 01 Jan 2024 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"):
            yield f"{target} since {since}", request(target, f"If-Modified-Since: {since}")


def _all() -> Iterator[tuple[str, bytes]]:
    for group in (_targets, _methods, _headers, _bodies, _responses, _files):
        yield from group()


CASES = dict(_all())
