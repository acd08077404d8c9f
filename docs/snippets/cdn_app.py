from quart import render_template_string

from decant import Quart
from decant.cdn import CDN

app = Quart(__name__, static_folder="cdn_static", static_url_path="/static")
app.config["CDN_DOMAIN"] = "cdn.example"
app.config["CDN_HTTPS"] = True
CDN(app)

PAGE = """<link rel="stylesheet" href="{{ url_for('static', filename='site.css') }}">"""


@app.get("/")
async def index():
    return await render_template_string(PAGE)
