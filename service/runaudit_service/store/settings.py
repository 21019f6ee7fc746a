"""Settings of the service and its workers: environment variables with the prefix RUNAUDIT_, or files that they name."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from runaudit_service.store.address_rule import AddressRule
from runaudit_service.store.bucket_address import BucketAddress, BucketKey
from runaudit_service.store.web_address import networks

PREFIX: Final = "RUNAUDIT_"


class Settings(BaseSettings):
    """Each field is one variable: `database_url` is RUNAUDIT_DATABASE_URL. `runaudit doctor` lists them.

    RUNAUDIT_DATABASE_URL_FILE names a file that holds the value, as containers get their secrets; so for every field.
    Where both are set, the variable itself holds.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, then variables, then files; nothing else is read."""
        return init_settings, env_settings, _NamedFiles(settings_cls)

    database_url: str = Field(
        default="", description="PostgreSQL URL (postgresql://...); empty: `runaudit serve` starts its own server"
    )
    api_database_url: str = Field(
        default="",
        description="the same database by a login for the API alone, which `runaudit serve` and the step before all "
        "others make; empty: the API connects by DATABASE_URL, or by one of its own to the server of `runaudit serve`",
    )
    broker_url: str = Field(
        default="", description="Redis or Valkey URL (redis://...); empty: `runaudit serve` starts its own server"
    )
    data_dir: Path = Field(default=Path(".runaudit"), description="where the embedded servers and blobs keep data")
    blob_url: str = Field(
        default="",
        description="where artifacts are kept: a folder, its file:// URL, or a bucket of an S3-compatible store as "
        "s3://bucket/prefix?endpoint=https://host:port&region=name; empty: the folder `blobs` of DATA_DIR",
    )
    blob_access_key: str = Field(
        default="", description="access key of that bucket; empty: AWS' own variables, or the role of the machine"
    )
    blob_secret_key: SecretStr | None = Field(default=None, description="the access key's secret")
    blob_cache_dir: Path | None = Field(
        default=None,
        description="where workers keep copies of artifacts that are in a bucket; empty: `copies` of DATA_DIR",
    )
    blob_cache_bytes: int = Field(
        default=20 * 2**30, ge=0, description="largest size of these copies when no audit uses them; 0: none is kept"
    )
    work_dir: Path | None = Field(default=None, description="where workers make job folders; empty: `work` of DATA_DIR")
    data_cache_dir: Path | None = Field(
        default=None, description="where workers keep data artifacts that they have read; empty: `cache` of DATA_DIR"
    )
    data_cache_bytes: int = Field(
        default=50 * 2**30, ge=0, description="largest size of that cache when no audit uses it; 0: no cache"
    )
    data_roots: str = Field(
        default="", description="folders, separated by the path separator, below which data sets may be read by path"
    )
    max_upload_bytes: int = Field(default=20 * 2**30, ge=1, description="largest artifact that is taken in")
    upload_dir: Path | None = Field(
        default=None,
        description="where resumable uploads wait until they are whole, shared by all API replicas; "
        "empty: `uploads` of the blobs' folder",
    )
    upload_expiry_seconds: float = Field(
        default=86400, gt=0, description="how long a resumable upload is kept after its last bytes came"
    )
    body_idle_seconds: float = Field(
        default=30,
        gt=0,
        description="how long a client may send nothing of a body that it has begun, and take for a request's head",
    )
    disk_reserve_bytes: int = Field(
        default=2**30, ge=0, description="room on the artifacts' disk that uploads leave free; else they get a 507"
    )
    requests_per_minute: int = Field(
        default=60_000, ge=0, description="requests that one tenant may make a minute, on all API replicas; 0: no limit"
    )
    max_queued_audits: int = Field(
        default=10_000, ge=0, description="audits of one tenant that may wait for a worker at a time; 0: no limit"
    )
    max_stored_bytes: int = Field(
        default=0, ge=0, description="bytes of artifacts and begun uploads that one tenant may store; 0: no limit"
    )
    artifact_grace_seconds: float = Field(
        default=86400, ge=0, description="how long an artifact stays once the last audit that used it was deleted"
    )
    lease_seconds: float = Field(
        default=60, gt=0, description="how long a worker may be silent before its job is retaken"
    )
    max_attempts: int = Field(default=3, ge=1, description="how often a job is tried before the audit fails")
    audit_seconds: float = Field(default=7200, gt=0, description="wall clock that an audit's validation may take")
    event_heartbeat_seconds: float = Field(
        default=15, gt=0, description="how often a stream of events says that it is still there"
    )
    event_streams_per_key: int = Field(
        default=64, ge=1, description="streams of events that one API key may hold open in one process of the API"
    )
    device: str = Field(default="auto", description="where workers run models: auto, cpu, or cuda:N")
    host: str = Field(default="127.0.0.1", description="address that `runaudit serve` listens on")
    port: int = Field(
        default=8000, ge=0, le=65535, description="port that `runaudit serve` listens on; 0: any free one"
    )
    public_url: str = Field(
        default="", description="where people reach the service, for links in messages; empty: http://HOST:PORT"
    )
    webhook_allow_cidrs: str = Field(
        default="",
        description="addresses beside public ones that webhooks may go to: networks with commas, 10.1.0.0/16,fd00::/8",
    )
    webhook_allow_http: bool = Field(default=False, description="whether webhooks may go to http:// URLs")
    webhook_keep_days: float = Field(
        default=30, gt=0, description="how long deliveries of webhooks are told of, and can be made again"
    )
    fetch_allow_cidrs: str = Field(
        default="",
        description="addresses beside public ones that artifacts may be fetched from, as networks with commas",
    )
    fetch_allow_http: bool = Field(default=False, description="whether artifacts may be fetched from http:// URLs")
    fetch_ca_file: Path | None = Field(
        default=None, description="certificates (PEM) of authorities that fetching trusts beside the public ones"
    )
    fetch_seconds: float = Field(default=3600, gt=0, description="how long fetching one artifact may take")
    fetch_s3_buckets: str = Field(
        default="", description="buckets, with commas, from which artifacts may be fetched by s3://; empty: none"
    )
    fetch_s3_endpoint: str = Field(
        default="", description="where these buckets are; empty: https://s3.REGION.amazonaws.com"
    )
    fetch_s3_region: str = Field(default="us-east-1", description="the region of these buckets")
    fetch_s3_access_key: str = Field(default="", description="access key for them; empty: they are public")
    fetch_s3_secret_key: SecretStr | None = Field(default=None, description="the access key's secret")
    fetch_gs_buckets: str = Field(
        default="", description="buckets, with commas, from which artifacts may be fetched by gs://; empty: none"
    )
    fetch_gs_endpoint: str = Field(default="https://storage.googleapis.com", description="where these buckets are")
    fetch_gs_access_key: str = Field(default="", description="HMAC access key for them; empty: they are public")
    fetch_gs_secret_key: SecretStr | None = Field(default=None, description="the HMAC key's secret")
    mlflow_tracking_uri: str = Field(
        default="", description="the MLflow tracking server whose artifacts may be fetched (http:// or https://)"
    )
    mlflow_webhook_secret: SecretStr | None = Field(
        default=None, description="secret of MLflow webhooks for the project default, beside that project's own"
    )
    mlflow_tracking_token: SecretStr | None = Field(default=None, description="bearer token for it")
    mlflow_tracking_username: str = Field(default="", description="user name for it, where it has basic auth")
    mlflow_tracking_password: SecretStr | None = Field(default=None, description="the user's password")
    log_format: Literal["json", "text"] = Field(
        default="json",
        description="how the processes log: `json`, an object a line with the ids of request, tenant, "
        "audit and job, or `text`, for people",
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65000,
        description="port on which a worker, reaper or sender shows its own figures to Prometheus; 0: none. "
        "`runaudit serve` gives its reaper this one, and its other processes the next ones",
    )
    metrics_host: str = Field(default="127.0.0.1", description="address of that port")
    concurrency: int = Field(default=1, ge=1, description="audits that one worker process runs at a time")
    grace_seconds: float = Field(
        default=20, ge=0, description="how long a worker told to stop waits for its audits before it hands them back"
    )

    @field_validator("blob_url")
    @classmethod
    def _is_a_folder_or_a_bucket(cls, url: str) -> str:
        """Anything else would quietly become a folder of that name."""
        if url.startswith("s3://"):
            BucketAddress.parse(url)
        elif "://" in url and not url.startswith("file:///"):
            raise ValueError("must be a folder's path, file:///path or s3://bucket/prefix")
        return url

    @property
    def bucket(self) -> BucketAddress | None:
        """The bucket that artifacts are kept in; None: a folder."""
        return BucketAddress.parse(self.blob_url) if self.blob_url.startswith("s3://") else None

    @property
    def bucket_key(self) -> BucketKey | None:
        """What that bucket is opened with; None: what the environment of AWS' tools says."""
        secret = self.blob_secret_key.get_secret_value() if self.blob_secret_key else ""
        return BucketKey(self.blob_access_key, secret) if self.blob_access_key else None

    @property
    def blob_dir(self) -> Path:
        """The blobs' folder; with a bucket, that in which they wait on their way there."""
        if self.bucket is not None or not self.blob_url:
            return self.data_dir / "blobs"
        return Path(self.blob_url.removeprefix("file://"))

    @property
    def blob_cache(self) -> Path:
        """The folder of the copies of blobs that are in a bucket."""
        return self.blob_cache_dir or self.data_dir / "copies"

    @property
    def staging_dir(self) -> Path:
        """The folder of resumable uploads that are not whole yet."""
        return self.upload_dir or self.blob_dir / "uploads"

    @property
    def job_dir(self) -> Path:
        """The folder below which workers make job folders."""
        return self.work_dir or self.data_dir / "work"

    @property
    def cache_dir(self) -> Path:
        """The folder of the data cache."""
        return self.data_cache_dir or self.data_dir / "cache"

    @field_validator("webhook_allow_cidrs", "fetch_allow_cidrs")
    @classmethod
    def _networks_can_be_read(cls, value: str) -> str:
        networks(value)
        return value

    @property
    def webhook_rule(self) -> AddressRule:
        """Where webhooks may go."""
        return AddressRule(networks(self.webhook_allow_cidrs))

    @property
    def fetch_rule(self) -> AddressRule:
        """What artifacts may be fetched from."""
        return AddressRule(networks(self.fetch_allow_cidrs))

    @property
    def base_url(self) -> str:
        """Where people reach the service, without a slash at the end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def data_root_dirs(self) -> tuple[Path, ...]:
        """The data roots, resolved."""

        return tuple(Path(part).resolve() for part in self.data_roots.split(os.pathsep) if part)


class _NamedFiles(PydanticBaseSettingsSource):
    """Values out of the files that RUNAUDIT_..._FILE name, without the line end that editors put there."""

    def __call__(self) -> dict[str, Any]:
        """By field. Raises ValidationError if a file can't be read, or holds no text."""
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value:
                values[name] = value
        return values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """As pydantic-settings asks for it: the value, the key, and whether it is still to be parsed."""
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            kind = PydanticCustomError("file_unreadable", "the file can't be read: {said}", {"said": said})
            details = InitErrorDetails(type=kind, loc=(f"{field_name}_file",), input=path)
            raise ValidationError.from_exception_data("Settings", [details]) from error


@lru_cache
def settings() -> Settings:
    """The process' settings, read once. One that can't be ends the process, with exit code 2 and a sentence."""
    try:
        return Settings()
    except ValidationError as error:
        sys.stderr.write("\n".join(mistakes(error)) + "\n")
        sys.exit(2)


def mistakes(error: ValidationError) -> list[str]:
    """What is wrong with the environment, a sentence for each variable. Not the values: one may be a secret."""
    return [
        f"RUNAUDIT_{'.'.join(map(str, one['loc'])).upper()}: {one['msg']}"
        for one in error.errors(include_url=False, include_input=False)
    ]
