"""The browser app. `interp app` starts it; everything it shows is in `app_pages/`."""

from app_pages._navigation import show

show()
