"""A Flask application and its Celery, as a team has them: nothing here knows of Decant."""

import os

from celery import Celery, Task, shared_task
from celery.result import AsyncResult
from flask import Flask, request
from flask_caching import Cache
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()
cache = Cache()
limiter = Limiter(get_remote_address, default_limits=["1000 per hour"])


class Product(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80), unique=True)


@shared_task(ignore_result=False)
def rename(product_id, name):
    product = db.session.get(Product, product_id)
    product.name = name
    db.session.commit()
    return product.name


def init_celery(app):
    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery = Celery(app.name, task_cls=FlaskTask)
    celery.config_from_object(app.config["CELERY"])
    celery.set_default()
    app.extensions["celery"] = celery
    return celery


def create_app():
    app = Flask("shop")
    redis = os.environ["REDIS_URL"]
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI=os.environ["DATABASE_URL"],
        CACHE_TYPE="RedisCache",
        CACHE_REDIS_URL=redis,
        RATELIMIT_STORAGE_URI=redis,
        CELERY={"broker_url": redis, "result_backend": redis},
    )
    db.init_app(app)
    cache.init_app(app)
    limiter.init_app(app)
    init_celery(app)

    @app.get("/products")
    @cache.cached(timeout=60)
    def products():
        return [product.name for product in Product.query.order_by(Product.name)]

    @app.post("/products")
    @limiter.limit("10 per minute")
    def add():
        product = Product(name=request.form["name"])
        db.session.add(product)
        db.session.commit()
        cache.delete("view//products")
        return {"id": product.id}, 201

    @app.post("/products/<int:product_id>/rename")
    def change(product_id):
        return {"job": rename.delay(product_id, request.form["name"]).id}, 202

    @app.get("/jobs/<job_id>")
    def job(job_id):
        result = AsyncResult(job_id)
        return {"state": result.state, "name": result.result if result.successful() else None}

    return app


app = create_app()
celery = app.extensions["celery"]
