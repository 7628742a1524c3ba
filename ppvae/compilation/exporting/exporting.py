"""A part of the programs as a graph for any number of rows, compared with the programs.

Programs ask for the number of rows (``pyro.plate("data", len(x))``), and Python's ``len`` returns a
number, which a graph would freeze. During tracing only, ``len`` of a tensor returns the symbol of
its shape. What remains is arithmetic, which runs without Pyro and this package.
"""

import builtins
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pyro
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule, Node

from ppvae.compilation.disagreement import agree, rounding
from ppvae.compilation.exporting.parts import GIVEN, Outputs, Part, enough_rows
from ppvae.compilation.graphs import reason_of
from ppvae.errors import InputError
from ppvae.networks.evaluation_mode import evaluating
from ppvae.networks.tracing import tracing
from ppvae.programs import Pair

CHECKED = (1, 2, 5, 33)
"""Numbers of rows at which a graph is compared with the programs; it is traced at another one."""

_MADE_AT = 3


@dataclass(frozen=True)
class Exported:
    """A graph of a part of the programs.

    Attributes:
        program: the graph, with the weights that it uses and no others.
        inputs: an example of each input that it depends on, by name, in order.
        outputs: an example of each output, by name.
        meanings: description of each output.
    """

    program: ExportedProgram
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    meanings: Mapping[str, str]


def export_part(pair: Pair, part: Part, what: str) -> Exported:
    """The graph of a part: it takes inputs in their order, and returns a dictionary of tensors.

    Args:
        pair: the programs, on the CPU.
        part: the function to export.
        what: its name in errors.

    Raises:
        InputError: if there is no such graph, or it computes something else than the programs.
    """
    example = enough_rows(part.inputs, _MADE_AT)
    with evaluating(pair), _traced():
        try:
            plain = _plain(_export(_Called(pair, part), example))
            used = [n for n, node in zip(example, _inputs_of(plain), strict=True) if _is_used(node)]
            program = _export(_Fewer(plain, example, used), {n: example[n] for n in used})
        except InputError:
            raise
        except Exception as error:  # a user's program may raise anything
            raise InputError(f"the {what} cannot be exported: {_told(error)}") from error
    outputs = _compare(pair, part, program, used, what)
    meanings = {n: text.replace(GIVEN, ", ".join(used)) for n, text in part.meanings.items()}
    return Exported(program, {n: part.inputs[n] for n in used}, outputs, meanings)


@contextmanager
def _traced() -> Iterator[None]:
    """Context of tracing: tensor values are not read, and the number of rows is a symbol."""
    plain = builtins.len

    def length(value: Any) -> Any:
        return value.shape[0] if isinstance(value, Tensor) and value.dim() else plain(value)

    with (
        tracing(),
        pyro.validation_enabled(False),
        patch.object(builtins, "len", length),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # torch's, about its own code
        yield


class _Called(nn.Module):
    """A part as a module, with the pair whose weights it uses."""

    def __init__(self, pair: Pair, part: Part) -> None:
        super().__init__()
        self.pair = pair
        self.forward = _named(part.call, part.names)


def _named(function: Callable[..., Outputs], names: Sequence[str]) -> Callable[..., Outputs]:
    """The same function with named arguments, which name the graph's inputs."""

    def called(*args: Tensor) -> Outputs:
        return function(*args)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    vars(called)["__signature__"] = signature
    return called


class _Fewer(nn.Module):
    """A graph without unused inputs."""

    def __init__(
        self, graph: nn.Module, example: Mapping[str, Tensor], used: Sequence[str]
    ) -> None:
        super().__init__()
        self.part = graph
        self._unused = {name: value for name, value in example.items() if name not in used}
        self._order, self._used = tuple(example), tuple(used)
        self.forward = _named(self._with_all, used)

    def _with_all(self, *tensors: Tensor) -> Outputs:
        given = dict(zip(self._used, tensors, strict=True))
        rows = len(tensors[0])
        for name, value in self._unused.items():
            given[name] = value.new_zeros((rows, *value.shape[1:]))
        found: Outputs = self.part(*(given[name] for name in self._order))
        return found


def _export(module: nn.Module, example: Mapping[str, Tensor]) -> ExportedProgram:
    rows = Dim("batch", min=1)
    shapes = {name: {0: rows} for name in example}
    return torch.export.export(module, tuple(example.values()), dynamic_shapes=shapes, strict=False)


def _plain(program: ExportedProgram) -> GraphModule:
    """The graph as a module, with only what its outputs need.

    Type checks are removed, as they would keep what they check, such as a prior at given latents.
    """
    plain: Any = program.run_decompositions({}).module(check_guards=False)
    checks = torch.ops.aten._assert_tensor_metadata.default
    for node in plain.graph.find_nodes(op="call_function", target=checks):
        plain.graph.erase_node(node)
    plain.graph.eliminate_dead_code()
    plain.delete_all_unused_submodules()
    plain.recompile()
    graph: GraphModule = plain
    return graph


def _inputs_of(graph: GraphModule) -> list[Node]:
    return list(graph.graph.find_nodes(op="placeholder"))


def _is_used(node: Node) -> bool:
    """Whether an input is used for more than its number of rows, which all inputs have."""
    return any(user.target is not torch.ops.aten.sym_size.int for user in node.users)


def _told(error: Exception) -> str:
    """The obstacle, as the end of a sentence."""
    if "Constraints violated" in str(error):
        return (
            "it converts the number of rows to an int, as range(len(x)) and int(x.shape[0]) do, "
            "which a graph would freeze; use len(x) and x.shape[0] directly"
        )
    if "fake tensor" in str(error):
        return "it takes gradients or keeps tensors as it runs, which a graph would freeze"
    return reason_of(error)


def _compare(
    pair: Pair, part: Part, program: ExportedProgram, used: Sequence[str], what: str
) -> Outputs:
    """Refuse a graph that differs from the programs at other numbers of rows.

    Returns:
        Its outputs for the last number of rows.

    Raises:
        InputError: naming the output, and the number of rows.
    """
    error, run, found = rounding(program.graph_module), program.module(), dict[str, Tensor]()
    for rows in CHECKED:
        tensors = enough_rows(part.inputs, rows)
        with evaluating(pair):
            wanted, found = part.call(*tensors.values()), run(*(tensors[name] for name in used))
        for name, value in wanted.items():
            if value.shape != found[name].shape or not agree([value], [found[name]], error):
                raise InputError(
                    f"the exported {what} differs from the program in {name} of {rows} rows: what "
                    "it computes depends on the other rows of a batch, or changes from call to call"
                )
    return found
