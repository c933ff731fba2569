"""The documentation site: `make docs` builds it without a warning and without a network."""

from __future__ import annotations

import sys
from pathlib import Path

import signoise

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "signoise"
release = version = signoise.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "command_help"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# In docstrings, `snr` is a link to the verb where it is one.
default_role = "py:obj"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Undefined when"]

smartquotes = False
html_theme = "furo"
html_title = f"signoise {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
