from flask import Flask, redirect

from decant.cdn import CDN, url_for

app = Flask(__name__, static_folder="cdn_static", static_url_path="/static")
CDN(app)


@app.get("/stylesheet")
def stylesheet():
    return redirect(url_for("static", filename="site.css"))
