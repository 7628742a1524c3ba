"""Graphs as native code by Inductor, kept for the next process.

Inductor itself is called, and not torch.compile: what that traces and guards besides costs a small
step a third of its time. Inductor writes a graph of the CPU as a Python function that calls C++
kernels and torch's own operations. Torch compiles each kernel by itself, after trying out every
vector instruction of the processor and compiling its headers; here all kernels of a graph are one
file, compiled once. What is kept is that library and that function, under a hash of all that they
follow from. Newly compiled or kept, they are loaded alike.
"""

import hashlib
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from ppvae.compilation import cache
from ppvae.compilation.graphs import Function
from ppvae.compilation.notes import note
from ppvae.compilation.processor import instructions

_OPTIONS = {"fallback_random": True, "size_asserts": False}
"""Settings of Inductor: torch's own random numbers, and no checks of what the trace has fixed."""

_FORMAT = 1
"""Raised whenever this file makes something else of a graph: part of the key."""


def compile_natively(graph: GraphModule, tensors: Sequence[Tensor], *, is_on_cpu: bool) -> Function:
    """A graph as native code; on the CPU, from the folder of `cache` where it is there.

    Args:
        graph: of torch's operations, its changes in place at the end; it is changed.
        tensors: examples of its inputs.
        is_on_cpu: whether all that it computes is.

    Raises:
        Exception: in many ways, if there is no compiler for this machine, or it fails.
    """
    if not is_on_cpu:
        return _by_torch(graph, tensors)
    constants = _take_constants_out(graph)
    everything = [*tensors, *constants]
    try:
        function = _kept_or_new(graph, everything)
    except Exception as error:  # of a torch that does something else than is known here, say
        by_torch = _by_torch(graph, everything)
        note("a graph is compiled in torch's own way, which takes longer", error)
        return lambda *tensors: by_torch(*tensors, *constants)
    return lambda *tensors: function([*tensors, *constants])


def _kept_or_new(graph: GraphModule, tensors: Sequence[Tensor]) -> Callable[[list[Tensor]], Any]:
    key = _key(graph)
    kept = cache.read(key)
    function = None if kept is None else _try(lambda: _load(key, kept))
    if function is None:
        parts = _compile(graph, tensors)
        function = _load(key, parts)
        cache.write(key, parts)
    return function


def _by_torch(graph: GraphModule, tensors: Sequence[Tensor]) -> Function:
    """The graph as torch compiles it, kept in torch's own cache: in a folder that may be lost."""
    from torch._guards import TracingContext, tracing
    from torch._inductor.compile_fx import compile_fx
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    # Torch keeps only what was compiled where shapes could be symbols, which they are not.
    with tracing(TracingContext(FakeTensorMode(shape_env=ShapeEnv()))):
        run = compile_fx(graph, list(tensors), config_patches=dict(_OPTIONS), ignore_shape_env=True)
    return cast("Function", run)


def _take_constants_out(module: GraphModule) -> list[Tensor]:
    """Make the tensors that a graph holds its last inputs: native code is the same for others."""
    graph, constants = module.graph, list[Tensor]()
    body = next(node for node in graph.nodes if node.op != "placeholder")
    for node in graph.find_nodes(op="get_attr"):
        value = getattr(module, node.target)
        with graph.inserting_before(body):
            constant = graph.placeholder(f"constant_{len(constants)}")
        constant.meta["val"] = value
        constants.append(value)
        node.replace_all_uses_with(constant)
    for node in graph.find_nodes(op="get_attr"):
        graph.erase_node(node)
    module.recompile()
    return constants


# The key


