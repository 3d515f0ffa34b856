#!/usr/bin/env bash
# Installs stillpi as a service on Raspberry Pi OS (64-bit), Bookworm or Trixie.
#
# What it makes: the user stillpi; /opt/stillpi/releases/ID, one environment for each version, and
# /opt/stillpi/current, the one in use; the command stillpi; /etc/stillpi/stillpi.yaml, which it
# never changes again; the udev rule and the service. Running it again changes nothing that is right already.

set -euo pipefail
umask 022

usage() {
    cat <<'END'
usage: deploy/install.sh [install | upgrade | uninstall] [--dry-run] [--root DIR]

  install    install stillpi from this folder and start it (again: repairs what is missing)
  upgrade    the same, from a newer checkout; when its self-test fails or the service does not
             start with it, the version from before is put back
  uninstall  remove the service and the program; photographs and configuration stay

  --dry-run  say what would be done, and do nothing
  --root DIR work on the system in DIR instead of the running one: no packages are installed,
             nothing is started
END
}

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
GROUPS_OF_DEVICES=(video gpio i2c dialout)
APT=(python3-venv openssh-client)
# Without these only the simulated camera works, and no button.
APT_OF_THE_PI=(python3-picamera2 python3-lgpio)
PACKAGES=(firmware_bridge device host_training model_export)
DRY_RUN=no
ROOT=
COMMAND=install

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

# Runs a command, or only shows it.
run() {
    printf '   $'
    printf ' %q' "$@"
    printf '\n'
    if [[ $DRY_RUN == no ]]; then "$@"; fi
}

live() { [[ -z $ROOT ]]; }

needs_root() {
    if live && [[ $DRY_RUN == no && $(id -u) -ne 0 ]]; then fail "needs root: sudo $0 $COMMAND"; fi
}

arguments() {
    while (($#)); do
        case $1 in
            install | upgrade | uninstall) COMMAND=$1 ;;
            --dry-run) DRY_RUN=yes ;;
            --root)
                [[ -d ${2:-} ]] || fail "--root: found '${2:-}', expected a folder"
                ROOT=$(cd "$2" && pwd)
                shift
                ;;
            -h | --help)
                usage
                exit 0
                ;;
            *)
                usage >&2
                fail "found '$1', expected one of the above"
                ;;
        esac
        shift
    done
    OPT=$ROOT/opt/stillpi
    ETC=$ROOT/etc/stillpi
    STATE=$ROOT/var/lib/stillpi
    UNIT=$ROOT/etc/systemd/system/stillpi.service
    RULE=$ROOT/etc/udev/rules.d/99-stillpi-imu.rules
    LINK=$ROOT/usr/local/bin/stillpi
    readonly OPT ETC STATE UNIT RULE LINK ROOT DRY_RUN COMMAND
}

# --- What this machine is ---------------------------------------------------------------------

check_machine() {
    step "Is this a machine that stillpi runs on?"
    local architecture codename
    architecture=$(dpkg --print-architecture)
    case $architecture in
        arm64) ;;
        amd64) say "   not a Raspberry Pi: only the simulated camera will work here" ;;
        armhf | armel | i386)
            fail "this system is 32-bit ($architecture), and onnxruntime, which runs the network," \
                "has no 32-bit packages: install the 64-bit Raspberry Pi OS (a Pi 3 or newer runs it)"
            ;;
        *) fail "found the architecture $architecture, expected arm64" ;;
    esac
    # shellcheck source=/dev/null
    codename=$(. "$ROOT/etc/os-release" && printf '%s' "${VERSION_CODENAME:-unknown}")
    case $codename in
        # There OpenCV's newer wheels bring numpy 2, which breaks apt's simplejpeg and picamera2
        # (picamera2 issues 1088 and 1211).
        bookworm) PINS=("numpy<2" "opencv-python-headless<4.12") ;;
        trixie) PINS=() ;;
        *) fail "found the release $codename, expected bookworm or trixie" ;;
    esac
    say "   yes: $architecture, $codename"
}

# --- Steps ------------------------------------------------------------------------------------

install_packages() {
    step "System packages: the camera's library, GPIO, Python environments, ssh for the delivery"
    if ! live; then
        say "   left alone (--root)"
        return
    fi
    if dpkg -s "${APT[@]}" "${APT_OF_THE_PI[@]}" >/dev/null 2>&1; then
        say "   there already"
        return
    fi
    run apt-get update
    local packages=("${APT[@]}") package
    for package in "${APT_OF_THE_PI[@]}"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            packages+=("$package")
        else
            say "   this system has no $package, as Raspberry Pi OS does: it is left out"
        fi
    done
    run apt-get install --yes --no-install-recommends "${packages[@]}"
}

