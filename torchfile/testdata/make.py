#!/usr/bin/python3
"""Makes the fixtures here: with PyTorch 1.13 (Debian's python3-torch) what it can
write, and with a writer of its own the framings of later versions."""
import io
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections import OrderedDict

import torch

warnings.simplefilter("ignore")
os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(1)


def n(dtype, *shape):
    return torch.arange(1, 1 + int(torch.tensor(shape).prod())).reshape(shape).to(dtype)


# ---------------------------------------------------------------- by PyTorch

weight = n(torch.float32, 4, 6)
shared = {
    "whole": n(torch.float32, 4, 6),
    "view": weight[1:3], "rows": weight, "flat": weight.view(-1), "turned": weight.t(),
    "tied": [n(torch.float32, 2, 3)] * 2,
    "part": n(torch.float32, 10)[2:5],
    "turned_only": n(torch.float32, 3, 5).t(),
}
shared["whole2"] = shared["whole"]
plain = OrderedDict([
    ("model", OrderedDict([("layers.0.weight", n(torch.float32, 3, 4)), ("layers.0.bias", n(torch.float32, 3))])),
    ("bool", torch.tensor([True, False, True])), ("u8", n(torch.uint8, 5)), ("i8", n(torch.int8, 5)),
    ("i16", n(torch.int16, 2, 2)), ("i32", n(torch.int32, 3)), ("i64", n(torch.int64, 3)), ("half", n(torch.float16, 2, 3)),
    ("bf16", n(torch.bfloat16, 2, 3)), ("f64", n(torch.float64, 2)), ("c64", n(torch.float32, 2) * (1 + 2j)),
    ("c128", n(torch.float64, 2) * (1 + 2j)), ("scalar", torch.tensor(7.5)), ("none", torch.zeros(0, 3)), ("epoch", 12),
    ("lr", 0.25), ("big", 1 << 80), ("text", "x" * 300), ("raw", b"\x00\xff"), ("set", {1, 2}), ("size", torch.Size([2, 3])),
    ("neg", [-1, -300, -70000]), ("dtype", torch.float16), ("device", torch.device("cpu")),
])


class Holder:
    def __init__(self):
        self.inner = {"w": n(torch.float32, 2, 2)}


def optimizer():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
    named = list(net.named_parameters())
    opt = torch.optim.AdamW([{"params": [p for k, p in named if p.ndim > 1]},
                             {"params": [p for k, p in named if p.ndim == 1], "weight_decay": 0.0}])
    for _ in range(2):
        net(torch.ones(5, 3)).square().sum().backward()
        opt.step()
    return net, opt


net, opt = optimizer()
module = torch.nn.Linear(2, 3)
torch.save(plain, "plain.pt")
torch.save(plain, "proto4.pt", pickle_protocol=4)
torch.save(shared, "shared.pt")
torch.save({"many": [torch.full((2,), float(i)) for i in range(12)]}, "many.pt")
torch.save(opt.state_dict(), "optimizer.pt")
torch.save({"state_dict": net.state_dict(), "optimizer_states": [opt.state_dict()], "loops": {"epoch": 3}}, "lightning.pt")
torch.save({"module": module, "param": torch.nn.Parameter(n(torch.float32, 2, 2)), "holder": Holder()}, "objects.pt")
torch.save({"q": torch.quantize_per_tensor(n(torch.float32, 2, 2), 0.5, 3, torch.qint8),
            "qc": torch.quantize_per_channel(n(torch.float32, 2, 2), torch.tensor([0.5, 1.0]), torch.tensor([0, 0]), 0, torch.qint8),
            "s": torch.sparse_coo_tensor([[0, 1], [1, 2]], [1.0, 2.0], (2, 3)), "csr": n(torch.float32, 2, 2).to_sparse_csr(),
            "w": n(torch.float32, 2, 2), "meta": torch.zeros(3, device="meta"),
            "storage": n(torch.int16, 3).storage(), "untyped": n(torch.float32, 2).storage().untyped()}, "odd.pt")
loop = [n(torch.float32, 2)]
loop.append({"self": loop})
torch.save(loop, "loop.pt")
torch.save(n(torch.float32, 2, 2), "tensor.pt")
torch.save({"epoch": 1}, "nothing.pt")
with open("object.pt", "wb") as f:
    torch.save(shared, f)
legacy = dict(_use_new_zipfile_serialization=False)
torch.save(plain, "legacy.pt", **legacy)
torch.save(shared, "legacy_shared.pt", **legacy)
torch.save(opt.state_dict(), "legacy_optimizer.pt", pickle_protocol=4, **legacy)
torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 3))), "script.pt")

# One file of a checkpoint as torch.distributed.checkpoint writes it: byte items
# first, then a zip for each tensor.
items = [b"raw bytes PK\x05\x06 and PK\x03\x04 that are no zip"]
for item in ({"lr": 0.1, "step": torch.tensor(3)}, n(torch.float32, 4, 3), n(torch.bfloat16, 2, 2), n(torch.float32, 0)):
    f = io.BytesIO()
    torch.save(item, f)
    items.append(f.getvalue())
inner = torch.frombuffer(bytearray(items[2]), dtype=torch.uint8)  # a zip as a tensor's bytes
f = io.BytesIO()
torch.save(inner, f)
items.append(f.getvalue())
f = io.BytesIO()
with zipfile.ZipFile(f, "w") as z:
    z.writestr("a/other.txt", "a zip, but not of PyTorch")
items.insert(1, f.getvalue())
open("raw_first.distcp", "wb").write(b"".join(items))
open("zips.distcp", "wb").write(b"".join(items[2:]))

