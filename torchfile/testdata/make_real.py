#!/usr/bin/python3
"""Makes v<version>_* here with the PyTorch that runs it, and beside each file
what that PyTorch says of it: .truth, lines of JSON. The first line tells whether
the tensors that follow are all there are; a tensor is [keys, dtype, shape,
stride, first element, CRC-32 of its elements in order], a record [name, offset,
length, CRC-32]."""
import io
import json
import os
import pickle
import struct
import sys
import warnings
import zipfile
import zlib
from collections import OrderedDict, namedtuple

import numpy
import torch

warnings.simplefilter("ignore")
os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(1)
version = torch.__version__.split("+")[0]
release = tuple(map(int, version.split(".")[:2]))
dtypes = {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
          "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
          "complex64": "C64", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3", "float8_e8m0fnu": "F8_E8M0",
          "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e4m3fnuz": "F8_E4M3FNUZ"}
count = 0


def n(dtype, *shape):
    """A tensor that no other is equal to."""
    global count
    count += 1
    size = 1
    for d in shape:
        size *= d
    return (torch.arange(size) % 50 + count).reshape(shape).to(dtype)


# ------------------------------------------------------------------ the truth


def storage(t):
    return t.untyped_storage() if hasattr(t, "untyped_storage") else t.storage().untyped()


def elements(t):
    """The bytes of the elements, from the storage's: no operator of PyTorch's in between."""
    raw, width = bytes(storage(t).tolist()), t.element_size()

    def at(i, dims):
        if not dims:
            return raw[i * width:][:width]
        return b"".join(at(i + k * dims[0][1], dims[1:]) for k in range(dims[0][0]))
    return at(t.storage_offset(), list(zip(t.shape, t.stride())))


def plain(t):
    return type(t) is not Wrapped and t.layout == torch.strided and not t.is_quantized and not t.is_nested and t.device.type == "cpu"


def tensors(obj, keys):
    obj = getattr(obj, "_local_tensor", obj)  # of a DTensor
    if isinstance(obj, torch.Tensor):
        if plain(obj):
            odd = obj.is_conj() or obj.is_neg()
            yield [keys, "invalid" if odd else dtypes.get(str(obj.dtype)[6:], "invalid"), list(obj.shape), list(obj.stride()),
                   obj.storage_offset(), zlib.crc32(elements(obj))]
    elif isinstance(obj, dict):
        for k, v in obj.items():
            yield from tensors(v, keys + [str(k)])
    elif type(obj) in (list, tuple):  # of others the parts have no names of their own
        for i, v in enumerate(obj):
            yield from tensors(v, keys + [str(i)])


def payloads(path):
    """The records, by Python's zipfile."""
    with zipfile.ZipFile(path) as z, open(path, "rb") as f:
        for i in z.infolist():
            f.seek(i.header_offset)
            h = f.read(30)
            at = i.header_offset + 30 + sum(struct.unpack("<HH", h[26:]))
            f.seek(at)
            yield [i.filename, at, i.file_size, zlib.crc32(f.read(i.file_size))]


def truth(name, obj=None, all_=True):
    lines = [{"torch": torch.__version__, "all": all_}]
    lines += ({"tensor": t} for t in tensors(obj, []))
    if zipfile.is_zipfile(name) and not name.endswith(".distcp"):
        lines += ({"record": r} for r in payloads(name))
    with open(name + ".truth", "w") as f:
        f.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def save(name, obj, to_object=False, all_=True, **options):
    name = "v%s_%s.pt" % (version, name)
    if to_object:
        with open(name, "wb") as f:
            torch.save(obj, f, **options)
    else:
        torch.save(obj, name, **options)
    try:
        loaded = torch.load(name, weights_only=False)
    except TypeError:  # before 1.13
        loaded = torch.load(name)
    truth(name, loaded, all_)
    return name


# -------------------------------------------------------------- what is saved


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(5, 4)
        self.norm = torch.nn.LayerNorm(4)
        self.head = torch.nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.norm(self.embed(x)))


def small():
    net = torch.nn.Linear(3, 2)
    opt = torch.optim.AdamW(net.parameters())
    net(n(torch.float32, 1, 3)).sum().backward()
    opt.step()
    return net, opt


