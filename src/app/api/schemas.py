"""What is sent and what is answered, as the API's description tells it.

Lengths and ranges are those of the pages' rules (``app.links.rules``, ``app.links.targets``), which are asked as
well: they know more than a schema can say, and say it in a sentence.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from ..links.rules import LONGEST_TAG, LONGEST_TITLE, MOST_TAGS, MOST_VISITS
from ..links.targets import LONGEST_TARGET

__all__ = [
    "Clicks",
    "ClicksOfDay",
    "ClicksQuery",
    "FieldProblem",
    "ImportView",
    "InvalidProblem",
    "JobAccepted",
    "JobError",
    "JobView",
    "LinkChanges",
    "LinkPage",
    "LinkView",
    "LinksQuery",
    "NewLink",
    "NewSum",
    "NewToken",
    "PreviewView",
    "Problem",
    "RefusedRow",
    "TokenList",
    "TokenView",
    "TokenWithSecret",
    "UserView",
]

_BIGGEST_ID = 2**63 - 1

Target = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LONGEST_TARGET,
        description="Where the link leads: an absolute http or https address of another site, without credentials.",
        examples=["https://example.com/a/long/path?with=parameters"],
    ),
]
Title = Annotated[str, Meta(max_length=LONGEST_TITLE, description="One line of text.", examples=["Minutes of May"])]
Expiry = Annotated[
    datetime,
    Meta(
        tz=True,
        description="When it stops working: in the future, at most 100 years away.",
        examples=["2031-01-31T18:00:00Z"],
    ),
]
Visits = Annotated[int, Meta(ge=1, le=MOST_VISITS, description="After how many visits it stops working.")]
Tags = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=LONGEST_TAG, pattern=r"^[^,]*$")]],
    Meta(max_length=MOST_TAGS, description="Kept in lower case, sorted, each once.", examples=[["minutes", "work"]]),
]
# The rule judges it, in a sentence; this is for readers.
Slug = Annotated[
    str,
    Meta(
        description="The short name; made up when it is left out. It cannot be changed later.",
        examples=["minutes-may"],
        extra_json_schema={"pattern": "^[A-Za-z0-9_-]{3,64}$"},
    ),
]


class NewLink(Struct, forbid_unknown_fields=True):
    """A link to be made."""

    target: Target
    slug: Slug | None = None
    title: Title | None = None
    expires_at: Expiry | None = None
    max_visits: Visits | None = None
    tags: Tags = []


class LinkChanges(Struct, forbid_unknown_fields=True):
    """What shall be different: a field that is left out stays, ``null`` takes its value away."""

    target: Target | UnsetType = UNSET
    title: Title | UnsetType | None = UNSET
    expires_at: Expiry | UnsetType | None = UNSET
    max_visits: Visits | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET


class PreviewView(Struct):
    """What the page that a link leads to says of itself; ``problem`` says why it could not be asked."""

    title: str | None
    description: str | None
    problem: str | None
    seen_at: datetime


class LinkView(Struct):
    """A link."""

    slug: str
    short_url: Annotated[str, Meta(description="The address to give away.")]
    target: str
    title: str | None
    expires_at: datetime | None
    max_visits: int | None
    visits: Annotated[int, Meta(ge=0, description="Clicks so far; those of the last seconds may be missing.")]
    expired: Annotated[bool, Meta(description="Whether its time is over or its visits are used up.")]
    tags: list[str]
    preview: Annotated[PreviewView | None, Meta(description="None until a worker has looked at the target.")]
    created_at: datetime


class LinkPage(Struct):
    """Some of the links, the newest first."""

    items: list[LinkView]
    next: Annotated[str | None, Meta(description="Where the next page is, as the header Link says it too.")]


class LinksQuery(Struct):
    q: Annotated[str, Meta(max_length=100, description="Words, or how they begin, in slug, title or target.")] = ""
    tag: Annotated[str, Meta(max_length=LONGEST_TAG, description="Only links that have this tag.")] | None = None
    before: (
        Annotated[int, Meta(ge=1, le=_BIGGEST_ID, description="Where a page begins: follow ``next`` to get it.")] | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=100, description="How many links a page has.")] = 20


class ClicksQuery(Struct):
    first: Annotated[date, Meta(description="The first day, in UTC; 29 days before ``to`` when left out.")] | None = (
        field(default=None, name="from")
    )
    last: Annotated[date, Meta(description="The last day, in UTC; today when left out.")] | None = field(
        default=None, name="to"
    )


class ClicksOfDay(Struct):
    """How often a link was followed on one day, in UTC."""

    day: date
    clicks: Annotated[int, Meta(ge=0)]


class Clicks(Struct):
    """How often a link was followed on each day from ``from`` to ``to``, both included."""

    slug: str
    first: date = field(name="from")
    last: date = field(name="to")
    total: Annotated[int, Meta(ge=0)]
    days: list[ClicksOfDay]


class UserView(Struct):
    """Whose token or session it is."""

    username: str
    is_admin: bool
    created_at: datetime


class NewToken(Struct, forbid_unknown_fields=True):
    """A token to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=64, description="What it is for.", examples=["Backup script"])]


