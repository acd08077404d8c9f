"""Configuration: a class for each place where it runs, values from the environment."""

import os

from celery.schedules import crontab


def env_bool(name, default=False):
    return os.environ.get(name, str(default)).strip().lower() in ("1", "true", "yes", "on")


def env_int(name, default):
    return int(os.environ.get(name) or default)


def env_list(name):
    return [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]


class Config:
    SECRET_KEY = os.environ.get("SECRET_KEY")
    PUBLIC_URL = os.environ.get("PUBLIC_URL", "").rstrip("/")
    LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO")
    PROXY_HOPS = env_int("PROXY_HOPS", 0)
    REGISTRATION = os.environ.get("REGISTRATION", "open")

    # The database
    SQLALCHEMY_DATABASE_URI = os.environ.get("DATABASE_URL", "sqlite:///shortener.db")
    SQLALCHEMY_ENGINE_OPTIONS = {
        "pool_pre_ping": True,
        "pool_size": env_int("DATABASE_POOL_SIZE", 10),
        "max_overflow": env_int("DATABASE_POOL_SIZE", 10),
        "pool_timeout": 5,  # then 503
    }

    # Redis is the cache, the counters of the limits, Celery's broker, and the channel between Socket.IO servers.
    REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
    CACHE_TYPE = "RedisCache"
    CACHE_REDIS_URL = REDIS_URL
    CACHE_KEY_PREFIX = "shortener:cache:"
    CACHE_DEFAULT_TIMEOUT = 60
    RATELIMIT_STORAGE_URI = REDIS_URL
    RATELIMIT_STRATEGY = "sliding-window-counter"
    RATELIMIT_KEY_PREFIX = "shortener"
    RATELIMIT_HEADERS_ENABLED = True
    RATELIMIT_IN_MEMORY_FALLBACK_ENABLED = True
    SOCKETIO_MESSAGE_QUEUE = REDIS_URL
    SOCKETIO_ASYNC_MODE = "threading"  # gevent's monkey patching makes greenlets of the threads
    SOCKETIO_CORS = None  # the same origin only
    CELERY = {
        "broker_url": REDIS_URL,
        "result_backend": REDIS_URL,
        "result_expires": 86400,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_track_started": True,
        "task_time_limit": 1800,
        "worker_prefetch_multiplier": 1,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {"visibility_timeout": 3600},
        "beat_schedule": {"forget": {"task": "shortener.forget", "schedule": crontab(hour=3, minute=17)}},
    }

    # Sessions
    SESSION_COOKIE_HTTPONLY = True
    SESSION_COOKIE_SAMESITE = "Lax"
    SESSION_COOKIE_SECURE = env_bool("SESSION_COOKIE_SECURE", PUBLIC_URL.startswith("https://"))
    PERMANENT_SESSION_LIFETIME = 86400 * env_int("SESSION_LIFETIME_DAYS", 14)
    SESSION_REFRESH_EACH_REQUEST = False  # hooks.py sees to it, once a day
    WTF_CSRF_TIME_LIMIT = None  # as long as the session

    # Limits
    RATE_LOGIN_ACCOUNT = os.environ.get("RATE_LOGIN_ACCOUNT", "10 per 5 minutes")
    RATE_LOGIN_ADDRESS = os.environ.get("RATE_LOGIN_ADDRESS", "60 per 5 minutes")
    RATE_REGISTER = os.environ.get("RATE_REGISTER", "20 per hour")
    RATE_LINKS = os.environ.get("RATE_LINKS", "60 per minute; 2000 per day")
    RATE_IMPORTS = os.environ.get("RATE_IMPORTS", "20 per hour")
    RATE_API = os.environ.get("RATE_API", "600 per minute")
    RATE_API_REFUSED = os.environ.get("RATE_API_REFUSED", "60 per minute")

    CORS_ORIGINS = env_list("CORS_ORIGINS")
    MAX_CONTENT_LENGTH = env_int("MAX_CONTENT_LENGTH", 1024 * 1024)
    IMPORT_MAX_MB = env_int("IMPORT_MAX_MB", 25)
    IMPORT_KEEP_DAYS = env_int("IMPORT_KEEP_DAYS", 30)
    IMPORT_MAX_ROWS = env_int("IMPORT_MAX_ROWS", 100_000)
    PASSWORD_METHOD = os.environ.get("PASSWORD_METHOD", "scrypt")


class DevelopmentConfig(Config):
    SECRET_KEY = Config.SECRET_KEY or "development only"


class ProductionConfig(Config):
    pass


class TestingConfig(Config):
    """No server is needed but the database's: DATABASE_URL, or SQLite in memory."""

    TESTING = True
    SECRET_KEY = "testing"
    WTF_CSRF_ENABLED = False
    SQLALCHEMY_DATABASE_URI = os.environ.get("TEST_DATABASE_URL", "sqlite:///:memory:")
    SQLALCHEMY_ENGINE_OPTIONS = {}
    CACHE_TYPE = "SimpleCache"
    RATELIMIT_STORAGE_URI = "memory://"
    SOCKETIO_MESSAGE_QUEUE = None
    PASSWORD_METHOD = "pbkdf2:sha256:1000"
    CELERY = {
        "broker_url": "memory://",
        "result_backend": "cache+memory://",
        "task_always_eager": True,
        "task_eager_propagates": False,
        "task_store_eager_result": True,
    }


CONFIGS = {"development": DevelopmentConfig, "production": ProductionConfig, "testing": TestingConfig}


def config_by_name(config=None):
    """A class from CONFIGS, or the class itself."""
    name = config or os.environ.get("APP_CONFIG", "production")
    return CONFIGS[name] if isinstance(name, str) else name
