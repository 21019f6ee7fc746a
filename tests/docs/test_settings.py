"""docs/settings.md lists every setting, with the default that it really has."""

from __future__ import annotations

from runaudit_service.settings_page import page
from runaudit_service.store.settings import Settings
from tests.docs.codes import ROOT


def test_the_committed_page_is_the_settings() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == page(), (
        "write it again: python -m runaudit_service.settings_page > docs/settings.md"
    )


def test_every_setting_is_explained() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