def _key(graph: GraphModule) -> str:
    """A hash of all that native code follows from: graph, versions, processor, settings."""
    from torch._inductor import config, cpp_builder

    compiler = cpp_builder.get_cpp_compiler()
    follows_from = (
        _FORMAT,
        graph.code,
        [_about(node.meta.get("val")) for node in graph.graph.nodes],
        (torch.__version__, torch.version.git_version),
        (sys.implementation.cache_tag, sysconfig.get_config_var("EXT_SUFFIX")),
        cpp_builder.get_compiler_version_info(compiler),
        instructions(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        torch._C._get_deterministic_fill_uninitialized_memory(),
        _OPTIONS,
        sorted(config.save_config_portable(ignore_private_configs=False).items()),
    )
    return hashlib.sha256(repr(follows_from).encode()).hexdigest()


def _about(value: Any) -> Any:
    """Shape, strides, type and device of what a node computes."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.stride(), value.dtype, value.device
    return [_about(one) for one in value] if isinstance(value, (list, tuple)) else None


# From a graph to a library


def _compile(graph: GraphModule, tensors: Sequence[Tensor]) -> dict[str, bytes]:
    """The function of a graph as ``call.py``, and the kernels that it calls as ``kernels.so``."""
    kernels: list[tuple[Sequence[str], str]] = []
    with _scratch() as scratch, _vectors_untried():
        source = _generate(graph, tensors, lambda *kernel: kernels.append(kernel))
        names = re.findall(r"^(\w+) = async_compile\.cpp_pybinding\(", source, re.MULTILINE)
        if len(names) != len(kernels):
            raise ValueError(f"{len(kernels)} kernels have {len(names)} names")
        library = _build(_one_file(names, kernels), scratch)
        return {"call.py": _without_kernels(source).encode(), "kernels.so": library.read_bytes()}


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for this process alone, which torch writes to meanwhile.

    It is where the user has torch put native code, if anywhere: another place may not run it.
    """
    chosen = cache.chosen_by_user()
    place = _try(lambda: tempfile.TemporaryDirectory(dir=chosen, ignore_cleanup_errors=True))
    with (
        place or tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=name),
    ):
        yield Path(name)


def _generate(
    graph: GraphModule, tensors: Sequence[Tensor], on_kernel: Callable[[Sequence[str], str], None]
) -> str:
    """The function that Inductor makes of a graph, as Python; its kernels are given away."""
    from torch._inductor import compile_to_python, config
    from torch._inductor.async_compile import AsyncCompile
    from torch._inductor.compile_fx import record_original_output_strides
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.fx_passes.joint_graph import joint_graph_passes

    def give_away(_: Any, types: Sequence[str], code: str) -> None:
        on_kernel(types, code)

    with (
        torch.no_grad(),
        # No workers, which would import torch meanwhile: what they are for is given away.
        config.patch({**_OPTIONS, "fx_graph_cache": False, "compile_threads": 1}),
        patch.object(AsyncCompile, "cpp_pybinding", give_away),
    ):
        fake = make_fx(graph, select_decomp_table(), "fake", _allow_non_fake_inputs=True)
        plain: GraphModule = fake(*tensors)
        output: Any = plain.graph.output_node()
        output.meta["user_visible_output_idxs"] = range(len(output.args[0]))
        record_original_output_strides(plain)
        source, _ = compile_to_python(joint_graph_passes(plain), list(tensors))
    return source


@contextmanager
def _vectors_untried() -> Iterator[None]:
    """Meanwhile code has the vector instructions of torch's own kernels.

    Torch would try out each kind that it knows, by compiling, for a dozen seconds.
    """
    from torch._inductor import cpu_vec_isa

    known = {"AVX512": cpu_vec_isa.VecAVX512, "AVX2": cpu_vec_isa.VecAVX2}
    kind = known.get(torch.backends.cpu.get_cpu_capability())
    kinds = cpu_vec_isa.valid_vec_isa_list() if kind is None else [kind()]
    with patch.object(cpu_vec_isa, "valid_vec_isa_list", lambda: kinds):
        yield


