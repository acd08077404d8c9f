"""What is sent to the API: bodies and queries, and what is wrong with them."""

import json
import re
from datetime import date, datetime

from flask import abort, request
from werkzeug.datastructures import MultiDict

from .forms import LONGEST_TAG, MOST_TAGS, LinkFields, one_line
from .hooks import Rejected

FIELDS = ("target", "slug", "title", "expires_at", "max_visits", "tags")


def read_json():
    """The body, a JSON object. 415, 400 or 422 if it is none."""
    if not request.is_json:
        abort(415, "Send the body as application/json.")
    raw = read_body()
    try:
        body = json.loads(raw.decode(), object_pairs_hook=no_twice, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        abort(400, f"The body is not JSON: {str(error)[:200]}.")
    if not isinstance(body, dict):
        raise Rejected([{"detail": "The body must be a JSON object.", "pointer": "#"}])
    return body


def read_body():
    """The body. 413 also where it comes in chunks, which Werkzeug would cut off at the limit and give to us."""
    body = request.get_data()
    if request.content_length is None and len(body) >= request.max_content_length:
        abort(413)
    return body


def no_twice(pairs):
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has a key twice")
    return made


def no_constant(name):
    raise ValueError(f"{name} is not JSON")


def refuse_fields(errors):
    """``errors``: a sentence for each field that is wrong."""
    raise Rejected([{"detail": text, "pointer": f"#/{name}"} for name, text in sorted(errors.items())])


def check_names(body, allowed, required=()):
    """A sentence for each field that is unknown or missing."""
    errors = {
        name[:100].replace("~", "~0").replace("/", "~1"): f"There is no such field. There are {', '.join(allowed)}."
        for name in body
        if name not in allowed
    }
    errors.update({name: "This field is required." for name in required if name not in body})
    return errors


def is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def check_types(body, errors, nullable):
    """The types of a link's fields; the form judges what has the right type."""
    for name, value in body.items():
        if value is None:
            if name not in nullable:
                errors[name] = "This field cannot be null."
        elif name in ("target", "slug", "title") and not isinstance(value, str):
            errors[name] = "Expected a string."
        elif name == "max_visits" and not (is_integer(value) and 1 <= value <= 1_000_000_000):
            errors[name] = "Expected a whole number from 1 to 1000000000."
        elif name == "expires_at" and not is_moment(value):
            errors[name] = "Expected a date and time with its offset: 2031-01-31T18:00:00Z."
        elif name == "tags":
            check_tags(value, errors)


def is_moment(value):
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def check_tags(value, errors):
    if not isinstance(value, list) or len(value) > MOST_TAGS:
        errors["tags"] = f"Expected an array of at most {MOST_TAGS} strings."
        return
    for index, tag in enumerate(value):
        if not isinstance(tag, str) or not 1 <= len(tag) <= LONGEST_TAG or "," in tag:
            errors[f"tags/{index}"] = f"Expected a string of 1 to {LONGEST_TAG} characters without a comma."


def check_link(body, link=None):
    """The checked values of a link. Raises Rejected."""
    errors = check_names(body, FIELDS if link is None else FIELDS[:1] + FIELDS[2:], ("target",) if link is None else ())
    known = {name: value for name, value in body.items() if name in FIELDS}
    check_types(known, errors, ("slug", "title", "expires_at", "max_visits"))
    if known.get("slug") is not None and "slug" not in errors and (known["slug"].strip() or " ") != known["slug"]:
        errors["slug"] = "A short name has no blanks around it. Leave it out to have one made up."
    if link is not None:
        now = {name: getattr(link, name) for name in ("target", "title", "expires_at", "max_visits")}
        known = {**now, "tags": [tag.name for tag in link.tags], **known}
    right = {name: value for name, value in known.items() if value is not None and name not in errors}
    texts = {name: ",".join(value) if name == "tags" else str(value) for name, value in right.items() if texty(value)}
    form = LinkFields(MultiDict(texts), link=link)
    if not form.validate() or errors:
        wrong = {name: found[0] for name, found in form.errors.items() if name not in errors}
        refuse_fields({**wrong, **errors})
    return form.clean


def texty(value):
    return not isinstance(value, list) or all(isinstance(tag, str) for tag in value)


def read_query(*names):
    """The parameters of the query, each once at most."""
    errors = []
    for name, values in request.args.lists():
        if name not in names:
            known = f"There are {', '.join(names)}" if names else "There are none here"
            errors.append({"detail": f"There is no such parameter. {known}.", "parameter": name[:100]})
        elif len(values) > 1:
            errors.append({"detail": "Give this parameter only once.", "parameter": name})
    if errors:
        raise Rejected(errors)
    return request.args.to_dict()


def number(query, name, default, most):
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[1-9][0-9]{0,18}", text) or int(text) > most:
        raise Rejected([{"detail": f"Expected a whole number from 1 to {most}.", "parameter": name}])
    return int(text)


def line(query, name):
    try:
        return one_line(query.get(name), 100, f"The parameter {name}")
    except ValueError as error:
        raise Rejected([{"detail": str(error), "parameter": name}]) from None


def day(query, name, default):
    text = query.get(name)
    if text is None:
        return default
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise Rejected([{"detail": "Expected a date: 2031-01-31.", "parameter": name}]) from None
