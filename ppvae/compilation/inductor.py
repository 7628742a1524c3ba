"""Graphs as native code by Inductor, kept for the next process.

Inductor is called directly, without torch.compile, whose tracing and guards cost a small step a
third of its time. On a CPU, Inductor writes a graph as a Python function that calls C++ kernels and
torch's own operations. Torch compiles each kernel separately, after trying every vector instruction
of the processor and compiling its headers; here all kernels of a graph are one file, compiled once.
That library and the function are kept, under a hash of all that they depend on. New or kept, they
are loaded in the same way.
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
"""Settings of Inductor: torch's random numbers, and no checks of what the trace has fixed."""

_FORMAT = 1
"""Version of the code generated from a graph, a part of the key: raise it if the code changes."""


def compile_natively(graph: GraphModule, tensors: Sequence[Tensor], *, is_on_cpu: bool) -> Function:
    """A graph as native code; on the CPU, from the folder of `cache` if it is there.

    Args:
        graph: of torch's operations, with changes in place at the end; it is modified.
        tensors: examples of its inputs.
        is_on_cpu: whether all of its values are on the CPU.

    Raises:
        Exception: of many kinds, if there is no compiler for this machine, or it fails.
    """
    if not is_on_cpu:
        return _by_torch(graph, tensors)
    constants = _take_constants_out(graph)
    everything = [*tensors, *constants]
    try:
        function = _kept_or_new(graph, everything)
    except Exception as error:  # such as for a version of torch that works differently
        by_torch = _by_torch(graph, everything)
        note("a graph is compiled by torch itself, which takes longer", error)
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
    """The graph as compiled by torch, kept in torch's own cache, in a temporary folder."""
    from torch._guards import TracingContext, tracing
    from torch._inductor.compile_fx import compile_fx
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    # Torch's cache requires that shapes could be symbols, though here they are not.
    with tracing(TracingContext(FakeTensorMode(shape_env=ShapeEnv()))):
        run = compile_fx(graph, list(tensors), config_patches=dict(_OPTIONS), ignore_shape_env=True)
    return cast("Function", run)


def _take_constants_out(module: GraphModule) -> list[Tensor]:
    """Make the tensors in a graph its last inputs, so that its code is independent of them."""
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
    """A hash of all that native code depends on: graph, versions, processor, settings."""
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
    """Shape, strides, type and device of a node's output."""
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
    """A folder for this process alone, where torch writes in the meantime.

    It is inside the folder that the user chose for native code, if any: another may forbid running
    it.
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
    """The Python function that Inductor makes of a graph; kernels go to ``on_kernel``."""
    from torch._inductor import compile_to_python, config
    from torch._inductor.async_compile import AsyncCompile
    from torch._inductor.compile_fx import record_original_output_strides
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.fx_passes.joint_graph import joint_graph_passes

    def give_away(_: Any, types: Sequence[str], code: str) -> None:
        on_kernel(types, code)

    with (
        torch.no_grad(),
        # No worker processes, which would import torch and have nothing to compile.
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
    """Use the vector instructions of torch's own kernels.

    Torch would try each known kind by compiling, for a dozen seconds.
    """
    from torch._inductor import cpu_vec_isa

    known = {"AVX512": cpu_vec_isa.VecAVX512, "AVX2": cpu_vec_isa.VecAVX2}
    kind = known.get(torch.backends.cpu.get_cpu_capability())
    kinds = cpu_vec_isa.valid_vec_isa_list() if kind is None else [kind()]
    with patch.object(cpu_vec_isa, "valid_vec_isa_list", lambda: kinds):
        yield


def _one_file(names: Sequence[str], kernels: Sequence[tuple[Sequence[str], str]]) -> str:
    """All kernels as one C++ file, which is an extension module for each of their names."""
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
    """Compile a C++ file with torch's options."""
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
    """Inductor's function with its kernels as arguments, and without imports that take seconds.

    Raises:
        ValueError: if it needs other parts of Inductor than are known here.
    """
    from torch._inductor.select_algorithm import extern_kernels

    kernel = r"^(\w+) = async_compile\.cpp_pybinding\(.*?^'''\)$"
    source = re.sub(kernel, r'\1 = kernel("\1")', source, flags=re.MULTILINE | re.DOTALL)
    source = re.sub(r"^(from torch\._inductor\.|(del )?async_compile).*\n", "", source, flags=re.M)
    # Products with an output argument, which have other names in Inductor.
    products = set(re.findall(r"\bextern_kernels\.(\w+)", source))
    if all(getattr(extern_kernels, name) is getattr(torch, name, None) for name in products):
        source = re.sub(r"\bextern_kernels\.", "torch.", source)
    else:
        source = f"from torch._inductor.select_algorithm import extern_kernels\n{source}"
    if "async_compile" in source:
        raise ValueError("it compiles something other than kernels")
    return source


# From a library to a function


def _load(key: str, parts: dict[str, bytes]) -> Callable[[list[Tensor]], Any]:
    """The result of `_compile` as a function of a list of tensors, which it empties."""
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
    """The result of a function; ``None`` if it fails."""
    try:
        return function()
    except Exception:  # kept code may not load, or the folder not be writable, in many ways
        return None