def train(named=False):
    torch.manual_seed(1)
    net = Net()
    key = lambda k, p: (k, p) if named else p
    opt = torch.optim.AdamW([{"params": [key(k, p) for k, p in net.named_parameters() if p.ndim > 1], "amsgrad": True},
                             {"params": [key(k, p) for k, p in net.named_parameters() if p.ndim == 1], "weight_decay": 0.0}])
    for i in range(2):
        net(torch.tensor([i, 3])).square().sum().backward()
        opt.step()
    return net, opt


class Holder:
    def __init__(self):
        self.inner = {"w": n(torch.float32, 2, 2)}


class Dict(dict):
    pass


class Sub(torch.Tensor):
    pass


class Wrapped(torch.Tensor):
    """Its numbers are those of two others, multiplied."""
    @staticmethod
    def __new__(cls, codes, scale):
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=scale.dtype)

    def __init__(self, codes, scale):
        self.codes, self.scale = codes, scale

    @classmethod
    def __torch_dispatch__(cls, f, types, args, kwargs=None):
        return args[0]


Pair = namedtuple("Pair", "a b")


def saves(d):
    try:
        torch.save(n(torch.float32, 1).to(getattr(torch, d)), io.BytesIO())
        return True
    except (AttributeError, KeyError):  # no such type, or no name in a pickle for it yet
        return False


def state():
    w = n(torch.float32, 4, 6)
    s = OrderedDict(whole=w, view=w[1:3], row=w[2], turned=w.t(), column=w[:, 2], tied=w, apart=n(torch.float32, 3, 5).t(),
                    part=n(torch.float32, 10)[3:7], expanded=n(torch.float32, 3, 1).expand(3, 4))
    s["dotted.key"] = {"a.b": n(torch.float32, 2), 7: [n(torch.float32, 2), (n(torch.float32, 2),)]}
    for d in "float64 float16 bfloat16 int64 int32 int16 int8 uint8 uint16 uint32 uint64 float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz float8_e8m0fnu".split():
        if saves(d):
            s[d] = n(torch.float32, 2, 3).to(getattr(torch, d))
    s["fp8_turned"] = n(torch.float32, 2, 3).to(torch.float8_e5m2).t() if saves("float8_e5m2") else None
    s["bool"] = torch.tensor([True, False, True])
    c = torch.complex(n(torch.float32, 3), n(torch.float32, 3))
    s.update(complex=c, conj=c.conj(), neg=torch.complex(n(torch.float32, 3), n(torch.float32, 3)).conj().imag, complex128=c.to(torch.complex128), bits=n(torch.float32, 2).view(torch.int32),
             scalar=torch.tensor(7.5), empty=torch.zeros(0), empty2=torch.zeros(2, 0, 3), parameter=torch.nn.Parameter(n(torch.float32, 2, 2)),
             steps=torch.tensor(2**40), size=torch.Size([2, 3]), epoch=3, lr=1e-3, name="x" * 300)
    return s


def odd():
    s = {"q": torch.quantize_per_tensor(n(torch.float32, 2, 2), 0.5, 3, torch.qint8),
         "qc": torch.quantize_per_channel(n(torch.float32, 2, 2), torch.tensor([0.5, 1.0]), torch.tensor([0, 0]), 0, torch.qint8),
         "coo": torch.sparse_coo_tensor([[0, 1], [1, 2]], [1.0, 2.0], (2, 3)), "csr": n(torch.float32, 2, 2).to_sparse_csr(),
         "meta": torch.zeros(3, device="meta"), "w": n(torch.float32, 2, 2)}
    if release > (2, 1):
        s["nested"] = torch.nested.nested_tensor([n(torch.float32, 2), n(torch.float32, 3)])
        s["wrapped"] = Wrapped(n(torch.float32, 2, 2).to(torch.int8), n(torch.float32, 2))
    return s


