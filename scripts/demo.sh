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

with_safetensors='import sys, safetensors
path, name = sys.argv[1:]
with safetensors.safe_open(path, "np") as f:
    print(name, f.get_slice(name).get_shape(), "in a file of", len(f.keys()), "tensors; first values:")
    print(f.get_slice(name)[0:1, 0:4])'
with_nothing='import json, struct, sys
path, name = sys.argv[1:]
with open(path, "rb") as f:
    length, = struct.unpack("<Q", f.read(8))
    header = json.loads(f.read(length))
    header.pop("__metadata__", None)
    f.seek(8 + length + header[name]["data_offsets"][0])
    print(name, header[name]["shape"], "in a file of", len(header), "tensors; first values:")
    print(*("%.8g" % x for x in struct.unpack("<4f", f.read(16))))'
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
echo
read_tensor=$with_nothing
"$python" -c 'import numpy; from safetensors import safe_open' 2>/dev/null && read_tensor=$with_safetensors
echo "One tensor, read lazily by Python through the mount, and the original of before:"
for from in "$mnt" "$chain"; do
	"$python" -c "$read_tensor" "$from/checkpoint-700/model.safetensors" gpt_neox.layers.0.attention.dense.weight
done
echo
echo "Programs see $(du -sb --apparent-size "$mnt" | cut -f1) bytes; on disk they take $(du -sb --apparent-size "$store" | cut -f1)."
run "$excpfs" verify "$mnt" 2>/dev/null
run "$excpfs" umount "$mnt" 2>/dev/null
