from shim_serve import app, asgi_app


def test_hello_through_wsgi_and_through_asgi() -> None:
    for client in (app.test_client(), asgi_app.test_client()):
        assert client.get("/hello/ada").text == "hello ada, from 127.0.0.1"
