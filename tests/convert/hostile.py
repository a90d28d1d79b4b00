"""Hostile and damaged checkpoints: names of their kind, and their bytes.

Every call that such a file tries would leave a mark: it names the file `executed` in the
folder where it runs, or ends the process.
"""

import random
import struct
from collections.abc import Iterator

import numpy as np

from tests.convert import hostile_containers, pickles
from tests.convert.conftest import small_arrays, small_snapshot
from tests.convert.pickles import Blob, Call, Entry, Name, New, Outside, dumps

File = tuple[str, bytes]  # kind, bytes

CALLS = (
    ("os", "system", "touch executed"),
    ("posix", "system", "touch executed"),
    ("nt", "system", "touch executed"),
    ("builtins", "eval", "open('executed', 'w')"),
    ("builtins", "exec", "open('executed', 'w')"),
    ("__builtin__", "eval", "open('executed', 'w')"),
    ("builtins", "__import__", "this"),
    ("builtins", "getattr", "x"),
    ("builtins", "open", "executed"),
    ("builtins", "compile", "1"),
    ("builtins", "print", "executed"),
    ("builtins", "object", "x"),
    ("subprocess", "Popen", "touch executed"),
    ("subprocess", "getoutput", "touch executed"),
    ("codecs", "decode", "executed"),
    ("codecs", "open", "executed"),
    ("_codecs", "decode", "executed"),
    ("_codecs", "encode", "executed"),
    ("sys", "exit", "3"),
    ("os", "_exit", "3"),
    ("pickle", "loads", "N."),
    ("_pickle", "loads", "N."),
    ("torch", "load", "executed"),
    ("torch.serialization", "load", "executed"),
    ("torch.hub", "load", "executed"),
    ("torch.utils.cpp_extension", "load", "executed"),
    ("torch._utils", "_import_dotted_name", "os.system"),
    ("torch.jit", "load", "executed"),
    ("importlib", "import_module", "this"),
    ("runpy", "run_path", "executed"),
    ("shutil", "rmtree", "."),
    ("operator", "attrgetter", "system"),
    ("operator", "methodcaller", "system"),
    ("functools", "reduce", "x"),
    ("types", "FunctionType", "x"),
    ("ctypes", "CDLL", "libc.so.6"),
    ("pty", "spawn", "touch executed"),
    ("socket", "create_connection", "x"),
    ("webbrowser", "open", "http://x"),
    ("timeit", "timeit", "open('executed', 'w')"),
    ("numpy", "load", "executed"),
    ("numpy.testing._private.utils", "runstring", "open('executed', 'w')"),
    ("copyreg", "_reconstructor", "x"),
    ("copyreg", "add_extension", "x"),
    ("multiprocessing.util", "spawnv_passfds", "x"),
    ("collections", "namedtuple", "x"),
    ("invertavatar_jax.cli.main", "main", "info"),
    ("torch.nn.modules..os", "system", "touch executed"),
    ("torch.nn\u2024os", "system", "touch executed"),
    ("", "", "x"),
    ("os\x00", "system", "x"),
    ("torch_utils.persistence", "os.system", "touch executed"),
)


def corpus(seed: int = 0) -> Iterator[File]:
    """All files, the same ones for the same seed."""
    rng = random.Random(seed)
    for module, name, argument in CALLS:
        yield from _calls(module, name, argument)
    yield from _opcodes()
    yield from _bombs()
    yield from _lengths()
    yield from _storages()
    yield from _structures()
    yield from _damaged(rng)
    yield from hostile_containers.archives()
    yield from hostile_containers.tables()
    yield from _noise(rng)


def _line(module: str, name: str) -> bytes:
    return f"{module}\n{name}\n".encode("utf-8", "replace")


def _calls(module: str, name: str, argument: str) -> Iterator[File]:
    """One dangerous name, in every way that a pickle can use a name."""
    text = b"X" + struct.pack("<I", len(argument)) + argument.encode()
    line, named = _line(module, name), Name(module, name)
    call = Call(named, (argument,))
    yield "call by GLOBAL", b"\x80\x02c" + line + text + b"\x85R."
    yield "call by STACK_GLOBAL", dumps({"G": call})
    yield "call by INST", b"\x80\x02(" + text + b"i" + line + b"."
    yield "call by OBJ", b"\x80\x02(c" + line + text + b"o."
    yield "object by NEWOBJ", dumps(New(named, {"_modules": {}}))
    yield "object by NEWOBJ_EX", b"\x80\x04c" + line + text + b"\x85}\x92."
    yield "call in a state", dumps(New(Name("torch.nn.modules.linear", "Linear"), {"x": call}))
    yield "call in a storage", dumps({"G": _nested(dumps(call, 2))})
    yield "call in an archive", pickles.archive([Entry("m/data.pkl", dumps(call, 2))])
    hidden = Call(Name("functools", "partial"), (named, argument))
    yield "call by partial", dumps({"G": Call(Name("builtins", "map"), (hidden, [1]))})


