"""``install()`` and ``uninstall()``: an application's imports give faces, and errors that say what a face lacks."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.flask.programs import run_program

NAMES = Path(__file__).parent / "original_names.json"  # of the newest releases, by module

CHECK = """
    import importlib, json, sys
    from decant.flask import install

    install()
    missing = {}
    for module, names in json.load(open(sys.argv[1]))["names"].items():
        for name in [None, *names]:
            try:
                if name is None:
                    importlib.import_module(module)
                else:
                    exec(f"from {module} import {name}")
            except ImportError as error:
                missing[f"{module}:{name or ''}"] = str(error)
    import celery

    assert not hasattr(celery, "bugreport")
    assert getattr(celery, "platforms", None) is None
    for module, version in json.load(open(sys.argv[1]))["versions"].items():
        assert getattr(sys.modules[module], "__version__", version) == version
    print(json.dumps(missing))
"""

MUST_BE_THERE = """
    flask_caching:Cache flask_caching:CachedResponse flask_caching.utils:make_template_fragment_key
    flask_caching.backends:RedisCache flask_caching.backends.base:BaseCache flask_caching.jinja2ext:CacheExtension
    flask_limiter:Limiter flask_limiter:RequestLimit flask_limiter:RateLimitExceeded flask_limiter:Limit
    flask_limiter.util:get_remote_address flask_limiter.errors:RateLimitExceeded flask_limiter.constants:ConfigVars
    flask_cors:CORS flask_cors:cross_origin flask_cors.decorator:cross_origin
    flask_socketio:SocketIO flask_socketio:Namespace flask_socketio:SocketIOTestClient flask_socketio:emit
    flask_socketio:send flask_socketio:call flask_socketio:join_room flask_socketio:rooms flask_socketio:disconnect
    flask_sqlalchemy:SQLAlchemy flask_sqlalchemy.session:Session flask_sqlalchemy.model:Model
    flask_sqlalchemy.pagination:Pagination flask_sqlalchemy.pagination:QueryPagination flask_sqlalchemy.query:Query
    flask_sqlalchemy.record_queries:get_recorded_queries flask_sqlalchemy.model:DefaultMeta
    flask_executor:Executor flask_executor.futures:FutureProxy
    flask_cdn:CDN flask_cdn:url_for flask_migrate:Migrate flask_migrate:upgrade flask_migrate:stamp
    celery:Celery celery:Task celery:shared_task celery:chain celery:group celery:chord celery:current_app
    celery:current_task celery:signature celery.result:AsyncResult celery.result:GroupResult celery.schedules:crontab
    celery.signals:task_prerun celery.signals:worker_ready celery.exceptions:SoftTimeLimitExceeded
    celery.exceptions:MaxRetriesExceededError celery.exceptions:Retry celery.utils.log:get_task_logger
    celery.app.task:Task celery.canvas:Signature celery.states:SUCCESS celery.contrib.testing.worker:start_worker
""".split()  # noqa: SIM905


ADVICE = {
    "celery.schedules:solar": "it has no counterpart; a task of every minute can look at the sun",
    "celery.contrib.abortable:AbortableTask": "revoke(terminate=True) stops a job at its next wait",
    "flask_migrate:list_templates": "there is one template, for async engines",
    "flask_caching.contrib.uwsgicache:": "use RedisCache, or a cache of your own as CACHE_TYPE",
}


def test_every_public_name_is_there_or_an_error_says_that_it_is_not() -> None:
    """Of all modules of the originals' newest releases that applications import from."""
    missing = json.loads(run_program(CHECK, str(NAMES)))
    assert not set(MUST_BE_THERE) & set(missing)
    said = re.compile(
        r"^\w+(\.\w+)* has no '\w+' while decant\.[\w.]+ stands in for \w+ \(decant\.flask\.install\(\)\)"
    )
    assert [text for text in missing.values() if not said.match(text)] == []
    for name, advice in ADVICE.items():
        assert missing[name].endswith(f": {advice}")
    known = sum(len(names) for names in json.loads(NAMES.read_text())["names"].values())
    assert known - len(missing) > 200


