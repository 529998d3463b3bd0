#!/bin/bash
# Installs what the tests and benchmarks need, once: Debian packages (as root) and
# a Python environment in .venv that sees Debian's torch. What is there already is
# neither installed nor downloaded again. Where it may not install, it says what is
# missing; the tests that need it skip, and say so.
set -eu
cd "$(dirname "$0")/.."

packages="fuse3 python3-torch libopenblas0-pthread python3-numpy python3-venv p7zip-full zstd rsync attr acl xz-utils git qemu-user"
missing=""
for p in $packages; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
	[ "$status" = installed ] || missing="$missing $p"
done
if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "setup: installing$missing"
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq || echo "setup: the package lists could not be refreshed; trying with the old ones"
		apt-get install -y -qq --no-install-recommends $missing >/dev/null || echo "setup: NOT INSTALLED:$missing"
	else
		echo "setup: MISSING:$missing"
		echo "setup: as root: apt-get install$missing. Tests that need them will skip"
	fi
fi

# Versions that work together with Debian's torch 1.13 and numpy 1.24: 16 MB, none of them torch. All that they need is
# named here or comes with python3-torch; with --no-deps, or pip would fetch PyPI's torch, which is some gigabytes.
wanted="safetensors==0.8.0 packaging==26.3 transformers==4.47.1 accelerate==1.2.1 tokenizers==0.21.0
	huggingface_hub==0.27.1 regex==2026.11.15 tqdm==4.70.1 filelock==4.2.12 fsspec==2026.9.0"
python=/usr/bin/python3
check='import importlib.metadata as m, sys
sys.exit(any(m.version(n) != v for n, v in (w.split("==") for w in sys.argv[1:])))'
if [ -x .venv/bin/python ] && .venv/bin/python -c "$check" $wanted 2>/dev/null; then
	:
elif ! $python -c 'import ensurepip, venv' 2>/dev/null; then
	echo "setup: MISSING: $python with venv. Tests with Python will skip"
else
	echo "setup: making .venv with" $wanted
	$python -m venv --clear --system-site-packages .venv
	if ! .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --only-binary :all: $wanted; then
		rm -rf .venv
		echo "setup: MISSING: not all of that could be installed from PyPI. Tests with Python will skip"
	fi
fi
[ -e /dev/fuse ] || echo "setup: MISSING: /dev/fuse (modprobe fuse, or run the container with --device /dev/fuse). Tests that mount will skip"
echo "setup: done"
