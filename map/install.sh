#!/bin/sh
# Installs the wheels of a folder by the locks beside them, which name the hash of each: what the image keeps, and the
# tools of its build:
#   map/install.sh /wheels /opt/nsn2n /opt/tools
set -eu
wheels="$1"

refuse() {
    echo "error: the image takes only wheels that its lock names; above stands what differs. See LOCK in docs/container.md." >&2
    exit 1
}

# pip runs from its own wheel, since a slim Debian has none; so it cannot be what looks at that one first.
pip="$(echo "$wheels"/pip-*.whl)"
sed -n "s|^pip==.* --hash=sha256:\(.*\)$|\1  $pip|p" "$wheels/lock.txt" | sha256sum --check --quiet || refuse

install() {
    python3 -m venv --without-pip "$1"
    "$1/bin/python" "$pip/pip" install --no-index --find-links "$wheels" --no-cache-dir --require-hashes \
        --requirement "$2" || refuse
}
install "$2" "$wheels/lock.txt"
install "$3" "$wheels/tools.txt"
