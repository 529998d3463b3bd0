#!/bin/bash
# The main job in one minute, on the small real chain of the repo: mount an empty
# store, copy three checkpoints in, let them be compressed, read a tensor from one.
set -eu
cd "$(dirname "$0")/.."
excpfs=$PWD/bin/excpfs
chain=$PWD/tests/testdata/chain/dev

dir=$(mktemp -d /tmp/excpfs-demo.XXXXXX)
store=$dir/store mnt=$dir/mnt
mkdir "$store" "$mnt"
cleanup() {
	"$excpfs" umount --timeout 0 "$mnt" >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap cleanup EXIT
run() { echo; echo "\$ $*" | sed "s#$excpfs#excpfs#; s#$dir/##g; s#$PWD/##g"; "$@"; }

run "$excpfs" mount --settle 100ms --log "$dir/log" "$store" "$mnt"
for step in 500 600 700; do
	run cp -r "$chain/checkpoint-$step" "$mnt/"
	run "$excpfs" wait "$mnt"
done
run "$excpfs" ls "$mnt" 2>/dev/null

read_tensor='import sys, safetensors
path, name = sys.argv[1:]
with safetensors.safe_open(path, "np") as f:
    print(name, f.get_slice(name).get_shape(), "in a file of", len(f.keys()), "tensors; first values:")
    print(f.get_slice(name)[0:1, 0:4])'
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
echo
if "$python" -c 'import safetensors, numpy' 2>/dev/null; then
	echo "One tensor, read lazily by Python through the mount, and the original of before:"
	for from in "$mnt" "$chain"; do
		"$python" -c "$read_tensor" "$from/checkpoint-700/model.safetensors" gpt_neox.layers.0.attention.dense.weight
	done
else
	echo "SKIPPED: reading a tensor with Python, which has no safetensors here (make setup installs it)"
fi
echo
echo "Programs see $(du -sb --apparent-size "$mnt" | cut -f1) bytes; on disk they take $(du -sb --apparent-size "$store" | cut -f1)."
run "$excpfs" verify "$mnt" 2>/dev/null
run "$excpfs" umount "$mnt" 2>/dev/null
