import subprocess
import sys

from flask import Flask

from decant.flask import blocking

app = Flask(__name__)


@app.get("/report")
@blocking
def report():
    return subprocess.run(
        [sys.executable, "-c", "print('a report')"], capture_output=True, text=True, check=True
    ).stdout