def test_it_says_what_it_replaced_and_is_undone() -> None:
    """Nothing but the targets is touched; what was imported meanwhile keeps its face."""
    out = run_program("""
        import logging, sys
        logging.basicConfig(level="INFO", format="%(name)s: %(message)s", stream=sys.stdout)
        before = list(sys.meta_path)
        from decant.flask import install, uninstall

        print(install("flask_cors", "flask_caching"), install("flask_cors"))
        from flask_caching import Cache
        import flask_caching.utils
        from flask_login import LoginManager
        assert LoginManager.__module__ == "flask_login.login_manager"
        uninstall()
        assert sys.meta_path == before
        assert "flask_caching" not in sys.modules and "flask_caching.utils" not in sys.modules
        import flask_caching
        print(flask_caching.Cache.__module__, flask_caching.Cache is Cache)
    """)
    assert out.splitlines() == [
        "decant.flask: imports are replaced: flask_cors by decant.cors, flask_caching by decant.cache",
        "['flask_cors', 'flask_caching'] []",
        "decant.flask: imports are no longer replaced: flask_caching, flask_cors",
        "flask_caching False",
    ]


def test_its_modules_behave_like_others() -> None:
    """``import *``, a reload, imports in several threads at once; undone beside what is no module."""
    out = run_program("""
        import importlib, sys, threading
        from decant.flask import install, uninstall

        install()
        names = ["flask_cors.core", "flask_executor.futures", "flask_cors", "flask_executor.executor", "flask_cdn"]
        found, together = [], threading.Barrier(4)
        def load(order):
            together.wait(20)
            found.append({name: id(importlib.import_module(name)) for name in order})
        threads = [threading.Thread(target=load, args=(names[n:] + names[:n],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        print([ids == found[0] for ids in found])
        star = {}
        exec("from flask_cors import *", star)
        import flask_cors
        print(star["CORS"] is flask_cors.CORS is importlib.reload(flask_cors).CORS, "names" in star)
        sys.modules["flask_limiter"] = None
        uninstall()
        print([name for name in sys.modules if name.startswith("flask_")])
    """)
    assert out.splitlines() == ["[True, True, True, True]", "True False", "['flask_limiter']"]


def test_it_comes_too_late_where_a_target_or_a_submodule_is_imported() -> None:
    out = run_program("""
        import flask_limiter.util
        from decant.flask import install

        try:
            install()
        except RuntimeError as error:
            print(error)
        try:
            install("flask_nothing")
        except ValueError as error:
            print(error)
        print(install("flask_caching"))
        import flask_caching
        print(flask_caching.Cache.__module__, flask_limiter.Limiter.__module__)
    """)
    late, unknown, *rest = out.splitlines()
    assert late.startswith("install() comes too late for flask_limiter, flask_limiter._compat")
    assert "Call install() before the application" in late
    assert unknown.startswith("there is no twin of 'flask_nothing': install() replaces flask_caching, flask_limiter,")
    assert rest == ["['flask_caching']", "decant.flask.modules.caching flask_limiter._extension"]


def test_it_needs_nothing_but_the_base_install() -> None:
    """The twins, and what they need, are imported when the application imports them."""
    out = run_program("""
        import sys
        from decant.flask import install

        install()
        heavy = ("sqlalchemy", "redis", "limits", "socketio", "arq", "alembic", "msgspec", "decant.cache", "flask_cors")
        print([name for name in heavy if name in sys.modules])
        sys.modules["limits"] = None
        try:
            import flask_limiter
        except ImportError as error:
            print(error)
    """)
    first, second = out.splitlines()
    assert first == "[]"
    assert "quart-decant[limiter]" in second


APP = """
    from flask import Flask, jsonify, render_template_string
    from flask_caching import Cache
    from flask_caching.utils import make_template_fragment_key
    from flask_cors import CORS, cross_origin
    from flask_limiter import Limiter, RateLimitExceeded
    from flask_limiter.util import get_remote_address
    from flask_sqlalchemy import SQLAlchemy
    from flask_sqlalchemy.model import Model
    from flask_sqlalchemy.pagination import Pagination
    from flask_sqlalchemy.query import Query
    from flask_sqlalchemy.session import Session

    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite:///" + sys.argv[1], CACHE_TYPE="SimpleCache", SECRET_KEY="x")
    db, cache = SQLAlchemy(app), Cache(app)
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://", default_limits=["100/hour"])
    CORS(app, resources={"/api/*": {"origins": "*"}})

    class User(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String(50), unique=True)
        posts = db.relationship("Post", backref="author", lazy=True)

    class Post(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        title = db.Column(db.String(80))
        user_id = db.Column(db.Integer, db.ForeignKey("user.id"))

    calls = []

    @app.get("/api/users")
    @cache.cached(timeout=60)
    def users():
        calls.append(1)
        page = User.query.order_by(User.name).paginate(per_page=1)
        assert isinstance(page, Pagination)
        return jsonify(first=page.items[0].name, total=page.total, posts=[p.title for p in page.items[0].posts])

    @app.get("/limited")
    @limiter.limit("1/minute")
    def limited():
        return render_template_string("{% cache 60, 'fragment' %}{{ User.query.count() }}{% endcache %}", User=User)

    @app.errorhandler(RateLimitExceeded)
    def too_many(error):
        return {"limit": str(error.limit.limit)}, 429

    @cache.memoize(60)
    def double(n):
        calls.append(n)
        return 2 * n
"""