def _nested(data: bytes) -> Call:
    return Call(Name("torch.storage", "_load_from_bytes"), (data,))


def _opcodes() -> Iterator[File]:
    """Opcodes that no checkpoint uses, and persistent ids where there are none."""
    for tail in (
        b"I1\n",
        b"L1L\n",
        b"F1\n",
        b"S'x'\n",
        b"Vx\n",
        b"g0\n",
        b"Np0\n",
        b"Pos.system\n",
    ):
        yield "opcode of protocol 0", b"\x80\x02" + tail + b"."
    for tail in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"):
        yield "opcode EXT", b"\x80\x02" + tail + b")R."
    yield "opcode of buffers", b"\x80\x05\x97\x98."
    yield "persistent id", dumps(Outside(("storage", Name("torch", "FloatStorage"), "0", "cpu", 1)))
    yield "persistent id", dumps(Outside("os.system"))
    for value in (1, ("x",), ("storage", 1, "0", "cpu", 1), ("module", "os", "system", "x", 1)):
        parts = pickles.tensor_file(Outside(value), {})
        yield "persistent id", b"".join(bytes(part) for part in parts)
    yield "unknown opcode", b"\x80\x04\xff."
    yield "newer protocol", b"\x80\x09N."
    yield "empty stack", b"\x80\x04R."
    yield "no mark", b"\x80\x04NNu."
    yield "two results", b"\x80\x04NN."
    yield "mark left", b"\x80\x04(N."
    yield "no STOP", b"\x80\x04N"
    yield "bytes after STOP", b"\x80\x04N.cos\nsystem\n"
    yield "memo entry missing", b"\x80\x04h\x07."
    for code in range(256):
        yield "single opcode", b"\x80\x04" + bytes([code]) + b"\x00\x00\x00\x00."


