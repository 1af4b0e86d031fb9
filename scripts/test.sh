#!/bin/sh
# Runs the tests, on a Vulkan adapter wherever one can be had. Where none is there and apt-get is, Mesa's
# software driver is installed first (as root, or by sudo where that asks for no password).
set -eu
cd "$(dirname "$0")/.."

# The driver manifests that the Vulkan loader would read.
manifests() {
    if [ -n "${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}" ]; then
        printf '%s\n' "${VK_DRIVER_FILES:-$VK_ICD_FILENAMES}" | tr ':' '\n'
        return
    fi
    for folder in "${XDG_DATA_HOME:-$HOME/.local/share}/vulkan" /etc/vulkan /usr/local/share/vulkan \
        /usr/share/vulkan /run/opengl-driver/share/vulkan; do
        ls "$folder"/icd.d/*.json 2>/dev/null || true
    done
}

have_loader() {
    if command -v ldconfig >/dev/null 2>&1 || [ -x /sbin/ldconfig ]; then
        PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -q 'libvulkan\.so\.1'
    else
        ls /usr/lib*/libvulkan.so.1 /usr/lib/*/libvulkan.so.1 >/dev/null 2>&1
    fi
}

# Judged from the system and not by danlu's own list, so that a list gone wrong fails the tests.
have_adapter() {
    case "$(uname -s)" in
        Darwin) return 0 ;; # Metal is part of the system.
        Linux) ;;
        *) return 1 ;;
    esac
    have_loader || return 1
    # A software driver needs no hardware; a driver for hardware counts only where its device is.
    for manifest in $(manifests); do
        case "$manifest" in
            *lvp* | *swiftshader*) return 0 ;;
            *nvidia*) [ ! -e /dev/nvidia0 ] || return 0 ;;
            *) ! ls /dev/dri/renderD* >/dev/null 2>&1 || return 0 ;;
        esac
    done
    return 1
}

install_driver() {
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root="sudo -n"
    fi
    echo "test.sh: no Vulkan adapter is there; installing mesa-vulkan-drivers and libvulkan1" >&2
    install="$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq mesa-vulkan-drivers libvulkan1"
    # Package lists may be there already; without network the update fails and nothing is lost.
    $install >/dev/null 2>&1 || { $as_root apt-get update -qq >/dev/null 2>&1 && $install >/dev/null 2>&1; }
}

if have_adapter || { install_driver && have_adapter; }; then
    echo "test.sh: a GPU adapter is there; tests that need one must run" >&2
    export DANLU_REQUIRE_ADAPTER=1
else
    echo "test.sh: no GPU adapter is there and none could be installed; tests that need one show as ignored" >&2
    unset DANLU_REQUIRE_ADAPTER
fi
exec cargo test --release "$@"
