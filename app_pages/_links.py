"""Links from one page to another with the state they should open in."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import streamlit as st
from streamlit.navigation.page import Page

OWN_PAGE = {"activation_patching": "patching"}
"""Analyses that have a page of their own, by the address of that page; all others get the generic one."""


def remember(pages: list[Page]) -> None:
    """Know the pages of this session by address."""
    st.session_state["page objects"] = {page.url_path: page for page in pages}


def address(analysis: str, state: Mapping[str, object]) -> str:
    """The address of an analysis' page in that state, without the server's part."""
    return f"/{OWN_PAGE.get(analysis, analysis)}?{urlencode(state, doseq=True)}"


def link(analysis: str, label: str, state: Mapping[str, str | list[str]], icon: str = ":material/open_in_new:") -> None:
    """A link within this session; silent when the analysis has gone."""
    page = st.session_state["page objects"].get(OWN_PAGE.get(analysis, analysis))
    if page is not None:
        st.page_link(page, label=label, icon=icon, query_params=dict(state))


def go_to(analysis: str, state: Mapping[str, str | list[str]]) -> None:
    """Go to an analysis' page in that state, now; does nothing when the analysis has gone."""
    page = st.session_state["page objects"].get(OWN_PAGE.get(analysis, analysis))
    if page is not None:
        st.switch_page(page, query_params=dict(state))
