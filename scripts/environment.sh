# Sourced by the scripts: `environment DIR EXTRAS` makes a virtual environment with psgd and these extras, once.
# Everything comes from PyPI, MPI itself included. It is made again when pyproject.toml changes.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

python_command() {
    for python in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "psgd needs Python 3.11 or later; none found (set PYTHON to one)" >&2
    return 2
}

environment() {
    local directory=$root/$1 extras=$2 python want log
    python=$(python_command) || return 2
    want=$(cat "$root/pyproject.toml" "$root/scripts/environment.sh" | "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
    [ "$(cat "$directory/psgd-$extras" 2>/dev/null)" = "$want" ] && return
    echo "psgd: setting up $1 with [$extras] (once)" >&2
    log=$root/$1.log
    if ! { { [ -x "$directory/bin/python" ] || "$python" -m venv "$directory"; } &&
        "$directory/bin/python" -m pip install --disable-pip-version-check -e "$root[$extras]"; } >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        echo "psgd: could not set up $1; the whole log is $log. It needs the venv module (Debian: apt-get install python3-venv) and PyPI" >&2
        return 2
    fi
    rm -f "$log"
    echo "$want" >"$directory/psgd-$extras"
}
