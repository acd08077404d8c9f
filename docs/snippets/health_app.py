from decant import Quart
from decant.ops.health import health
from decant.ops.registry import readiness

app = Quart(__name__)


async def mail_server() -> None:
    """Raises what is wrong."""


readiness("mail", mail_server, critical=False, app=app)
health(app)
