"""The browser app. `interp app` starts it; everything it shows is in `app_pages/`."""

import os

# Pages, jobs and checks compute in threads of one process: spinning OpenMP workers would starve each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from app_pages._navigation import show

show()
