"""Which pages there are: the fixed ones, and one for every registered analysis, found by discovery."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st
from PIL import Image
from streamlit.navigation.page import Page

from analyses._contract import Analysis
from analyses._registry import registry
from app_pages import _analysis, look_inside, patching, runs, sql
from app_pages._bench import tell, workbench
from app_pages._links import OWN_PAGE, remember
from hooks.errors import InputError


def show() -> None:
    """Draw the navigation and run the page that was chosen."""
    st.set_page_config(page_title="Interp Workbench", page_icon=_icon(), layout="wide")
    try:
        workbench()
        registry()
    except (InputError, OSError) as error:
        tell(error)
        st.stop()
    explore = [
        st.Page(look_inside.page, title="Look inside", url_path="look", icon=":material/visibility:", default=True),
        st.Page(patching.page, title="Patching", url_path="patching", icon=":material/swap_horiz:"),
    ]
    generic = [_generic(one) for one in registry().values() if one.name not in OWN_PAGE]
    workspace = [
        st.Page(runs.page, title="Runs", url_path="runs", icon=":material/history:"),
        st.Page(sql.page, title="SQL", url_path="sql", icon=":material/database:"),
    ]
    chosen = st.navigation({"Explore": explore, "Analyses": generic, "Workspace": workspace}, expanded=True)
    remember([*explore, *generic, *workspace])
    chosen.run()


def _icon() -> Image.Image:
    """A tiny heatmap. A named icon would be fetched from the network by the browser."""
    blue, pale, red = (33, 102, 172), (209, 229, 240), (178, 24, 43)
    cells = np.array([[pale, blue, pale], [blue, pale, red], [pale, pale, blue]], dtype=np.uint8)
    return Image.fromarray(cells).resize((48, 48), Image.Resampling.NEAREST)


def _generic(analysis: Analysis) -> Page:
    return st.Page(_page_of(analysis.name), title=analysis.title, url_path=analysis.name, icon=":material/experiment:")


def _page_of(name: str) -> Callable[[], None]:
    def page() -> None:
        _analysis.page(name)

    return page