def objects():
    net = torch.nn.Linear(2, 3)
    p = torch.nn.Parameter(n(torch.float32, 2))
    p.note = "an attribute"
    s = n(torch.float32, 2, 2).as_subclass(Sub)
    s.note = 1  # without an attribute 1.13 cannot load it
    t = n(torch.float32, 2)
    t.note = n(torch.float32, 3)
    d = Dict(w=n(torch.float32, 2))
    d.attribute = n(torch.float32, 1)
    return {"module": net, "parameter": p, "holder": Holder(), "dict": d, "sub": s, "attribute": t, "pair": Pair(n(torch.float32, 2), 1),
            "numpy": numpy.arange(4.0), "scalar": numpy.float64(3), "rng": torch.get_rng_state()[:40].clone(), "set": {1, 2},
            "storage": n(torch.int16, 3).storage(), "w": n(torch.float32, 2, 2), "slice": slice(1, 2), "dtype": torch.float16,
            "generator": numpy.random.RandomState(1).get_state()}


def zero():
    """As DeepSpeed's ZeRO saves a rank's partition."""
    part = lambda: n(torch.float32, 40)
    return {"optimizer_state_dict": {
        "loss_scaler": Holder(), "dynamic_loss_scale": True, "overflow": False, "clip_grad": 1.0,
        "base_optimizer_state": {"state": {0: {"step": torch.tensor(2.0), "exp_avg": part(), "exp_avg_sq": part()},
                                           1: {"step": torch.tensor(2.0), "exp_avg": part()[:12], "exp_avg_sq": part()[:12]}},
                                 "param_groups": [{"lr": 1e-3, "params": [0]}, {"lr": 1e-3, "params": [1]}]},
        "single_partition_of_fp32_groups": [part(), part()[:12]], "zero_stage": 1, "group_paddings": [0, 4], "partition_count": [2, 2],
        "ds_version": "0.16.0", "param_slice_mappings": [OrderedDict(w=Pair(0, 40)), OrderedDict(b=Pair(0, 12))]},
        "ds_config": {"zero_optimization": {"stage": 1}}, "ds_version": "0.16.0"}


def zero3():
    s = zero()
    o = s["optimizer_state_dict"]
    o["fp32_flat_groups"] = o.pop("single_partition_of_fp32_groups")
    o["optimizer_state_dict"] = o.pop("base_optimizer_state")
    return s


net, opt = train()
save("optimizer", opt.state_dict())
save("state", state(), to_object=True)
save("odd", odd())
save("objects", objects(), all_=False)
save("zero", zero(), all_=False)
save("zero3", zero3(), all_=False)
save("lightning", {"epoch": 3, "global_step": 12, "pytorch-lightning_version": "2.5.0", "state_dict": net.state_dict(),
                   "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {}, "optimizer_states": [opt.state_dict()],
                   "lr_schedulers": [{"base_lrs": [0.1]}], "hyper_parameters": OrderedDict(lr=0.1)})
untyped = ("float8", "uint16", "uint32", "uint64", "fp8")  # what PyTorch writes of these in the legacy format it cannot load
save("legacy", {k: v for k, v in state().items() if not k.startswith(untyped)}, _use_new_zipfile_serialization=False)
save("legacy_optimizer", opt.state_dict(), _use_new_zipfile_serialization=False)
try:
    save("named_optimizer", train(named=True)[1].state_dict())
except (TypeError, ValueError) as e:
    print("no named parameters:", e)
few = {"a": n(torch.float32, 2, 3), "b": n(torch.bfloat16, 5), "m": [n(torch.float32, 3) for _ in range(11)]}
if hasattr(torch.serialization, "set_crc32_options"):
    torch.serialization.set_crc32_options(False)
    save("false_crc", few)
    torch.serialization.set_crc32_options(True)
try:
    from torch.utils.serialization import config
    config.save.storage_alignment = 4096
    save("align4096", {"a": n(torch.float32, 2, 3), "b": n(torch.bfloat16, 5)})
    config.save.storage_alignment = 64
except (ImportError, AttributeError) as e:
    print("no storage_alignment:", e)
if hasattr(torch.serialization, "skip_data"):
    name = "v%s_skipped.pt" % version
    with torch.serialization.skip_data():
        torch.save(few, name)
    truth(name, torch.load(name))
name = "v%s_script.pt" % version
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), name)
truth(name, all_=False)

# -------------------------------------------- torch.distributed.checkpoint