class TokenView(Struct):
    """A token, without its secret."""

    id: Annotated[int, Meta(ge=1, le=_BIGGEST_ID)]
    name: str
    hint: Annotated[str, Meta(description="How the secret begins.")]
    created_at: datetime
    last_used_at: Annotated[datetime | None, Meta(description="To the hour.")]


class TokenWithSecret(Struct):
    """A new token. This is the only answer that has its secret."""

    id: Annotated[int, Meta(ge=1, le=_BIGGEST_ID)]
    name: str
    hint: str
    created_at: datetime
    last_used_at: datetime | None
    token: Annotated[str, Meta(description="The secret, to be sent as ``Authorization: Bearer …``.")]


class TokenList(Struct):
    """The tokens, the newest first."""

    items: list[TokenView]


# As exact as JSON's numbers are everywhere; their sum fits what results are kept in.
Summand = (
    Annotated[int, Meta(ge=-(2**53), le=2**53, examples=[2])]
    | Annotated[float, Meta(ge=-1e300, le=1e300, examples=[0.5])]
)


class NewSum(Struct, forbid_unknown_fields=True):
    """Two numbers to be added."""

    x: Summand
    y: Summand


class JobAccepted(Struct):
    """A job that will be done."""

    id: str
    url: Annotated[str, Meta(description="Where its state and its result are, as the header Location says it too.")]


class JobError(Struct):
    """Why a job has failed."""

    type: str
    message: str


class JobView(Struct, omit_defaults=True):
    """A job: what has become of it."""

    id: str
    state: Annotated[
        str, Meta(description="``PENDING``, ``STARTED``, ``RETRY``, ``SUCCESS``, ``FAILURE``, ``REVOKED``.")
    ]
    result: Annotated[int | float | UnsetType, Meta(description="Once it has succeeded.")] = UNSET
    error: Annotated[JobError | UnsetType, Meta(description="Once it has failed.")] = UNSET


class RefusedRow(Struct):
    """A row of a file that made no link."""

    line: Annotated[int, Meta(ge=1, description="In which line of the file it begins.")]
    reason: str


class ImportView(Struct):
    """An import: how far it is."""

    id: Annotated[int, Meta(ge=1, le=_BIGGEST_ID)]
    state: Annotated[str, Meta(description="``waiting``, ``running``, ``done``, ``cancelled`` or ``failed``.")]
    problem: Annotated[str | None, Meta(description="Why it has failed.")]
    total: Annotated[int | None, Meta(description="Rows of the file, once they have been counted.")]
    made: Annotated[int, Meta(ge=0, description="Links made.")]
    refused: Annotated[int, Meta(ge=0, description="Rows refused.")]
    first_refused: Annotated[list[RefusedRow], Meta(description="The first of them, at most 100.")]
    created_at: datetime
    finished_at: datetime | None


class FieldProblem(Struct, omit_defaults=True):
    """What is wrong with one field of the body, or with one parameter of the query."""

    detail: str
    pointer: Annotated[str, Meta(description="Which field: a JSON pointer.", examples=["#/tags/0"])] | UnsetType = UNSET
    parameter: Annotated[str, Meta(description="Which parameter of the query.")] | UnsetType = UNSET


class Problem(Struct, omit_defaults=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    request_id: Annotated[str, Meta(description="What to quote to whoever runs this site.")] | UnsetType = UNSET


class InvalidProblem(Struct, omit_defaults=True):
    """What was refused (RFC 9457), field by field."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    errors: Annotated[list[FieldProblem], Meta(min_length=1)]
    request_id: str | UnsetType = UNSET
