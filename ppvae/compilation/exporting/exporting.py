"""A part of the programs as a graph of any number of rows, compared with the programs.

Programs ask how many rows there are (``pyro.plate("data", len(x))``), and Python's ``len`` answers
with a number, which a graph would freeze. While a part is traced, and only then, ``len`` of a
tensor gives the symbol that its shape has. What remains is arithmetic: neither Pyro nor this
package is needed to run it.
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
"""Numbers of rows at which a graph is compared with the programs; none of them it was made at."""

_MADE_AT = 3


@dataclass(frozen=True)
class Exported:
    """A graph of a part of the programs.

    Attributes:
        program: the graph, with the weights that it uses and no others.
        inputs: an example of each of its inputs, by name, in order: those that it depends on.
        outputs: an example of each output, by name.
        meanings: what each output is.
    """

    program: ExportedProgram
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    meanings: Mapping[str, str]


def export_part(pair: Pair, part: Part, what: str) -> Exported:
    """The graph of a part: it takes inputs in their order, and gives a dictionary of tensors.

    Args:
        pair: the programs, on the CPU.
        part: what is computed.
        what: what it is called in a refusal.

    Raises:
        InputError: where there is no such graph, or it computes something else than the programs.
    """
    example = enough_rows(part.inputs, _MADE_AT)
    with evaluating(pair), _traced():
        try:
            plain = _plain(_export(_Called(pair, part), example))
            used = [n for n, node in zip(example, _inputs_of(plain), strict=True) if _is_used(node)]
            program = _export(_Fewer(plain, example, used), {n: example[n] for n in used})
        except InputError:
            raise
        except Exception as error:  # anything at all, in anybody's program
            raise InputError(f"the {what} cannot be exported: {_told(error)}") from error
    outputs = _compare(pair, part, program, used, what)
    meanings = {n: text.replace(GIVEN, ", ".join(used)) for n, text in part.meanings.items()}
    return Exported(program, {n: part.inputs[n] for n in used}, outputs, meanings)


@contextmanager
def _traced() -> Iterator[None]:
    """Nobody looks at numbers, and the number of rows is a symbol."""
    plain = builtins.len

    def length(value: Any) -> Any:
        return value.shape[0] if isinstance(value, Tensor) and value.dim() else plain(value)

    with (
        tracing(),
        pyro.validation_enabled(False),
        patch.object(builtins, "len", length),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # torch's own, of how it does it
        yield


class _Called(nn.Module):
    """A part as a module with all that it may use."""

    def __init__(self, pair: Pair, part: Part) -> None:
        super().__init__()
        self.pair = pair
        self.forward = _named(part.call, part.names)


def _named(function: Callable[..., Outputs], names: Sequence[str]) -> Callable[..., Outputs]:
    """The same function with named arguments, as the graph's inputs are called then."""

    def called(*args: Tensor) -> Outputs:
        return function(*args)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    vars(called)["__signature__"] = signature
    return called


class _Fewer(nn.Module):
    """A graph without the inputs that nothing in it depends on."""

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
    """The graph as a module, with what its outputs need and no more.

    What checks a type would keep alive all that it checks, such as a prior at latents that are
    given.
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
    """Whether more of an input is used than its number of rows, which all inputs have."""
    return any(user.target is not torch.ops.aten.sym_size.int for user in node.users)


def _told(error: Exception) -> str:
    """What stood in the way, as the end of a sentence."""
    if "Constraints violated" in str(error):
        return (
            "it takes the number of rows for a number, as range(len(x)) and int(x.shape[0]) do, "
            "which a graph would freeze; take len(x) and x.shape[0] as they are"
        )
    if "fake tensor" in str(error):
        return "it takes gradients or keeps tensors as it runs, which a graph would freeze"
    return reason_of(error)


def _compare(
    pair: Pair, part: Part, program: ExportedProgram, used: Sequence[str], what: str
) -> Outputs:
    """Refuse a graph that is not the programs, at other numbers of rows than it was made at.

    Returns:
        What it gives, of the last number of rows.

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
