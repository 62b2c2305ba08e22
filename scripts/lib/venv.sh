# Sourced by the scripts: makes .venv from the lock files, or finds it made already.
#
#   ensure_venv KIND           afterwards $VENV/bin/python runs p2psync (runtime), its tests (dev),
#                              and draws what the benchmarks found (bench); each has what those
#                              before it have
#   ensure_command CMD PKG WHY installs a Debian package when root, else says what is missing
#
# Needs bash and Python 3.11 to 3.13; no compiler. Packages come from wherever pip is configured
# to look; what arrives must have the hash that the lock names.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VENV=$ROOT/.venv
# On Debian a plain user's PATH leaves out where ip and its like live.
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Shows what apt-get says only when it fails: dpkg is never quiet.
_apt_get() {
    local output
    output=$(DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null 2>&1) ||
        { say "$output" && return 1; }
}

_apt_updated=
apt_install() {
    say "setup: installing $* with apt-get"
    [ -n "$_apt_updated" ] || _apt_get update || return 1
    _apt_updated=yes
    _apt_get install -y --no-install-recommends "$@"
}

ensure_command() {
    command -v "$1" >/dev/null && return
    if can_apt; then
        apt_install "$2" || say "setup: apt-get could not install $2; $3 will fail"
    else
        say "setup: no '$1' here (Debian package $2); $3 will fail. Install it as root."
    fi
}

# Prints the first Python that is new enough, tried by running it.
_find_python() {
    local name
    for name in python3.11 python3.12 python3.13 python3; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
            2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

_make_venv() {
    local python version
    if ! python=$(_find_python); then
        can_apt || die "no Python 3.11, 3.12 or 3.13 on PATH." \
            "Install one (Debian 12: apt-get install python3 python3-venv), then run this again."
        apt_install python3 python3-venv || die "apt-get could not install python3"
        python=$(_find_python) || die "this system's python3 is not 3.11, 3.12 or 3.13." \
            "Install one of them, then run this again."
    fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        can_apt || die "$python cannot make virtual environments." \
            "Run 'apt-get install python$version-venv' as root, then run this again."
        apt_install "python$version-venv" || die "apt-get could not install python$version-venv"
    fi
    say "setup: making .venv with Python $version"
    "$python" -m venv --clear "$VENV" || die "$python could not make $VENV"
}

# The project itself and the few dependencies without a wheel are built with the tools of
# requirements-build.lock, not with what build isolation would fetch. --use-pep517: the pip of
# Debian 12 would otherwise run setup.py.
_pip_install() {
    "$VENV/bin/python" -m pip install -qq --no-input --disable-pip-version-check --no-deps \
        --no-build-isolation --use-pep517 "$@" </dev/null >&2
}

_lock_of() {
    case $1 in
        runtime) echo requirements.lock ;;
        *) echo "requirements-$1.lock" ;;
    esac
}

_stamp() {
    (cd "$ROOT" && printf '%s ' "$1" "$ROOT" &&
        cat pyproject.toml requirements-build.lock "$(_lock_of "$1")" | cksum)
}

ensure_venv() {
    local kind=$1 lock stamp began=$SECONDS
    case $kind in
        runtime | dev | bench) lock=$(_lock_of "$kind") ;;
        *) die "ensure_venv takes runtime, dev or bench, not '$kind'" ;;
    esac
    if "$VENV/bin/python" -c '' 2>/dev/null; then
        # Each kind has all that those before it have.
        local kinds="runtime dev bench"
        for stamp in $kind ${kinds#*"$kind"}; do
            [ "$(cat "$VENV/p2psync-stamp" 2>/dev/null)" = "$(_stamp "$stamp")" ] && return
        done
    fi
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || _make_venv
    rm -f "$VENV/p2psync-stamp"
    say "setup: installing $lock (about 150 MB the first time)"
    _pip_install --require-hashes -r "$ROOT/requirements-build.lock" &&
        _pip_install --require-hashes -r "$ROOT/$lock" &&
        _pip_install -e "$ROOT" ||
        die "pip could not install $lock; see above. Check the network or pip's configuration," \
            "then run this again."
    _stamp "$kind" >"$VENV/p2psync-stamp"
    say "setup: done in $((SECONDS - began)) s"
}