has_group() { grep -q "^$1:" "$ROOT/etc/group"; }

make_user() {
    step "The user stillpi, without a password, in the groups of the devices it needs"
    local prefix=() group
    live || prefix=(--prefix "$ROOT")
    for group in stillpi "${GROUPS_OF_DEVICES[@]}"; do
        has_group "$group" || run groupadd "${prefix[@]}" --system "$group"
    done
    if grep -q '^stillpi:' "$ROOT/etc/passwd"; then
        say "   the user is there already"
        for group in "${GROUPS_OF_DEVICES[@]}"; do
            grep -qE "^$group:.*[:,]stillpi(,|$)" "$ROOT/etc/group" ||
                run usermod "${prefix[@]}" --append --groups "$group" stillpi
        done
    else
        run useradd "${prefix[@]}" --system --gid stillpi \
            --groups "$(IFS=, && printf '%s' "${GROUPS_OF_DEVICES[*]}")" \
            --home-dir /var/lib/stillpi --no-create-home --shell /usr/sbin/nologin stillpi
    fi
}

# Gives a path to the user, where the system is the running one.
own() {
    if live; then run chown root:stillpi "$@"; fi
}

# install_file MODE SOURCE TARGET: copies a file that differs.
install_file() {
    if cmp -s "$2" "$3"; then
        say "   $3: there already"
    else
        run install -D -m "$1" "$2" "$3"
    fi
}

make_config() {
    step "The configuration, to be edited: $ETC/stillpi.yaml"
    if [[ -e $ETC/stillpi.yaml ]]; then
        say "   there already, left as it is"
    else
        run install -d -m 750 "$ETC"
        run install -m 640 "$SOURCE/deploy/config.example.yaml" "$ETC/stillpi.yaml"
        own "$ETC" "$ETC/stillpi.yaml"
    fi
}

# The same source always has the same name.
release_name() {
    local version
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$SOURCE/pyproject.toml")
    printf '%s-' "$version"
    (
        cd "$SOURCE"
        find pyproject.toml deploy "${PACKAGES[@]}" -type f \
            -not -path '*/__pycache__/*' -not -path '*.egg-info/*' -print0 |
            LC_ALL=C sort -z | xargs -0 sha256sum
        printf '%s\n' "${PINS[@]}"
    ) | sha256sum | cut -c 1-12
}

# Complete only under its final name's file `complete`: half an environment is made anew.
make_release() {
    step "The program, in an environment of its own that sees the system's camera library"
    if [[ -e $RELEASE/complete ]]; then
        say "   $RELEASE: there already"
        return
    fi
    local copy=$RELEASE/source package python=python3
    # apt's camera library is for the system's own Python, whatever else there is.
    if live; then python=/usr/bin/python3; fi
    run rm -rf "$RELEASE"
    run "$python" -m venv --system-site-packages "$RELEASE"
    # pip builds in the folder it is given; the checkout stays as it is.
    run mkdir -p "$copy"
    run cp "$SOURCE/pyproject.toml" "$SOURCE/README.md" "$SOURCE/LICENSE" "$copy"
    for package in "${PACKAGES[@]}"; do run cp -r "$SOURCE/$package" "$copy"; done
    run "$RELEASE/bin/python" -m pip install --quiet --disable-pip-version-check \
        "${PINS[@]}" "${copy}[pi]"
    run rm -rf "$copy"
    run cp -r "$SOURCE/deploy" "$RELEASE/deploy"
    run touch "$RELEASE/complete"
}

# self_test RELEASE: the version, the configuration, a simulated photograph restored; as the
# service's user on the running system.
self_test() {
    step "Self-test: does this version read the configuration, take and restore a photograph?"
    local program=$1/bin/stillpi as_user=() folder=/tmp/stillpi-self-test result=0
    if live; then as_user=(runuser -u stillpi --); fi
    run "${as_user[@]}" "$program" --version || return 1
    run "${as_user[@]}" "$program" config check "$ETC/stillpi.yaml" || return 1
    if [[ $DRY_RUN == no ]]; then folder=$("${as_user[@]}" mktemp -d) || return 1; fi
    run "${as_user[@]}" env LG_WD="$folder" XDG_CACHE_HOME="$folder" \
        "$program" shoot --simulate --output "$folder/test.jpg" || result=1
    if [[ $DRY_RUN == no ]]; then
        [[ -s $folder/test.jpg ]] || result=1
        rm -rf "$folder"
    fi
    return $result
}

