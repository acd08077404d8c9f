"""``flask_sqlalchemy``: Flask-SQLAlchemy's names over :mod:`decant.database`."""

from __future__ import annotations

from typing import Final

from ... import database
from ...database import app_setup, model, pagination, query, record_queries, track_modifications
from ...faces import face
from .table import Module, names

__all__ = ["MODULES"]


_PAGES: Final = {
    name: getattr(pagination, f"Plain{name}") for name in ("Pagination", "SelectPagination", "QueryPagination")
}

MODULES: Final = {
    "flask_sqlalchemy": Module(
        {"SQLAlchemy": face(database.SQLAlchemy), "__version__": "3.1.1"},
        {
            "BaseQuery": "it is flask_sqlalchemy.query.Query",
            "get_debug_queries": "it is flask_sqlalchemy.record_queries.get_recorded_queries",
            "SignallingSession": "it is flask_sqlalchemy.session.Session",
            "Model": "it is flask_sqlalchemy.model.Model",
            "Pagination": "it is flask_sqlalchemy.pagination.Pagination",
            "models_committed": "it is in flask_sqlalchemy.track_modifications",
            "before_models_committed": "it is in flask_sqlalchemy.track_modifications",
        },
    ),
    "flask_sqlalchemy.cli": Module({"add_models_to_shell": app_setup.models_by_name}),
    "flask_sqlalchemy.extension": Module({"SQLAlchemy": face(database.SQLAlchemy)}),
    "flask_sqlalchemy.model": Module(
        names(
            model,
            *("Model", "BindMetaMixin", "BindMixin", "NameMetaMixin", "NameMixin"),
            *("DefaultMeta", "DefaultMetaNoName", "camel_to_snake_case"),
        ),
        {"should_set_tablename": "SQLAlchemy(disable_autonaming=True) leaves it to the models"},
    ),
    "flask_sqlalchemy.pagination": Module(_PAGES),
    "flask_sqlalchemy.query": Module({"Query": query.Query}),
    "flask_sqlalchemy.record_queries": Module(
        {"get_recorded_queries": record_queries.get_recorded_queries, "_QueryInfo": record_queries.QueryInfo}
    ),
    "flask_sqlalchemy.session": Module({"Session": database.Session}),
    "flask_sqlalchemy.table": Module({}, {"_Table": "it is db.Table"}),
    "flask_sqlalchemy.track_modifications": Module(
        names(track_modifications, "models_committed", "before_models_committed")
    ),
}
