"""Jobs that belong to a transaction, at both of its ends."""

import os

from sqlalchemy.orm import Mapped, mapped_column

from decant import Quart
from decant.database import SQLAlchemy
from decant.tasks import Tasks

app = Quart(__name__)
app.config.update(
    SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "postgresql:///example"),
    REDIS_URL=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"),
)
db = SQLAlchemy(app)
tasks = Tasks(app)


class Order(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    paid: Mapped[bool] = mapped_column(default=False)
    bookings: Mapped[int] = mapped_column(default=0)


@tasks.task(transaction=True)
async def book(order_id):
    order = await db.session.get(Order, order_id)
    order.bookings += 1  # committed together with the end of the job: exactly once


@app.post("/orders/<int:order_id>/pay")
async def pay(order_id):
    order = await db.get_or_404(Order, order_id)
    order.paid = True
    await book.delay(order_id)  # in the same transaction: without the commit there is no job either
    await db.session.commit()
    return "", 204
