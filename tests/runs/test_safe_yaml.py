"""Plain YAML only: what is read, what is refused, and where an error points."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runaudit.errors import YamlError
from runaudit.runs.safe_yaml import load_yaml


def test_reads_values_and_the_line_of_each_key() -> None:
    document = load_yaml(b"lr0: 0.01\n# comment\nhyp:\n  box: 7.5\nfreeze:\n- 0\n", source="args.yaml")
    assert document.values == {"lr0": 0.01, "hyp": {"box": 7.5}, "freeze": [0]}
    assert document.place("lr0") == "args.yaml:1"
    assert document.place("hyp", "box") == "args.yaml:4"
    assert document.place("freeze", "0") == "args.yaml:5"


def test_reads_a_file_with_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_bytes(b"\xef\xbb\xbfnc: 2\r\nnames: [a, b]\r\n")
    document = load_yaml(path, source="data.yaml")
    assert document.values == {"nc": 2, "names": ["a", "b"]}
    assert document.place("names") == "data.yaml:2"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("off", "off"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("1e3", 1000.0),
        ("1e-3", 0.001),
        ("1.0e-05", 1e-05),
        ("-.5", -0.5),
        ("1:30", "1:30"),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("'12'", "12"),
        ('"no"', "no"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(written: str, value: object) -> None:
    read = load_yaml(f"key: {written}".encode(), source="x.yaml").values["key"]
    assert read == value
    assert type(read) is type(value)


def test_class_names_stay_what_a_person_sees() -> None:
    text = b"names:\n  0: no\n  1: 1e3\n  2: true\n  3: null\nother: [1]\n"
    document = load_yaml(text, source="data.yaml", verbatim=("names",))
    assert document.values == {"names": {"0": "no", "1": "1e3", "2": "true", "3": "null"}, "other": [1]}
    listed = load_yaml(b"names: [no, 1:30, 012]", source="data.yaml", verbatim=("names",))
    assert listed.values == {"names": ["no", "1:30", "012"]}


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b"a: 1\nb: !!python/object/new:os.system [touch x]\n", "yaml_tag", "x.yaml:2"),
        (b"a: !!str 1\n", "yaml_tag", "x.yaml:1"),
        (b"a: !local {b: 1}\n", "yaml_tag", "x.yaml:1"),
        (b"a: &x [1]\nb: *x\n", "yaml_alias", "x.yaml:1"),
        (b"a: 1\nb: *x\n", "yaml_alias", "x.yaml:2"),
        (b"a: {b: 1}\n<<: {c: 1}\n", "yaml_merge_key", "x.yaml:2"),
        (b"a: 1\nb: 2\na: 3\n", "yaml_duplicate_key", "x.yaml:3"),
        (b'names:\n  0: a\n  "0": b\n', "yaml_duplicate_key", "x.yaml:3"),
        (b"a: 1\n---\nb: 2\n", "yaml_several_documents", "x.yaml:2"),
        (b"a: " + b"[" * 100_000, "yaml_too_deep", "x.yaml:1"),
        (b"a: " + b"{b: " * 100_000, "yaml_too_deep", "x.yaml:1"),
        (b"# " + b"x" * (1 << 20), "yaml_too_large", "x.yaml:1"),
        ("a: 1\nb: \u00e9\n".encode("latin-1"), "yaml_encoding", "x.yaml:2"),
        ("a: 1\n".encode("utf-16"), "yaml_encoding", "x.yaml:1"),
        (b"a: [1, 2\nb: 3\n", "yaml_invalid", "x.yaml:2"),
        (b"a: 1\n\tb: 2\n", "yaml_invalid", "x.yaml:2"),
        (b"a: 1\nb: \x00\n", "yaml_invalid", "x.yaml:1"),
        (b"[1, 2]: 3\n", "yaml_invalid", "x.yaml:1"),
        (b"- 1\n- 2\n", "yaml_not_a_mapping", "x.yaml:1"),
        (b"", "yaml_not_a_mapping", "x.yaml:1"),
        (b"just text", "yaml_not_a_mapping", "x.yaml:1"),
    ],
)
def test_refuses_what_is_not_plain_data(text: bytes, code: str, place: str) -> None:
    with pytest.raises(YamlError) as caught:
        load_yaml(text, source="x.yaml")
    assert (caught.value.error_code, caught.value.place) == (code, place)
    assert caught.value.problem()["status"] == 422


def test_a_billion_laughs_is_refused_at_its_first_anchor() -> None:
    laughs = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9) if i else 'lol'}]" for i in range(10))
    with pytest.raises(YamlError, match="anchor"):
        load_yaml(laughs.encode(), source="x.yaml")


def test_a_missing_file_is_an_error_with_a_code(tmp_path: Path) -> None:
    with pytest.raises(YamlError) as caught:
        load_yaml(tmp_path / "absent.yaml", source="absent.yaml")
    assert caught.value.error_code == "yaml_invalid"


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), _VALUES, max_size=5))
def test_reads_back_what_json_writes(values: dict[str, object]) -> None:
    # JSON is YAML 1.2 except for lone surrogates and control characters, which the ASCII form escapes.
    text = json.dumps(values, ensure_ascii=True).encode()
    try:
        read = load_yaml(text, source="x.yaml").values
    except YamlError as error:
        # libyaml refuses escaped surrogate pairs, and keys longer than it looks ahead for a `:`.
        assert error.error_code == "yaml_invalid" and b"\\u" in text
    else:
        assert read == values


@given(st.dictionaries(st.sampled_from(["lr0", "epochs", "data", "freeze"]), _SCALARS | st.lists(_SCALARS, max_size=3)))
def test_reads_back_what_the_frameworks_write(values: dict[str, object]) -> None:
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()
    if values:
        try:
            read = load_yaml(text, source="args.yaml").values
        except YamlError as error:
            # The one value that safe_dump writes with a tag or in another document form is none we accept.
            assert error.error_code in {"yaml_invalid", "yaml_tag"}
        else:
            assert read == values


@given(st.binary(max_size=300))
def test_any_bytes_give_a_mapping_or_a_yaml_error(content: bytes) -> None:
    try:
        document = load_yaml(content, source="x.yaml")
    except YamlError as error:
        assert error.place is not None and error.place.startswith("x.yaml")
    else:
        json.dumps(document.values)


@given(st.text(alphabet="ab:-[]{}&*!|>\"'#,? \n\t0.1", max_size=80))
def test_any_punctuation_gives_a_mapping_or_a_yaml_error(text: str) -> None:
    try:
        load_yaml(text.encode(), source="x.yaml")
    except YamlError as error:
        assert error.place is not None
