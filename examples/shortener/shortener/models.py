"""The tables. The older ones are in the classic style, the newer ones in SQLAlchemy 2.0's."""

import hashlib
import secrets
import sqlite3
import uuid
from datetime import UTC, date, datetime, timedelta

from flask import current_app
from flask_login import UserMixin
from sqlalchemy import Engine, ForeignKey, Index, LargeBinary, String, TypeDecorator, Uuid, event, text
from sqlalchemy.orm import Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash

from .extensions import db, login_manager


@event.listens_for(Engine, "connect")
def enforce_foreign_keys(connection, record):
    """SQLite deletes what belongs to a deleted row only if it is told to."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA foreign_keys = ON")


def utcnow():
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator):
    """Moments in UTC, also in SQLite, which keeps no time zone."""

    impl = db.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value, dialect):
        if value is not None and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value.astimezone(UTC) if value is not None else None


link_tags = db.Table(
    "link_tags",
    db.Column("link_id", db.ForeignKey("links.id", ondelete="CASCADE"), primary_key=True),
    db.Column("tag_id", db.ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True, index=True),
)


class User(UserMixin, db.Model):
    __tablename__ = "users"

    id = db.Column(db.Integer, primary_key=True)
    username = db.Column(db.String(32), unique=True, nullable=False, index=True)
    password_hash = db.Column(db.String(255), nullable=False)
    is_admin = db.Column(db.Boolean, nullable=False, default=False)
    # Raised to end every session: a session holds the number with which it was begun.
    session_epoch = db.Column(db.Integer, nullable=False, default=0)
    created_at = db.Column(UtcDateTime, nullable=False, default=utcnow)

    links = db.relationship("Link", backref="owner", lazy="dynamic", passive_deletes=True)
    tags = db.relationship("Tag", backref="owner", lazy="select", passive_deletes=True)
    tokens = db.relationship(
        "ApiToken", backref="owner", lazy="select", order_by="ApiToken.id.desc()", passive_deletes=True
    )

    def set_password(self, password):
        self.password_hash = generate_password_hash(password, method=current_app.config["PASSWORD_METHOD"])

    def check_password(self, password):
        return check_password_hash(self.password_hash, password)

    def get_id(self):
        return f"{self.id}.{self.session_epoch}"

    def __repr__(self):
        return f"<User {self.username}>"


@login_manager.user_loader
def load_user(identity):
    number, _, epoch = identity.partition(".")
    if not (number.isdecimal() and epoch.isdecimal() and len(number) < 10):
        return None
    user = db.session.get(User, int(number))
    return user if user is not None and user.session_epoch == int(epoch) else None


class ApiToken(db.Model):
    """A bearer token. Only its hash is kept: it is random enough to need no salt."""

    __tablename__ = "api_tokens"
    MOST = 50

    id = db.Column(db.Integer, primary_key=True)
    owner_id = db.Column(db.Integer, db.ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True)
    name = db.Column(db.String(64), nullable=False)
    hint = db.Column(db.String(16), nullable=False)
    digest = db.Column(db.String(64), unique=True, nullable=False)
    created_at = db.Column(UtcDateTime, nullable=False, default=utcnow)
    last_used_at = db.Column(UtcDateTime)

    @staticmethod
    def digest_of(secret):
        return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()

    @classmethod
    def make(cls, owner, name):
        """A new token and its secret, which cannot be had again."""
        secret = "dct_" + secrets.token_urlsafe(32)
        token = cls(owner_id=owner.id, name=name, hint=secret[:10], digest=cls.digest_of(secret))
        db.session.add(token)
        db.session.commit()
        return token, secret

    @classmethod
    def find_user(cls, secret):
        token = cls.query.filter_by(digest=cls.digest_of(secret)).first()
        if token is None:
            return None
        if token.last_used_at is None or token.last_used_at < utcnow() - timedelta(hours=1):
            token.last_used_at = utcnow()
            db.session.commit()
        return token.owner


class Tag(db.Model):
    __tablename__ = "tags"
    __table_args__ = (db.UniqueConstraint("owner_id", "name"),)

    id = db.Column(db.Integer, primary_key=True)
    owner_id = db.Column(db.Integer, db.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    name = db.Column(db.String(32), nullable=False)


class Link(db.Model):
    __tablename__ = "links"
    __table_args__ = (db.Index("ix_links_owner_id_id", "owner_id", "id"),)

    id = db.Column(db.Integer, primary_key=True)
    owner_id = db.Column(db.Integer, db.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    slug = db.Column(db.String(64), unique=True, nullable=False)
    target = db.Column(db.String(2048), nullable=False)
    title = db.Column(db.String(200))
    expires_at = db.Column(UtcDateTime)
    max_visits = db.Column(db.BigInteger)
    visits = db.Column(db.BigInteger, nullable=False, default=0)
    created_at = db.Column(UtcDateTime, nullable=False, default=utcnow)

    tags = db.relationship("Tag", secondary=link_tags, order_by="Tag.name", backref="links")
    days = db.relationship("ClickDay", lazy="dynamic", cascade="all, delete-orphan", passive_deletes=True)

    @property
    def expired(self):
        """Whether its time is over or its visits are used up."""
        over = self.expires_at is not None and self.expires_at <= utcnow()
        return over or (self.max_visits is not None and self.visits >= self.max_visits)


class ClickDay(db.Model):
    """The clicks of a link on one day, in UTC."""

    __tablename__ = "click_days"

    link_id: Mapped[int] = mapped_column(ForeignKey("links.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    clicks: Mapped[int] = mapped_column(default=0)


class Job(db.Model):
    """Whose background job it is. Its state and its result are Celery's."""

    __tablename__ = "jobs"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, index=True)


class Import(db.Model):
    """A file of links: ``waiting`` and ``running``, then ``done``, ``cancelled`` or ``failed``."""

    __tablename__ = "imports"
    ACTIVE = ("waiting", "running")
    __table_args__ = (
        # One at a time for each user, whichever process is asked.
        Index(
            "uq_imports_active",
            "owner_id",
            unique=True,
            postgresql_where=text("state IN ('waiting', 'running')"),
            sqlite_where=text("state IN ('waiting', 'running')"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    file_name: Mapped[str] = mapped_column(String(200))
    # With the database, because the worker may be on another machine. Gone when the import has ended.
    content: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    # Our own hosts, as the request knew them: no link may lead there.
    hosts: Mapped[list] = mapped_column(db.JSON, default=list)
    columns: Mapped[list | None] = mapped_column(db.JSON)
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    problem: Mapped[str | None] = mapped_column(String(500))
    total: Mapped[int | None]
    done: Mapped[int] = mapped_column(default=0)
    made: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    errors: Mapped[list["RefusedRow"]] = relationship(
        order_by="RefusedRow.line", lazy="select", passive_deletes=True, cascade="all, delete-orphan"
    )

    @property
    def active(self):
        return self.state in self.ACTIVE

    def figures(self):
        """What pages are told while it runs."""
        return {
            "id": self.id,
            "state": self.state,
            "total": self.total,
            "done": self.done,
            "made": self.made,
            "refused": self.refused,
        }


class RefusedRow(db.Model):
    """A row that made no link, as it was, and why."""

    __tablename__ = "refused_rows"

    id: Mapped[int] = mapped_column(primary_key=True)
    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id", ondelete="CASCADE"), index=True)
    line: Mapped[int]
    reason: Mapped[str] = mapped_column(String(1000))
    cells: Mapped[list] = mapped_column(db.JSON)