def test_an_application_of_these_extensions_runs_unchanged(tmp_path: Path) -> None:
    """Views without ``await``, lazy loads, and ``isinstance`` with the classes that it has imported."""
    out = run_program(
        "import sys, warnings\nfrom decant.flask import install\ninstall()\n"
        + "warnings.filterwarnings('ignore', message='.*pickle')\n"
        + "\n".join(line[4:] for line in APP.splitlines())
        + """
with app.app_context():
    db.create_all()
    db.session.add(User(name="ada", posts=[Post(title="one")]))
    db.session.commit()
    assert isinstance(db, SQLAlchemy) and isinstance(cache, Cache) and isinstance(limiter, Limiter)
    assert isinstance(User.query.first(), db.Model) and issubclass(User, Model) and issubclass(User, db.Model)
    assert isinstance(User.query, Query) and isinstance(db.session(), Session) and not isinstance(1, Session)
    assert isinstance(User.query.paginate(), Pagination) and isinstance(db.paginate(db.select(User)), Pagination)
    assert double(2) == double(2) == 4
    cache.delete_memoized(double)
    double(2)
    print(calls.count(2), cache.set("k", {"a": (1, 2)}), cache.get("k"))
client = app.test_client()
other = client.get("/api/users", headers={"Origin": "http://x"})
print(client.get("/api/users").json, other.headers["Access-Control-Allow-Origin"])
print(calls.count(1), client.get("/limited").text, client.get("/limited").json)
with app.app_context():
    print(cache.get(make_template_fragment_key("fragment")))
""",
        str(tmp_path / "app.db"),
    )
    assert out.splitlines() == [
        "2 True {'a': (1, 2)}",
        "{'first': 'ada', 'posts': ['one'], 'total': 1} http://x",
        "1 1 {'limit': '1 per 1 minute'}",
        "1",
    ]


def test_cached_values_are_those_of_flask_caching_both_ways(redis_url: str) -> None:
    """Pickled, as Flask-Caching has it, with a warning of what that means; ``CACHE_SERIALIZER`` says otherwise."""
    program = """
        import sys, warnings
        warnings.simplefilter("ignore")
        from decant.flask import install
        if sys.argv[1] == "faces":
            install()
        from flask import Flask, abort, make_response
        from flask_caching import Cache
        app = Flask(__name__)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": sys.argv[2], **eval(sys.argv[4])})
        print([str(one.message).partition(":")[0] for one in caught if "pickle" in str(one.message)])
        with app.app_context():
            found = cache.get("from " + sys.argv[3])
            print(found)
            cache.set("from " + sys.argv[1], {"a": (1, {2}), "n": 3})
        answers = {
            "text": lambda: sys.argv[1],
            "pairs": lambda: ({"by": sys.argv[1]}, 201, {"X-By": sys.argv[1]}),
            "response": lambda: make_response(sys.argv[1], 202),
            "error": lambda: abort(404, sys.argv[1]),
        }
        for name, answer in answers.items():
            answer.__name__ = name
            app.add_url_rule(f"/<by>/{name}", name, cache.cached(60)(lambda by, answer=answer: answer()))
        client = app.test_client()
        for writes in (sys.argv[1], sys.argv[3]):
            said = [client.get(f"/{writes}/{name}") for name in answers]
        print([answer.status_code for answer in said], all(sys.argv[3] in answer.text for answer in said))
    """
    value = "{'a': (1, {2}), 'n': 3}"
    answers = "[200, 201, 202, 404] True"
    run_program(program, "original", redis_url, "nobody", "{}")
    faced = run_program(program, "faces", redis_url, "original", "{}").splitlines()
    assert faced[1:] == [value, answers]
    assert "pickle" in faced[0]
    assert run_program(program, "original", redis_url, "faces", "{}").splitlines()[1:] == [value, answers]
    other = run_program(program, "faces", redis_url, "faces", "{'CACHE_SERIALIZER': 'msgpack'}").splitlines()
    assert other[:2] == ["[]", "None"]