# put_in_place RELEASE: its rule, its unit, and the link that says which version is in use.
put_in_place() {
    install_file 644 "$1/deploy/99-stillpi-imu.rules" "$RULE"
    install_file 644 "$1/deploy/stillpi.service" "$UNIT"
    run ln -sfn "releases/$(basename "$1")" "$OPT/next"
    run mv -T "$OPT/next" "$OPT/current"
    run install -d "$(dirname "$LINK")"
    run ln -sfn /opt/stillpi/current/bin/stillpi "$LINK"
}

reload() {
    live || return 0
    run udevadm control --reload
    run udevadm trigger --subsystem-match=tty --subsystem-match=usb-serial
    run systemctl daemon-reload
}

# Type=notify: this waits until the camera is ready, and fails when it does not get there.
start() {
    if ! live; then
        run systemctl --root="$ROOT" enable stillpi.service
    elif [[ $BEFORE == "$RELEASE" ]] && systemctl is-active --quiet stillpi.service; then
        say "   runs already"
    else
        run systemctl enable stillpi.service && run systemctl restart stillpi.service
    fi
}

remove_old_releases() {
    step "Versions from before: the last one is kept"
    local folder
    for folder in "$OPT"/releases/*; do
        [[ -d $folder && $folder != "$RELEASE" && $folder != "$BEFORE" ]] || continue
        run rm -rf "$folder"
    done
}

# --- Commands ---------------------------------------------------------------------------------

do_install() {
    check_machine
    needs_root
    RELEASE=$OPT/releases/$(release_name)
    BEFORE=
    if [[ -L $OPT/current ]]; then BEFORE=$OPT/$(readlink "$OPT/current"); fi
    if [[ $COMMAND == upgrade && -z $BEFORE ]]; then
        fail "nothing to upgrade: stillpi is not installed ($0 install)"
    fi
    readonly RELEASE BEFORE
    install_packages
    make_user
    make_config
    make_release
    if ! self_test "$RELEASE"; then
        run rm -rf "$RELEASE"
        if [[ -n $BEFORE && $BEFORE != "$RELEASE" ]]; then
            fail "the self-test failed; the version in use is left as it was"
        fi
        fail "the self-test failed; nothing was started"
    fi
    step "The udev rule (/dev/imu), the service, and this version in use"
    put_in_place "$RELEASE"
    reload
    step "Start, now and whenever the machine starts"
    if ! start; then roll_back; fi
    remove_old_releases
    step "Done"
    say "   configuration: sudoedit $ETC/stillpi.yaml, then: systemctl restart stillpi"
    say "   photographs: $STATE/spool, for members of the group stillpi (usermod -aG stillpi NAME)"
    say "   how it is: systemctl status stillpi, or stillpi status"
}

roll_back() {
    if [[ -z $BEFORE || $BEFORE == "$RELEASE" || ! -e $BEFORE/complete ]]; then
        fail "the service does not start: journalctl -u stillpi says why"
    fi
    step "The service does not start with this version: the one from before is put back"
    put_in_place "$BEFORE"
    reload
    start || fail "nor does it with the one from before: journalctl -u stillpi says why"
    run rm -rf "$RELEASE"
    fail "the version from before is in use again; journalctl -u stillpi says what was wrong"
}

do_uninstall() {
    needs_root
    step "Stop the service, and do not start it again"
    if [[ ! -e $UNIT ]]; then
        say "   there is none"
    elif live; then
        run systemctl disable --now stillpi.service
    else
        run systemctl --root="$ROOT" disable stillpi.service
    fi
    step "Remove the service, the udev rule and the program"
    run rm -f "$UNIT" "$RULE" "$LINK"
    run rm -rf "$OPT"
    reload
    step "Done. What stays, with the user it belongs to"
    say "   $STATE (photographs), $ETC (configuration)"
    say "   to remove these too: rm -r $STATE $ETC; userdel stillpi"
}

arguments "$@"
if [[ $COMMAND == uninstall ]]; then do_uninstall; else do_install; fi