# ------------------------------------------------------ framings of later versions


class Glob:
    def __init__(self, name):
        self.module, self.name = name.rsplit(".", 1)


class Call:
    def __init__(self, fn, *args):
        self.fn, self.args = Glob(fn), args


class Storage:
    def __init__(self, cls, key, numel):
        self.pid = ("storage", Glob(cls), key, "cpu", numel)


class Pickler(pickle._Pickler):
    """Writes names that need not exist here."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Storage) else None

    def save(self, obj, *a, **k):
        if isinstance(obj, Glob):
            self.write(b"c%s\n%s\n" % (obj.module.encode(), obj.name.encode()))
        elif isinstance(obj, Call):
            self.save(obj.fn)
            self.save(obj.args)
            self.write(b"R")
        else:
            super().save(obj, *a, **k)


def dump(obj):
    f = io.BytesIO()
    Pickler(f, 2).dump(obj)
    return f.getvalue()


def v2(cls, key, shape, stride):
    numel = 1
    for d in shape:
        numel *= d
    return Call("torch._utils._rebuild_tensor_v2", Storage("torch." + cls, key, numel), 0, shape, stride, False, OrderedDict())


def v3(dtype, key, nbytes, shape, stride):
    return Call("torch._utils._rebuild_tensor_v3", Storage("torch.storage.UntypedStorage", key, nbytes), 0, shape, stride, False,
                OrderedDict(), Glob("torch." + dtype))


def frame(path, folder, records, align=64, wide=False, bare=False, local_crc=False, end64=True, descriptor=True, crc=True):
    """Writes a zip of stored records: (name, bytes) each."""
    out, central = bytearray(), bytearray()
    for name, data in records:
        name = ("%s/%s" % (folder, name)).encode()
        at = len(out)
        value = zlib.crc32(data) if crc else 0x12345678
        extra = struct.pack("<HHQQ", 1, 16, len(data), len(data)) if wide else b""
        pad = -(at + 30 + len(name) + len(extra) + 4) % align
        extra += struct.pack("<2sH", b"FB", pad) + b"Z" * pad
        flags = 0x0808 if descriptor else 0x0800
        short = 0xFFFFFFFF if wide else 0 if descriptor else len(data)
        out += b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 0, flags, 0, 0, 0, value if local_crc else 0, short, short, len(name), len(extra))
        out += name + extra + data
        if data and descriptor:
            out += (b"" if bare else b"PK\x07\x08") + struct.pack("<IQQ" if wide else "<III", value, len(data), len(data))
        extra = struct.pack("<HHQQQ", 1, 24, len(data), len(data), at) if wide else b""
        size = 0xFFFFFFFF if wide else len(data)
        central += b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 0, 0, flags, 0, 0, 0, value, size, size, len(name), len(extra),
                                               0, 0, 0, 0, 0xFFFFFFFF if wide else at) + name + extra
    at = len(out)
    out += central
    if end64:
        out += b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 0, 0, 0, 0, len(records), len(records), len(central), at)
        out += b"PK\x06\x07" + struct.pack("<IQI", 0, at + len(central), 1)
    out += b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF if wide else len(records), 0xFFFF if wide else len(records),
                                       0xFFFFFFFF if wide else len(central), 0xFFFFFFFF if wide else at, 0)
    open(path, "wb").write(out)


def records(order, before=(), after=()):
    payload = [bytes(range(1, 25)) for _ in range(12)]
    obj = {"w%d" % i: v2("FloatStorage", str(i), (2, 3), (3, 1)) for i in range(9)}
    obj["u16"] = v3("uint16", "9", 24, (3, 4), (4, 1))
    obj["f8"] = v3("float8_e4m3fn", "10", 24, (2, 12), (12, 1))
    obj["both"] = [v3("int32", "11", 24, (6,), (1,)), v3("float32", "11", 24, (6,), (1,))]
    keys = sorted(map(str, range(12))) if order == "text" else list(map(str, range(12)))
    return ([("data.pkl", dump(obj))] + list(before) + [("data/" + k, payload[int(k)]) for k in keys] +
            [("version", b"3\n")] + list(after))


little, sid = ("byteorder", b"little"), (".data/serialization_id", b"0" * 40)
v27 = [(".format_version", b"1"), (".storage_alignment", b"64"), little]
frame("v1.6.pt", "archive", records("text"))
frame("v2.1.pt", "stem", records("text", [little], [sid]))
frame("v2.7.pt", "stem", records("number", v27, [sid]))
frame("align4096.pt", "stem", records("number", [v27[0], (".storage_alignment", b"4096"), little], [sid])[:8], align=4096)
frame("wide.pt", "stem", records("number", v27, [sid]), wide=True)
frame("wide_bare.pt", "stem", records("number", v27, [sid]), wide=True, bare=True)
frame("bare.pt", "stem", records("text", [little]), bare=True)
frame("no_zip64.pt", "stem", records("text", [little]), end64=False)
frame("no_descriptor.pt", "stem", records("text", [little]), descriptor=False, local_crc=True, end64=False)
frame("false_crc.pt", "stem", records("text", [little]), crc=False)
frame("big.pt", "stem", records("text", [("byteorder", b"big")]))
with zipfile.ZipFile("repacked.pt", "w") as z:  # as zip(1) and Python write it
    for name, data in records("text", [little]):
        packed = name in ("data/3", "version")
        z.writestr(zipfile.ZipInfo("stem/" + name), data, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)

for name in sorted(os.listdir(".")):
    if name.endswith(".pt") and not any(word in name for word in ("legacy", "false", "skipped")):
        with zipfile.ZipFile(name) as z:
            assert z.testzip() is None, name
