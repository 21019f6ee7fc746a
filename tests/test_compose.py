"""docker-compose.yml can't be started where the tests run: it is compared with what `runaudit serve` starts instead."""

from __future__ import annotations

import re
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from sqlalchemy import make_url

from runaudit_service.embedded import parts, valkey
from runaudit_service.store import front_login
from runaudit_service.store.models import QUEUES
from runaudit_service.store.settings import Settings
from tests.conftest import wait_until
from tests.service.live import free_port

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


def _setting(variable: str) -> str:
    """The setting that a variable sets, itself or by a file."""
    return variable if variable == "RUNAUDIT_FETCH_CA_FILE" else variable.removesuffix("_FILE")


def _option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def _module(command: list[str]) -> str:
    return _option(command, "-m")


def _served() -> dict[str, parts.Part]:
    """The parts that `runaudit serve` starts, by their module."""
    places = parts.Places(Path("/data"), "postgresql://d", "redis://b", "127.0.0.1", 8000, "postgresql://f")
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
    places = parts.Places(Path("/data"), "postgresql://d", "redis://b", "127.0.0.1", 8000, "postgresql://f")
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
    assert {_setting(variable) for variable in OURS[name]["environment"]} <= fields


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate"}))
def test_every_part_gets_the_places_that_serve_tells_its_parts(name: str) -> None:
    places = parts.Places(
        Path("/data"), "postgresql://d", "redis://b", "127.0.0.1", 8000, "postgresql://f"
    ).environment()
    told = {variable for variable in places if variable.startswith("RUNAUDIT_")}
    told -= set() if name == "api" else {"RUNAUDIT_HOST", "RUNAUDIT_PORT"}
    assert told <= {_setting(variable) for variable in OURS[name]["environment"]}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that docs/deployment.md says how to make, made so; the folder in which `secrets` lies."""
    page = (ROOT / "docs" / "deployment.md").read_text()
    (script,) = re.findall(r"^```\n(mkdir -m 700 secrets\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    folder = tmp_path_factory.mktemp("compose")
    subprocess.run(["bash", "-ec", script], cwd=folder, check=True)
    return folder


def _settings(service: dict[str, Any], secrets: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As the service's process reads them, with its secrets where they lie on the host."""
    with monkeypatch.context() as patch:
        for variable, value in service["environment"].items():
            shown = DEFAULT.sub(r"\1", str(value))
            if variable.endswith("_FILE") and shown.startswith("/run/secrets/"):
                shown = str(secrets / COMPOSE["secrets"][shown.removeprefix("/run/secrets/")]["file"])
            patch.setenv(variable, shown)
        return Settings()


def test_settings_can_be_read_as_they_stand(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, service in OURS.items():
        settings = _settings(service, secrets, monkeypatch)
        assert settings.database_url.startswith("postgresql://"), name
        if name != "migrate":
            assert settings.data_dir == Path("/data"), name
            assert settings.broker_url.startswith("redis://"), name
        assert settings.mlflow_tracking_token is None, "an empty file is no token"
        assert settings.mlflow_tracking_password is None, "and no password"


def test_webhooks_may_go_to_the_same_places_for_who_takes_their_urls_and_who_sends_them() -> None:
    names = {f"RUNAUDIT_{field.upper()}" for field in Settings.model_fields if field.startswith("webhook_allow_")}
    api, sender = (
        {name: SERVICES[part]["environment"].get(name, "missing") for name in names} for part in ("api", "sender")
    )
    assert api == sender == {name: api[name] for name in names if name in str(api[name])}, "from .env, to both"


@pytest.mark.parametrize("name", [FETCHER, "sender"])
def test_who_talks_to_mlflow_may_do_so_in_each_way_that_there_is(name: str) -> None:
    ways = {f"RUNAUDIT_{field.upper()}" for field in Settings.model_fields if field.startswith("mlflow_tracking_")}
    assert ways <= {_setting(variable) for variable in SERVICES[name]["environment"]}


def test_the_api_has_a_login_of_its_own_that_the_first_step_makes(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, api = (_settings(SERVICES[name], secrets, monkeypatch) for name in ("migrate", "api"))
    assert api.database_url == first.api_database_url
    assert make_url(api.database_url).username == front_login.USER
    assert make_url(first.database_url).username == SERVICES["postgres"]["environment"]["POSTGRES_USER"]
    assert make_url(first.database_url).password == (secrets / "secrets" / "postgres_password").read_text()
    assert "database_url" not in SERVICES["api"]["secrets"]


def test_the_bell_takes_the_password_of_its_url_alone(secrets: Path, tmp_path: Path) -> None:
    """The configuration is one that the real server reads."""
    url = make_url((secrets / COMPOSE["secrets"]["broker_url"]["file"]).read_text())
    configuration = secrets / COMPOSE["secrets"]["valkey_conf"]["file"]
    port = free_port()
    command = [str(valkey.binary()), str(configuration), "--port", str(port), "--dir", str(tmp_path)]
    with subprocess.Popen([*command, "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: _answers(port, url.password), what="the broker")
            with pytest.raises(redis.AuthenticationError):
                redis.Redis(port=port).ping()
        finally:
            server.terminate()


def _answers(port: int, password: str | None) -> bool:
    try:
        return bool(redis.Redis(port=port, password=password).ping())
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize("name", SERVICES)
def test_a_part_is_given_the_secrets_that_it_names_and_no_others(name: str) -> None:
    service = SERVICES[name]
    named = set(re.findall(r"/run/secrets/(\w+)", yaml.safe_dump(service)))
    assert named == set(service["secrets"]) <= set(COMPOSE["secrets"])


def test_who_opens_hostile_files_has_no_secret_but_for_the_database_and_the_bell() -> None:
    for name, service in WORKERS.items():
        assert set(service["secrets"]) == {"database_url", "broker_url"}, name


def test_the_secrets_are_files_that_the_others_on_the_host_can_not_reach(secrets: Path) -> None:
    files = {secrets / secret["file"] for secret in COMPOSE["secrets"].values()}
    assert files == set((secrets / "secrets").iterdir())
    assert stat.S_IMODE((secrets / "secrets").stat().st_mode) == 0o700
    # Docker mounts the file as it is: the account in the container, another one, has to read it.
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o444 for file in files)
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


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
    assert service["user"] not in ("root", "0", 0)
    # A memory file system for what has to be written; all else that it writes is a volume with a name.
    assert "/tmp" in {place.split(":")[0] for place in service["tmpfs"]}
    assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"])
    assert not {"privileged", "devices", "cap_add", "network_mode", "pid", "ipc", "userns_mode"} & set(service)
    assert service["networks"]
    assert service["logging"]["options"]["max-size"]
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


def test_no_secret_is_written_down_or_stands_in_a_variable() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.findall(r"://[^:\s]*:[^@\s]+@", text)
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|(DATABASE|BROKER)_URL")
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if secret.search(variable):
                assert variable.endswith("_FILE") and str(value).startswith("/run/secrets/"), (name, variable)


def test_whatever_goes_on_running_is_asked_how_it_is() -> None:
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) == (name != "migrate"), name
        if "runaudit_worker" in str(service.get("command")):
            port = service["environment"]["RUNAUDIT_METRICS_PORT"]
            assert f"127.0.0.1:{port}/metrics" in service["healthcheck"]["test"][-1], name
