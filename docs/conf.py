"""Sphinx: Markdown pages, and the API from the docstrings."""

from importlib.metadata import version as installed

project = "Decant"
author = "the Decant contributors"
project_copyright = "2026, the Decant contributors"
version = release = installed("quart-decant")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
exclude_patterns = ["_build", "tools", "snippets"]
html_theme = "alabaster"
html_theme_options = {"description": "Pour a Flask application into Quart", "page_width": "1100px"}
nitpicky = False
