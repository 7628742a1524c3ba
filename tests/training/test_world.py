"""The processes of a launcher, from the environment."""

import pytest

from ppvae.cli.answering import start
from ppvae.errors import InputError
from ppvae.settings import Settings
from ppvae.training.processes import Processes
from ppvae.training.restarts import begun_before, digest_of
from ppvae.training.world import LAUNCHER, World

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "RANK": "3", "LOCAL_WORLD_SIZE": "2",
    "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500",
}  # fmt: skip
BY_HAND = {k: v for k, v in TORCHRUN.items() if k != "TORCHELASTIC_RUN_ID"}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1", "SLURM_NTASKS": "4",
}  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*TORCHRUN, *SRUN, LAUNCHER, "NODE_RANK", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def tell(told: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        told.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "by"),
    [(TORCHRUN, "torchrun"), (BY_HAND, "the environment"), (SRUN, "srun")],
)
def test_two_machines_of_two_processes(variables: dict[str, str], by: str) -> None:
    world = World.told(variables)
    assert world is not None
    assert (world.by, world.size, world.rank, world.nodes) == (by, 4, 3, 2)
    assert (world.local_size, world.local_rank) == (2, 1)
    assert (world.restarts, world.may_restart) == (0, False)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # a batch script, outside of srun
        TORCHRUN | {LAUNCHER: "1"},  # launched by a fit
    ],
)
def test_a_process_alone(variables: dict[str, str]) -> None:
    assert World.told(variables) is None


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2"}, ("RANK=1", "not LOCAL_RANK, MASTER_ADDR", "unset")),
        ({"RANK": "1"}, ("RANK=1", "WORLD_SIZE", "torchrun")),
        (BY_HAND | {"RANK": "4"}, ("RANK=4", "from 0 to 3")),
        (BY_HAND | {"WORLD_SIZE": "two"}, ("WORLD_SIZE=two", "not an integer")),
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "1"}, ("WORLD_SIZE is missing",)),
        (SRUN | {"SLURM_STEP_NUM_NODES": "3"}, ("4 processes on 3 machines",)),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, ("mpirun", "one of 2", "torchrun")),
    ],
)
def test_half_a_world_is_refused(variables: dict[str, str], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as refused:
        World.told(variables)
    for word in words:
        assert word in str(refused.value)


def test_what_is_asked_for_is_what_was_started(told: pytest.MonkeyPatch) -> None:
    tell(told, TORCHRUN)
    assert (Processes.of(None, None).devices, Processes.of(2, 2).size) == (2, 4)
    assert Processes.of(None, None, begun=(8, 8)).size == 4  # a fit may resume on other numbers
    with pytest.raises(InputError, match="`devices` is 3, but torchrun has 2 processes"):
        Processes.of(3, None)
    with pytest.raises(InputError, match="`nodes` is 1, but torchrun has 2 machines"):
        Processes.of(None, 1)
    told.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(InputError, match="equal numbers"):
        Processes.of(None, None)


def test_machines_without_a_launcher_know_of_the_first(told: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no MASTER_ADDR, MASTER_PORT, NODE_RANK"):
        Processes.of(None, 2)
    tell(told, {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "2"})
    with pytest.raises(InputError, match=r"NODE_RANK is 2.*from 0 to 1"):
        Processes.of(1, 2)
    told.setenv("NODE_RANK", "1")
    assert Processes.of(1, 2).size == 2


def test_a_fit_that_may_be_started_again_says_where_it_goes_on(told: pytest.MonkeyPatch) -> None:
    tell(told, TORCHRUN | {"TORCHELASTIC_MAX_RESTARTS": "2"})
    told.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    with pytest.raises(InputError, match="without `out` it would start from the first epoch"):
        begun_before(Settings())
    assert begun_before(Settings(out="nowhere")) is None
    with pytest.raises(InputError, match="with `overwrite` it could not distinguish its run"):
        begun_before(Settings(out="nowhere", overwrite=True))


def test_fits_are_told_apart_by_their_settings() -> None:
    one = digest_of(Settings(lr=1e-3, out="a"))
    assert one == digest_of(Settings(lr=1e-3, out="b"))
    assert one != digest_of(Settings(lr=1e-4, out="a"))
    assert digest_of(Settings(data=[0.0] * 5000)) == digest_of(Settings(data=[1.0] * 5000))


def test_commands_beside_a_fit_are_of_the_first_process(
    told: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(told, TORCHRUN)
    with pytest.raises(SystemExit) as left:
        start("encode", ["runs/x"])
    assert left.value.code == 0
    assert capsys.readouterr().err == ""
    tell(told, {"RANK": "0", "LOCAL_RANK": "0"})
    start("encode", ["runs/x"])
    assert "of 4 that torchrun has started, the others exit" in capsys.readouterr().err
    start("fit", [])
    assert capsys.readouterr().err == ""