def halves():
    """A planner that cuts every matrix in two chunks, as a sharded tensor has."""
    import dataclasses
    from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata
    from torch.distributed.checkpoint.planner import WriteItemType

    class Planner(DefaultSavePlanner):
        def create_local_plan(self):
            plan, items = super().create_local_plan(), []
            for i in plan.items:
                d = i.tensor_data
                if d is None or len(d.size) < 2:
                    items.append(i)
                    continue
                for k, (lo, hi) in enumerate([(0, 2), (2, d.size[0])]):
                    at, size = torch.Size([lo, 0]), torch.Size([hi - lo, d.size[1]])
                    items.append(dataclasses.replace(i, type=WriteItemType.SHARD, index=dataclasses.replace(i.index, offset=at, index=k),
                                                     tensor_data=dataclasses.replace(d, chunk=ChunkStorageMetadata(at, size))))
            self.plan = dataclasses.replace(plan, items=items)
            return self.plan

        def lookup_object(self, index):
            return self.state_dict[index.fqn]

        def transform_object(self, item, obj):
            if item.tensor_data is not None and len(item.tensor_data.size) > 1:
                c = item.tensor_data.chunk
                return obj[c.offsets[0]:][:c.sizes[0]]
            return super().transform_object(item, obj)
    return Planner()


def dcp(name, state, planner=None, **options):
    import shutil
    import torch.distributed.checkpoint as dist
    writer = dist.FileSystemWriter("dcp", **options)
    if release >= (2, 2):
        dist.save(state, storage_writer=writer, planner=planner)
    else:
        dist.save_state_dict(state, storage_writer=writer, planner=planner, no_dist=True)
    for file in sorted(os.listdir("dcp")):
        to = "v%s_%s" % (version, name) + (".metadata" if file == ".metadata" else "_" + file.strip("_"))
        shutil.move("dcp/" + file, to)
        if file == ".metadata":
            meta = pickle.load(open(to, "rb"))
    os.rmdir("dcp")
    # Each item as the metadata has it, and what its bytes hold by PyTorch.
    lines = [{"torch": torch.__version__, "all": True}]
    for index, place in meta.storage_data.items():
        file = "v%s_%s" % (version, name) + "_" + place.relative_path.strip("_")
        b = open(file, "rb").read()[place.offset:][:place.length]
        item = [place.relative_path, place.offset, place.length, index.fqn, list(index.offset) if index.offset is not None else None]
        if isinstance(meta.state_dict_metadata[index.fqn], dist.metadata.TensorStorageMetadata) and b[:2] == b"PK":
            item += next(tensors(torch.load(io.BytesIO(b)), []))[1:]
        lines.append({"item": item})
    with open("v%s_%s.metadata.truth" % (version, name), "w") as f:
        f.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def flat(net, opt):
    """As torch.distributed.checkpoint.state_dict names a training state."""
    try:
        from torch.distributed.checkpoint.state_dict import get_state_dict
        m, o = get_state_dict(net, opt)
        return {"model": m, "optimizer": o}
    except ImportError:
        names = [k for k, _ in net.named_parameters()]
        return {"model": net.state_dict(), "optimizer": {"state": {names[i]: s for i, s in opt.state_dict()["state"].items()}}}


def distributed():
    import torch.distributed as dist
    import torch.distributed.device_mesh
    try:
        from torch.distributed.tensor import Shard, distribute_tensor
    except ImportError:
        from torch.distributed._tensor import Shard, distribute_tensor
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    mesh = dist.device_mesh.init_device_mesh("cpu", (1,))
    d = {k: distribute_tensor(n(torch.float32, 4, 3), mesh, [Shard(0)]) for k in ("w", "exp_avg", "exp_avg_sq")}
    d["parameter"] = torch.nn.Parameter(distribute_tensor(n(torch.float32, 2, 2), mesh, [Shard(0)]))
    save("dtensor", d, all_=False)
    dist.destroy_process_group()


if release > (2, 3):
    distributed()
if release < (2, 0):
    print("no torch.distributed.checkpoint")
    sys.exit()
dcp("dcp", dict(flat(*small()), epoch=3, extra={"list": [1, 2], "holder": "text"}))
dcp("dcp_halves", net.state_dict(), planner=halves())
dcp("dcp_threads", net.state_dict(), single_file_per_rank=False, thread_count=2)
try:
    from torch.distributed.checkpoint.filesystem import SerializationFormat
    dcp("dcp_safetensors", net.state_dict(), serialization_format=SerializationFormat.SAFETENSORS)
except ImportError as e:
    print("no safetensors in DCP:", e)
