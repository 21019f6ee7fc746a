"""docker-compose.yml can't be started where the tests run: it is compared with what `runaudit serve` starts instead."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from runaudit_service.embedded import parts
from runaudit_service.store.models import QUEUES
from runaudit_service.store.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
FETCHER = "worker-egress"
WORKERS = {
    name: service for name, service in OURS.items() if "runaudit_worker" in service["command"] and name != FETCHER
}
DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")


def _command(service: dict[str, Any]) -> list[str]:
    """The service's command with the defaults of its variables filled in."""
    return [DEFAULT.sub(r"\1", str(word)) for word in service["command"]]


def _option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def _module(command: list[str]) -> str:
    return _option(command, "-m")


def _served() -> dict[str, parts.Part]:
    """The parts that `runaudit serve` starts, by their module."""
    places = parts.Places(Path("/data"), "postgresql://d", "redis://b", "127.0.0.1", 8000)
    logs = Path("/data/logs")
    started = [
        parts.api(places, logs),
        parts.reaper(places, logs),
        parts.sender(places, logs),
        parts.worker(1, places, logs, concurrency=1, grace_seconds=Settings().grace_seconds),
    ]
    return {_module(part.command): part for part in started}


def test_the_same_parts_as_serve_and_the_step_before_them() -> None:
    modules = {_module(_command(service)) for service in OURS.values()}
    assert modules == {*_served(), "runaudit_service.store.prepare"}
    assert {"postgres", "valkey"} <= set(SERVICES)


@pytest.mark.parametrize("name", OURS)
def test_every_command_names_a_module_that_is_there(name: str) -> None:
    command = _command(OURS[name])
    assert command[0] == "python"
    spec = find_spec(_module(command))
    assert spec is not None
    assert spec.submodule_search_locations is None or find_spec(f"{_module(command)}.__main__") is not None


def test_the_workers_hear_the_queues_that_the_worker_of_serve_hears() -> None:
    served = _option(_served()["runaudit_worker"].command, "--queues").split(",")
    heard = [queue for service in WORKERS.values() for queue in _option(_command(service), "--queues").split(",")]
    assert sorted(heard) == sorted(served)
    assert set(heard) <= set(QUEUES)


def test_the_fetcher_is_that_of_serve() -> None:
    places = parts.Places(Path("/data"), "postgresql://d", "redis://b", "127.0.0.1", 8000)
    served = parts.fetcher(places, Path("/data/logs"), grace_seconds=1).command
    assert _command(SERVICES[FETCHER])[1:] == served[served.index("-m") :]


def test_the_options_of_the_workers_are_those_of_the_worker_of_serve() -> None:
    def options(command: list[str]) -> set[str]:
        return {word for word in command if word.startswith("--")}

    expected = options(_served()["runaudit_worker"].command)
    assert {name: options(_command(service)) for name, service in WORKERS.items()} == dict.fromkeys(WORKERS, expected)


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_one(name: str) -> None:
    fields = {f"RUNAUDIT_{field.upper()}" for field in Settings.model_fields}
    assert set(OURS[name]["environment"]) <= fields


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate"}))
def test_every_part_gets_the_places_that_serve_tells_its_parts(name: str) -> None:
    places = parts.Places(Path("/data"), "postgresql://d", "redis://b", "127.0.0.1", 8000).environment()
    told = {variable for variable in places if variable.startswith("RUNAUDIT_")}
    told -= set() if name == "api" else {"RUNAUDIT_HOST", "RUNAUDIT_PORT"}
    assert told <= set(OURS[name]["environment"])


def test_settings_can_be_read_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, service in OURS.items():
        with monkeypatch.context() as patch:
            for variable, value in service["environment"].items():
                patch.setenv(variable, DEFAULT.sub(r"\1", str(value)))
            settings = Settings()
        assert settings.data_dir == Path("/data"), name
        assert settings.database_url.startswith("postgresql://"), name


def test_api_and_workers_share_the_artifacts_which_workers_only_read() -> None:
    assert "blobs:/data" in SERVICES["api"]["volumes"]
    for name, service in WORKERS.items():
        assert "blobs:/data:ro" in service["volumes"], name
        assert service["environment"]["RUNAUDIT_WORK_DIR"] == "/jobs", name
        assert "work:/jobs" in service["volumes"], name
    # The reaper removes what no audit needs any more.
    assert "blobs:/data" in SERVICES["reaper"]["volumes"]
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert not service.get("privileged")
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


def test_only_the_front_desk_can_be_reached_or_reach_out() -> None:
    assert COMPOSE["networks"]["store"]["internal"] is True
    outside = {"api", "sender", FETCHER}
    assert {name for name, service in SERVICES.items() if service["networks"] != ["store"]} == outside
    # It writes artifacts, and opens none: what is made of them is not mounted.
    assert SERVICES[FETCHER]["networks"] == ["store", "egress"]
    assert SERVICES[FETCHER]["volumes"] == ["blobs:/data"]
    # It opens nothing of what is audited: it has no volume, and what it reaches outside is checked by address.
    assert SERVICES["sender"]["networks"] == ["store", "egress"]
    assert SERVICES["sender"]["volumes"] == []
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"api"}
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["api"]["ports"])


def test_a_worker_has_the_time_to_hand_its_audit_back() -> None:
    needed = Settings().grace_seconds + parts.STOP_SLACK_SECONDS
    for name, service in WORKERS.items():
        assert int(service["stop_grace_period"].removesuffix("s")) >= needed, name


def test_one_gpu_is_kept_for_one_gpu_worker() -> None:
    (devices,) = [
        service["deploy"]["resources"]["reservations"]["devices"] for service in WORKERS.values() if "deploy" in service
    ]
    assert [device["device_ids"] for device in devices] == [["0"]]
    assert _option(_command(SERVICES["worker-gpu"]), "--queues") == "gpu"


def test_the_images_are_targets_of_the_dockerfile_and_run_as_nobody_special() -> None:
    stages = re.split(r"^FROM .* AS (\w+)$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    instructions = dict(zip(stages[::2], stages[1::2], strict=True))
    targets = {service["build"]["target"] for service in OURS.values()}
    assert targets == set(instructions) - {"base"}
    assert all("\nUSER runaudit\n" in instructions[target] for target in targets)


def test_no_password_is_written_down() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    secrets = re.findall(r"(?:PASSWORD|AUTH): (.+)|requirepass, (.+)\]|://[^:]*:([^@]+)@", text)
    values = [value for found in secrets for value in found if value]
    assert len(values) >= 5
    assert all(re.fullmatch(r'"?\$\{RUNAUDIT_\w+(:\?[^}]*)?\}"?', value) for value in values)


def test_whatever_goes_on_running_is_asked_how_it_is() -> None:
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) == (name != "migrate"), name
        if "runaudit_worker" in str(service.get("command")):
            port = service["environment"]["RUNAUDIT_METRICS_PORT"]
            assert f"127.0.0.1:{port}/metrics" in service["healthcheck"]["test"][-1], name