def _bombs() -> Iterator[File]:
    """Small files that ask for much work or memory."""
    for depth in (9, 30, 200):  # each list holds the one before ten times
        lists = b"](" + b"N" * 10 + b"e\x94"
        for level in range(depth):
            lists += b"0](" + (b"h" + bytes([level])) * 10 + b"e\x94"
        yield "lists in lists", b"\x80\x04" + lists + b"."
        last = b"h" + bytes([depth])
        state = b"}(\x8c\x0c_init_kwargs" + last + b"\x8c\x05plain" + last + b"\x8c\x08_modules}"
        state += b"\x8c\x0b_parameters}\x8c\x08_buffers}u"
        made = b"ctorch.nn\nLinear\n)\x81" + state + b"b"
        yield "lists in arguments", b"\x80\x04" + lists + b"0}\x8c\x01G" + made + b"s."
    for name, unit in (
        ("sets", b"\x8f"),
        ("dictionaries", b"}"),
        ("lists", b"]"),
        ("marks", b"("),
        ("copies", b"2"),
        ("memo entries", b"\x94"),
        ("numbers", b"K\x01"),
        ("texts", b"\x8c\x01x"),
        ("tuples", b"\x85"),
        ("objects", b"ctorch.nn\nLinear\n)\x81"),
        ("orderly dictionaries", b"ccollections\nOrderedDict\n)R"),
    ):
        yield f"flood of {name}", b"\x80\x04N" + unit * (6_000_000 // len(unit)) + b"."
    yield "nested lists", b"\x80\x04" + b"](" * 300_000 + b"e" * 300_000 + b"."
    yield "nested tuples", b"\x80\x04N" + b"\x85" * 600_000 + b"."
    for index in (2**31, 2**32 - 1):
        yield "far memo entry", b"\x80\x04Nr" + struct.pack("<I", index) + b"."
    collide = b"".join(
        b"\x8a\x10" + ((2**61 - 1) * i).to_bytes(16, "little") + b"N" for i in range(40_000)
    )
    yield "keys that collide", b"\x80\x04}(" + collide + b"u."
    spread = b"".join(b"\x8a\x08" + struct.pack("<q", i << 40) + b"N" for i in range(60_000))
    yield "keys that collide", b"\x80\x04}(" + spread + b"u."
    floats = b"".join(b"G" + struct.pack(">d", float(i)) + b"N" for i in range(1000))
    yield "keys that collide", b"\x80\x04}(" + floats + b"u."
    yield "key that is a list", b"\x80\x04}]Ns."
    big = b"\x80\x04}(" + b"".join(b"\x8c\x05%05dN" % i for i in range(50_000)) + b"u\x94"
    name = b"ctorch.nn\nLinear\n)\x81"
    yield "state given often", big + name + b"h\x00b" * 100_000 + b"."
    pairs = b"\x80\x04](" + b"\x8c\x01aN\x86" * 50_000 + b"e\x940"
    yield "pairs given often", pairs + b"ccollections\nOrderedDict\nh\x00\x85R0" * 50_000 + b"N."
    long = b"\x80\x04X" + struct.pack("<I", 4_000_000) + b"x" * 4_000_000 + b"\x940"
    calls = b"c_codecs\nencode\nh\x00\x8c\x06latin1\x86R0" * 20_000
    yield "text given often", long + calls + b"N."
    axes = b"\x80\x04(" + b"J\xff\xff\xff\x7f" * 100_000 + b"t\x940"
    size = b"ctorch\nSize\nh\x00\x85R0" * 20_000
    yield "shape given often", axes + size + b"N."


def _lengths() -> Iterator[File]:
    """Lengths that the file does not have."""
    for code in (b"B", b"X", b"T"):
        for length in (2**31 - 1, 2**31, 2**32 - 1):
            yield "length beyond the file", b"\x80\x04" + code + struct.pack("<I", length) + b"x."
    for code in (b"\x8d", b"\x8e", b"\x95", b"\x96"):
        for length in (2**31, 2**40, 2**63, 2**64 - 1):
            yield "length beyond the file", b"\x80\x04" + code + struct.pack("<Q", length) + b"x."
    for length in (2**31 - 1, -1, 10**6):
        yield "long integer", b"\x80\x04\x8b" + struct.pack("<i", length) + b"\x01" * 99 + b"."
    yield "long integer", b"\x80\x04\x8b" + struct.pack("<i", 10**6) + b"\x01" * 10**6 + b"."
    for line in (b"c" + b"x" * 10**6, b"cos", b"cos\n", b"c\xff\xfe\nx\n"):
        yield "name without end", b"\x80\x02" + line
    long = "x" * 100_000
    yield "long name", dumps(New(Name("torch.nn", long), {}))
    yield "long name", dumps(New(Name("torch.nn." + long, "x"), {}))


def _tensor(count: int, shape: tuple, strides: tuple, offset: int = 0, *, cut: int = 0) -> bytes:
    """A file of one tensor whose storage says that it has `count` elements."""
    array = np.zeros(4, np.float32)
    storage = Outside(("storage", Name("torch", "FloatStorage"), "0", "cpu", count, None))
    build = Name("torch._utils", "_rebuild_tensor_v2")
    value = {"x": Call(build, (storage, offset, shape, strides, False, None))}
    parts = pickles.tensor_file(value, {})[:-1]
    parts += [dumps(["0"], 2), struct.pack("<q", count), array.tobytes()]
    data = b"".join(bytes(part) for part in parts)
    return data[: len(data) - cut]


def _storages() -> Iterator[File]:
    """Tensors and storages that do not fit each other or the file."""
    huge = 2**40
    yield "correct tensor", _tensor(4, (2, 2), (2, 1))
    for count in (5, huge, 2**62, 2**63 - 1, -1, 0):
        yield "storage beyond the file", _tensor(count, (2, 2), (2, 1))
    for shape, strides, offset in (
        ((huge,), (0,), 0),
        ((huge, huge), (0, 0), 0),
        ((4, 4), (1, 1), 0),
        ((3,), (2,), 0),
        ((4,), (1,), 1),
        ((4,), (1,), 2**63),
        ((4,), (-1,), 3),
        ((-1,), (1,), 0),
        ((2**31,) * 8, (0,) * 8, 0),
        ((1,) * 9, (1,) * 9, 0),
        ((2, 2), (2,), 0),
        (("4",), (1,), 0),
        ((True,), (1,), 0),
        ((4.0,), (1,), 0),
        (([4],), (1,), 0),
    ):
        yield "view beyond its storage", _tensor(4, shape, strides, offset)
    for cut in (1, 15, 16, 17, 24, 25, 60):
        yield "storage cut short", _tensor(4, (4,), (1,), cut=cut)
    yield "bytes after a tensor file", _tensor(4, (4,), (1,)) + b"cos\nsystem\n"
    inner = b"".join(bytes(p) for p in pickles.tensor_file({"x": 1}, {}))
    yield "storage that is none", dumps({"G": _nested(inner)})
    for _ in range(6):
        inner = b"".join(bytes(p) for p in pickles.tensor_file(_nested(inner), {}))
        yield "files in files", dumps({"G": _nested(inner)})
    array = np.zeros(200_000, np.float32)
    load = Call(
        Name("torch.storage", "_load_from_bytes"),
        (Blob(tuple(pickles.tensor_file(pickles.storage_id(array, "0"), {"0": array}))),),
    )
    one = pickles.tensor(array, load, parameter=False)
    head = dumps(one)[:-1] + b"\x940}("  # memoized, then named many times
    index = dumps(one).count(b"\x94")
    names = b"".join(b"\x8c\x05%05dj" % i + struct.pack("<I", index) for i in range(50_000))
    yield "one array many times", head + names + b"u."
    for value in ({"shape": 1}, [1], None, "x", 5):
        build = Name("torch._utils", "_rebuild_tensor_v2")
        yield "tensor of what is none", dumps(Call(build, (value, 0, (1,), (1,), False, None)))
    for bad in ("O8", "V8", "S8", "M8", "f4,f4", "f16", "i4" * 100):
        yield "element type", dumps({"x": Call(Name("numpy", "dtype"), (bad, False, True))})
    scalar = Name("numpy._core.multiarray", "scalar")
    dtype = Call(Name("numpy", "dtype"), ("f8", False, True))
    for data in (b"", b"1234567", b"123456789"):
        yield "number of other size", dumps({"x": Call(scalar, (dtype, data))})


def _modules_of(body: bytes) -> bytes:
    return b"\x80\x04}(\x8c\x01G" + body + b"u."


def _structures() -> Iterator[File]:
    """Modules that contain themselves, or have no module's state."""
    new = b"ctorch.nn\nLinear\n)\x81\x94}("
    empty = b"\x8c\x0b_parameters}\x8c\x08_buffers}"
    own = empty + b"\x8c\x08_modules}(\x8c\x01ah\x00u"
    yield "module in itself", _modules_of(new + own + b"ub")
    twice = empty + b"\x8c\x08_modules}(\x8c\x01ah\x00\x8c\x01bh\x00u"
    yield "module in itself", _modules_of(new + twice + b"ub")
    yield "dictionary in itself", b"\x80\x04}\x94(\x8c\x01ah\x00\x8c\x01bh\x00u."
    many = b"".join(b"\x8c\x04%04dh\x00" % i for i in range(3000))
    yield "dictionary in itself", b"\x80\x04}\x94(" + many + b"u."
    yield "list in itself", b"\x80\x04]\x94(h\x00h\x00e."
    for state in ({"_modules": {}}, {"_modules": {}, "_parameters": 1, "_buffers": {}}):
        yield "no module's state", dumps({"G": New(Name("torch.nn", "Linear"), state)})
    for meta in ({}, {"type": "func"}, {"type": "class", "class_name": 1, "state": {}}, [1], 7):
        persistent = Name("torch_utils.persistence", "_reconstruct_persistent_obj")
        yield "persistent object of nothing", dumps({"G": Call(persistent, (meta,))})
    level = b""
    for i in range(12):  # each module holds the one before ten times
        inside = (
            b"".join(b"\x8c\x01%ch" % (97 + j) + bytes([i - 1]) for j in range(10)) if i else b""
        )
        level += b"ctorch.nn\nLinear\n)\x81\x94}(" + empty + b"\x8c\x08_modules}("
        level += inside + b"uub" + (b"" if i == 11 else b"0")
    yield "modules in modules", b"\x80\x04}\x8c\x01G" + level + b"s."
    for name in ("a" * 100_000, "../../etc/passwd", "a\nb", "\x1b[31m"):
        array = pickles.nested(np.zeros(2, np.float32), parameter=False)
        yield "odd name of an array", dumps({name: array})


def _damaged(rng: random.Random) -> Iterator[File]:
    """Correct files of all formats, whole, cut short, and with changed bytes."""
    arrays = small_arrays()
    whole = {
        "snapshot": small_snapshot(arrays),
        "old snapshot": small_snapshot(arrays, 3),
        "tensor file": pickles.legacy_state_dict(arrays),
        "archive": pickles.archive(pickles.archived_state_dict(arrays)),
    }
    for name, data in whole.items():
        yield f"correct {name}", data
        for _ in range(25):
            yield f"{name} cut short", data[: rng.randrange(1, len(data))]
        for _ in range(40):
            changed = bytearray(data)
            for _ in range(rng.choice((1, 1, 4, 32))):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            yield f"{name} with changed bits", bytes(changed)
        for _ in range(10):
            begin = rng.randrange(len(data))
            other = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 64)))
            yield f"{name} with bytes put in", data[:begin] + other + data[begin:]


def _noise(rng: random.Random) -> Iterator[File]:
    """Bytes at random, some of them opcodes only."""
    codes = bytes(
        code for code in b"(.0122NJKMGX]aeld}su)\x85\x86\x87tqrh\x94jcRbQ\x81\x93\x8c\x8f\x90\x91"
    )
    yield "empty file", b""
    for _ in range(60):
        body = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 400)))
        yield "noise", body
        yield "noise behind a protocol", b"\x80\x04" + body
        chosen = bytes(rng.choice(codes) for _ in range(rng.randrange(1, 400)))
        yield "opcodes at random", b"\x80\x04" + chosen + b"."
