#!/bin/sh
# Make sure there is a Chromium for the browser tests and for figure export: what the machine has, else Debian's package.
set -eu
for name in "${BROWSER_PATH:-}" chromium chromium-browser google-chrome google-chrome-stable chrome; do
    if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if command -v apt-get >/dev/null 2>&1; then
    run=""
    [ "$(id -u)" = 0 ] || run="sudo -n"
    echo "installing Chromium for the browser tests"
    if $run apt-get update -qq && $run apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null; then exit 0; fi
fi
echo "No Chromium found. Install the package 'chromium' (or Google Chrome), or point BROWSER_PATH at one, and run make test again." >&2
exit 2
