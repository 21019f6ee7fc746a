"""Where the packages lie: pyproject.toml can't say that a folder found by name and the migrations make one tree."""

from setuptools import find_packages, setup

FOLDERS = {"runaudit": ".", "runaudit_service": "service", "runaudit_worker": "worker"}

setup(
    packages=[
        *(
            package
            for name, folder in FOLDERS.items()
            for package in find_packages(folder, include=[name, f"{name}.*"])
        ),
        "runaudit_service.migrations",
        "runaudit_service.migrations.versions",
    ],
    package_dir={
        "runaudit": "runaudit",
        "runaudit_service": "service/runaudit_service",
        "runaudit_service.migrations": "migrations",
        "runaudit_worker": "worker/runaudit_worker",
    },
)