def test_what_needs_an_extra_is_missed_where_it_is_used() -> None:
    """``flask_caching`` can be imported without Memcached's extra; a store that needs it says what to install."""
    program = """
        import sys, warnings
        warnings.simplefilter("ignore")  # pickle
        sys.modules["aiomcache"] = None
        from decant.flask import install
        install()
        from flask import Flask
        from flask_caching import Cache
        from flask_caching.backends import MemcachedCache
        Cache(Flask("works"), config={"CACHE_TYPE": "SimpleCache"})
        for make in (MemcachedCache, lambda: Cache(Flask("lacks"), config={"CACHE_TYPE": "MemcachedCache"})):
            try:
                make()
            except ImportError as error:
                print(error)
    """
    said = run_program(program).splitlines()
    assert len(said) == 2
    assert all("pip install 'quart-decant[memcached]'" in line for line in said)


def test_a_store_of_the_application_s_own_is_called_in_threads(tmp_path: Path) -> None:
    (tmp_path / "stores.py").write_text(
        "from flask_caching.backends.base import BaseCache\n"
        "class Dict(BaseCache):\n"
        "    def __init__(self, default_timeout=300):\n"
        "        super().__init__(default_timeout)\n"
        "        self.kept = {}\n"
        "    @classmethod\n"
        "    def factory(cls, app, config, args, kwargs):\n"
        "        return cls(kwargs['default_timeout'])\n"
        "    def get(self, key): return self.kept.get(key)\n"
        "    def set(self, key, value, timeout=None): self.kept[key] = value; return True\n"
        "    def delete(self, key): return self.kept.pop(key, None) is not None\n"
        "from flask_caching.backends import SimpleCache\n"
        "class Own(SimpleCache):\n"
        "    @classmethod\n"
        "    def factory(cls, app, config, args, kwargs):\n"
        "        return cls(threshold=config['CACHE_THRESHOLD'], **kwargs)\n"
        "    def get(self, key): print(key); return super().get(key)\n"
    )
    out = run_program(
        """
        import sys
        from decant.flask import install
        install()
        sys.path.insert(0, ".")
        from flask import Flask
        from flask_caching import Cache
        from stores import Dict
        for kind in ("stores.Dict", Dict):
            app = Flask(__name__)
            cache = Cache(app, config={"CACHE_TYPE": kind})
            with app.app_context():
                print(cache.set("flask_cache_a", object), cache.get("flask_cache_a"), cache.delete("flask_cache_a"))
        app = Flask(__name__)
        cache = Cache(app, config={"CACHE_TYPE": "stores.Own", "CACHE_THRESHOLD": 1})
        with app.app_context():
            cache.set("first", 1), cache.set("second", 2)
            print(cache.get("first"), cache.get("second"))
        """,
        cwd=tmp_path,
    )
    assert out.splitlines() == ["True <class 'object'> True"] * 2 + ["first", "second", "None 2"]


def test_an_env_py_of_flask_migrate_migrates_the_face_s_database(tmp_path: Path) -> None:
    """Made by Flask-Migrate's own ``init``, migrated and upgraded with the faces, as functions and as commands."""
    program = """
        import sys
        from decant.flask import install
        if sys.argv[1] == "faces":
            install()
        from flask import Flask
        from flask_migrate import Migrate, init, migrate, upgrade, downgrade, current
        from flask_sqlalchemy import SQLAlchemy
        app = Flask(__name__)
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///" + sys.argv[2]
        db = SQLAlchemy(app)
        Migrate(app, db)
        class Thing(db.Model):
            id = db.Column(db.Integer, primary_key=True)
        with app.app_context():
            if sys.argv[1] != "faces":
                init()
            else:
                migrate(message="things")
                upgrade()
                print(db.session.execute(db.text("select count(*) from thing")).scalar())
                downgrade()
        if sys.argv[1] == "faces":
            print(app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code)
            with app.app_context():
                print(Thing.query.count())
    """
    database = str(tmp_path / "things.db")
    run_program(program, "original", database, cwd=tmp_path)
    out = run_program(program, "faces", database, cwd=tmp_path)
    assert out.splitlines()[-3:] == ["0", "0", "0"]
