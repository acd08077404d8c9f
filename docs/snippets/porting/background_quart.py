from quart import current_app, render_template_string

from decant import Quart

app = Quart(__name__)
done = []


async def long_task(name):
    done.append((current_app.name, name))  # the context is here; shutdown waits for it, then cancels it


@app.get("/start/<name>")
async def start(name):
    app.add_background_task(long_task, name)
    return await render_template_string("<p>started {{ name }}", name=name)
