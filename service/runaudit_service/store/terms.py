"""What audits are found by and may have several of: the words under which `AuditTerm` rows hold them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text


def cause_term(cause: str) -> str:
    """The term of a cause that an audit found."""
    return f"cause:{cause}"


def label_term(key: str, value: str) -> str:
    """The term of a label. No key has a colon, so that no two labels share a term."""
    return f"label:{key}:{value}"


def label_terms(labels: Mapping[str, str]) -> set[str]:
    """The terms of all labels of an audit."""
    return {label_term(key, value) for key, value in labels.items()}


ADD_TERMS = text(
    """
    INSERT INTO audit_terms (tenant_id, term, created_at, audit_id)
    SELECT tenant_id, term, created_at, id FROM audits, unnest(CAST(:terms AS text[])) AS term WHERE id = :audit_id
    ON CONFLICT DO NOTHING
    """
)
"""writes terms of one audit that is there"""

DROP_TERMS = text(
    """
    DELETE FROM audit_terms USING audits
    WHERE audits.id = :audit_id AND audit_terms.tenant_id = audits.tenant_id AND audit_terms.term = ANY(:terms)
      AND audit_terms.created_at = audits.created_at AND audit_terms.audit_id = audits.id
    """
)
"""takes terms of one audit away"""
