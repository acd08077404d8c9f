"""Who asks, and their tokens."""

from __future__ import annotations

from quart import Blueprint, abort, url_for
from quart.typing import ResponseReturnValue

from ..accounts import tokens
from ..accounts.current import require_user
from ..models import ApiToken
from .operations import nothing, operation
from .schemas import NewToken, TokenList, TokenView, TokenWithSecret, UserView

__all__ = ["account"]

account = Blueprint("account", __name__)


def _view(token: ApiToken) -> TokenView:
    return TokenView(
        id=token.id,
        name=token.name,
        hint=token.hint,
        created_at=token.created_at,
        last_used_at=token.last_used_at,
    )


@account.get("/me")
@operation("read_me", group="account", answers=UserView)
async def read_me() -> ResponseReturnValue:
    """Whose token or session this is"""
    user = await require_user()
    return UserView(username=user.username, is_admin=user.is_admin, created_at=user.created_at)  # type: ignore[return-value]


@account.get("/tokens")
@operation("list_tokens", group="account", answers=TokenList)
async def list_tokens() -> ResponseReturnValue:
    """Your tokens, the newest first

    Their secrets cannot be had again.
    """
    return TokenList(items=[_view(token) for token in await tokens.of_user(await require_user())])  # type: ignore[return-value]


@account.post("/tokens")
@operation(
    "create_token",
    group="account",
    body=NewToken,
    answers=TokenWithSecret,
    status=201,
    headers={"Location": "Where the token can be revoked."},
)
async def create_token(body: NewToken) -> ResponseReturnValue:
    """Make a token

    The answer has its secret, which is shown this once.
    """
    token, secret = await tokens.create(await require_user(), body.name)
    made = TokenWithSecret(
        id=token.id,
        name=token.name,
        hint=token.hint,
        created_at=token.created_at,
        last_used_at=token.last_used_at,
        token=secret,
    )
    return made, 201, {"Location": url_for(".revoke_token", identity=token.id)}  # type: ignore[return-value]


@account.delete("/tokens/<id63:identity>")
@operation("revoke_token", group="account", answers=None, status=204, problems=(403, 404))
async def revoke_token(identity: int) -> ResponseReturnValue:
    """Revoke a token

    It is refused from now on, even if it is the one that this request came with.
    """
    if not await tokens.revoke(await require_user(), identity):
        abort(404, "You have no token of this number.")
    return nothing()
