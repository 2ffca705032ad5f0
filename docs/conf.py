"""The documentation site: `make docs` builds it, and every warning is an error."""

import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))  # for extensions of our own

from glide_jax import __version__

project = "glide_jax"
author = copyright = "the glide_jax contributors"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",  # formulas are set without a network
    "site_pages",
]
exclude_patterns = ["_build", "conf.py", "site_pages.py", "**/.ipynb_checkpoints", "**/README.md"]
default_role = "code"
nitpicky = False

html_theme = "sphinx_book_theme"
html_title = f"glide_jax {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "home_page_in_toc": False,
    "show_navbar_depth": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the sidebar has the search
}

# Links may name headings of other pages, as they do where the repository is read on the web.
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
copybutton_exclude = ".linenos, .gp, .go"

# Notebooks are py:percent scripts without outputs. A cell that fails ends the build.
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_excludepatterns = ["notebooks/accelerator.*"]  # it needs a GPU or a TPU
nb_execution_timeout = 600
nb_execution_raise_on_error = True
# Figures are made once and kept while the cell is as it was.
nb_execution_cache_path = str(HERE / "_build" / "executed")
nb_merge_streams = True

apidoc_modules = [
    {
        "path": "../glide_jax",
        "destination": "reference/api",
        "exclude_patterns": ["../glide_jax/cli", "../glide_jax/configs", "../glide_jax/boxed"],
        "separate_modules": True,
        "module_first": True,
        "implicit_namespaces": False,
    }
]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": False}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # InputError is also a name of the package itself