def _one_file(names: Sequence[str], kernels: Sequence[tuple[Sequence[str], str]]) -> str:
    """All kernels as one C++ file, which is an extension module of each of their names."""
    from torch._inductor.codecache import CppPythonBindingsCodeCache

    includes: dict[str, None] = {}
    spaces = []
    for name, (types, code) in zip(names, kernels, strict=True):
        pointers = [kind.replace("const ", "") for kind in types]
        given = ", ".join(f"parse_arg<{kind}>(args, {i})" for i, kind in enumerate(pointers))
        bindings = CppPythonBindingsCodeCache.suffix_template.format(
            arg_len=len(types),
            call_entry_func=f"{name}({given}); Py_RETURN_NONE;",
            entry_func=name,
            extra_parse_arg="",
        )
        own, count = re.subn(r"\bvoid\s+kernel\(", f"void {name}(", code)
        if count != 1:
            raise ValueError(f"{name} has {count} functions that are called kernel")
        lines = (own + bindings).splitlines()
        includes |= dict.fromkeys(line for line in lines if line.startswith("#"))
        body = "\n".join(line for line in lines if not line.startswith("#"))
        spaces.append(f"namespace of_{name} {{\n{body}\n}}\n")
    return "\n".join([*includes, *spaces])


def _build(code: str, scratch: Path) -> Path:
    """Compile a C++ file, with the options that torch has for it."""
    from torch._inductor.codecache import CppPythonBindingsCodeCache
    from torch._inductor.cpp_builder import CppBuilder, CppTorchDeviceOptions
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    path = scratch / "kernels.cpp"
    path.write_text(code)
    flags = CppPythonBindingsCodeCache.cpp_compile_command_flags
    options = CppTorchDeviceOptions(vec_isa=pick_vec_isa(), device_type="cpu", **flags)
    builder = CppBuilder("kernels", str(path), options, output_dir=str(scratch))
    builder.build()
    return Path(builder.get_target_file_path())


def _without_kernels(source: str) -> str:
    """A function of Inductor's that is given its kernels, and imports nothing that takes seconds.

    Raises:
        ValueError: if it needs more of Inductor than is known here.
    """
    from torch._inductor.select_algorithm import extern_kernels

    kernel = r"^(\w+) = async_compile\.cpp_pybinding\(.*?^'''\)$"
    source = re.sub(kernel, r'\1 = kernel("\1")', source, flags=re.MULTILINE | re.DOTALL)
    source = re.sub(r"^(from torch\._inductor\.|(del )?async_compile).*\n", "", source, flags=re.M)
    # Products with an output, which Inductor calls by a name of its own.
    products = set(re.findall(r"\bextern_kernels\.(\w+)", source))
    if all(getattr(extern_kernels, name) is getattr(torch, name, None) for name in products):
        source = re.sub(r"\bextern_kernels\.", "torch.", source)
    else:
        source = f"from torch._inductor.select_algorithm import extern_kernels\n{source}"
    if "async_compile" in source:
        raise ValueError("it compiles something else than kernels")
    return source


# From a library to a function


def _load(key: str, parts: dict[str, bytes]) -> Callable[[list[Tensor]], Any]:
    """What `_compile` gave, as a function of a list of tensors, which it empties."""
    with _scratch() as scratch:
        path = scratch / f"{key}.so"  # Python knows an extension module by its path
        path.write_bytes(parts["kernels.so"])
        guards: Any = torch._C._dynamo.guards
        address = guards._torchinductor_pyobject_tensor_data_ptr
        with patch.dict(os.environ, _TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR=str(address)):

            def kernel(name: str) -> Any:
                loader = ExtensionFileLoader(name, str(path))
                module = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
                loader.exec_module(module)
                return getattr(module, name)

            names: dict[str, Any] = {"__name__": key, "kernel": kernel}
            exec(compile(parts["call.py"], f"<{key}>", "exec"), names)
    call: Callable[[list[Tensor]], Any] = names["call"]
    return call


def _try[T](function: Callable[[], T]) -> T | None:
    """What a function gives; ``None`` if it fails."""
    try:
        return function()
    except Exception:  # what is kept may not load, nor the folder take a file, in many ways
        return None
